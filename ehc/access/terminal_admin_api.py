"""`/v1/admin/terminals`, `…/terminal-enrolments`, `…/terminal-releases`: the staff's side, each within their own branch."""

from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

from flask import Blueprint, Response

from ehc.access import enrolments, terminals
from ehc.access.enrolment_schemas import (
    EnrolmentIn,
    EnrolmentOut,
    EnrolmentsOut,
    NewEnrolmentOut,
    ReplaceIn,
    enrolment_out,
    picture_out,
    plan_of,
)
from ehc.access.terminal_api import TerminalDeps
from ehc.access.terminal_models import EnrolmentRow
from ehc.access.terminal_schemas import (
    AttentionOut,
    AttentionQuery,
    BlockIn,
    ReleaseIn,
    ReleaseOut,
    ReleasesOut,
    TerminalChangeIn,
    TerminalOut,
    TerminalsOut,
    TerminalsQuery,
    ordered,
    release_out,
    terminal_out,
)
from ehc.access.terminals import BlockReason, Doer, Kind, State, Terminal
from ehc.callers import Branch, Right, Staff
from ehc.codes.images import Picture, draw_png, draw_svg
from ehc.errors import InvalidValue, Text
from ehc.web import parsing
from ehc.web.answers import Answer
from ehc.web.auth import require, staff_only
from ehc.web.openapi import operation
from ehc.web.paging import PageQuery, cursor
from ehc.web.problems import HttpProblem
from ehc.web.versions import etag, if_match

_ENROLMENT, _REPLACE, _CHANGE, _BLOCK, _RELEASE = EnrolmentIn(), ReplaceIn(), TerminalChangeIn(), BlockIn(), ReleaseIn()
_LIST, _ATTENTION, _PAGE = TerminalsQuery(), AttentionQuery(), PageQuery()


def terminal_admin_blueprint(deps: TerminalDeps) -> Blueprint:
    """Terminals: reading, changing, blocking, replacing."""
    bp = Blueprint("terminal_admin", __name__, url_prefix="/v1/admin/terminals")
    bp.before_request(staff_only(deps.admin.authenticate_staff))
    _add_reading(bp, deps)
    _add_changes(bp, deps)
    return bp


def _add_reading(bp: Blueprint, deps: TerminalDeps) -> None:
    @bp.get("")
    @operation(
        "The terminals of one's branch",
        query=TerminalsQuery,
        answers={200: TerminalsOut},
        right=Right.TERMINALS_READ,
        problems=(422,),
    )
    def get_terminals() -> Response:
        """Newest first."""
        who, asked = require(Right.TERMINALS_READ), parsing.query(_LIST)
        with deps.admin.work() as session:
            found, more = terminals.page(
                session,
                who.branch,
                limit=asked["limit"],
                before=asked["cursor"],
                institution_id=asked["institution_id"],
                kind=asked["kind"],
                state=State(asked["state"]) if asked["state"] else None,
            )
        return _page([terminal_out(each) for each in found], _after(found) if more else None)

    @bp.get("/attention")
    @operation(
        "Terminals that are silent, outdated or wrong about the time",
        query=AttentionQuery,
        answers={200: AttentionOut},
        right=Right.TERMINALS_READ,
        problems=(422,),
    )
    def get_terminal_attention() -> Response:
        """Live ones alone, newest first."""
        who, asked = require(Right.TERMINALS_READ), parsing.query(_ATTENTION)
        silent, now = timedelta(minutes=asked["silent_minutes"]), deps.admin.clock.now()
        with deps.admin.work() as session:
            found, more = terminals.attention(
                session, who.branch, silent=silent, limit=asked["limit"], before=asked["cursor"], now=now
            )
        items = [terminal_out(each) | {"faults": terminals.faults(each, silent=silent, now=now)} for each in found]
        return _page(items, _after(found) if more else None)

    @bp.get("/<uuid:terminal_id>")
    @operation("One terminal", answers={200: TerminalOut}, right=Right.TERMINALS_READ, problems=(404,))
    def get_terminal(terminal_id: UUID) -> Response:
        who = require(Right.TERMINALS_READ)
        with deps.admin.work() as session:
            found = terminals.find(session, terminal_id, who.branch)
        return _terminal(found)


def _add_changes(bp: Blueprint, deps: TerminalDeps) -> None:
    @bp.patch("/<uuid:terminal_id>")
    @operation(
        "Change a terminal",
        body=TerminalChangeIn,
        answers={200: TerminalOut},
        right=Right.TERMINALS_WRITE,
        conditional=True,
        problems=(404, 409, 412, 422, 428),
    )
    def patch_terminal(terminal_id: UUID) -> Response:
        """Needs `If-Match`. What it may check at counts within ten seconds."""
        who, wanted = require(Right.TERMINALS_WRITE), parsing.body(_CHANGE)
        version = if_match()
        if "steps" in wanted:
            wanted["steps"] = ordered(wanted["steps"])
        with deps.admin.work() as session:
            found = terminals.change(session, terminal_id, version, wanted, doer=_doer(who), now=deps.admin.clock.now())
        return _terminal(found)

    @bp.post("/<uuid:terminal_id>/block")
    @operation(
        "Block a terminal",
        body=BlockIn,
        answers={200: TerminalOut},
        right=Right.TERMINALS_WRITE,
        problems=(404, 409),
    )
    def post_terminal_block(terminal_id: UUID) -> Response:
        """No token any more from now on; those it holds stop within ten seconds, everywhere. Twice is once."""
        who, wanted = require(Right.TERMINALS_WRITE), parsing.body(_BLOCK)
        with deps.admin.work() as session:
            found = terminals.block(
                session, terminal_id, BlockReason(wanted["reason"]), doer=_doer(who), now=deps.admin.clock.now()
            )
        return _terminal(found)

    @bp.post("/<uuid:terminal_id>/unblock")
    @operation("Unblock a terminal", answers={200: TerminalOut}, right=Right.TERMINALS_WRITE, problems=(404, 409))
    def post_terminal_unblock(terminal_id: UUID) -> Response:
        """With the key it had: if that may be in other hands, replace it instead. Asks for a fresh proof of who you are."""
        who = require(Right.TERMINALS_WRITE, fresh=True)
        with deps.admin.work() as session:
            found = terminals.unblock(session, terminal_id, doer=_doer(who), now=deps.admin.clock.now())
        return _terminal(found)

    @bp.post("/<uuid:terminal_id>/replace")
    @operation(
        "Enrol a terminal in another's place",
        body=ReplaceIn,
        answers={201: NewEnrolmentOut},
        right=Right.TERMINALS_WRITE,
        problems=(404, 409),
    )
    def post_terminal_replace(terminal_id: UUID) -> Response:
        """Answers with a one-time code. Whoever enrols with it takes the place and code; that moment ends the old one's key."""
        who, wanted = require(Right.TERMINALS_WRITE), parsing.body(_REPLACE)
        with deps.admin.work() as session:
            row, code = enrolments.replace(
                session, terminal_id, doer=_doer(who), index=deps.index(), now=deps.admin.clock.now()
            )
        return _new_enrolment(deps, row, code, wanted)


def enrolment_admin_blueprint(deps: TerminalDeps) -> Blueprint:
    """One-time codes for terminals to be."""
    bp = Blueprint("terminal_enrolments", __name__, url_prefix="/v1/admin/terminal-enrolments")
    bp.before_request(staff_only(deps.admin.authenticate_staff))

    @bp.post("")
    @operation(
        "Make a one-time code for a terminal to be",
        body=EnrolmentIn,
        answers={201: NewEnrolmentOut},
        right=Right.TERMINALS_WRITE,
        problems=(404, 409),
    )
    def post_enrolment() -> Response:
        """Ten minutes, one use, told once: a repeat makes another, so there is no `Idempotency-Key`."""
        who, wanted = require(Right.TERMINALS_WRITE), parsing.body(_ENROLMENT)
        with deps.admin.work() as session:
            row, code = enrolments.make(
                session, plan_of(wanted), doer=_doer(who), index=deps.index(), now=deps.admin.clock.now()
            )
        return _new_enrolment(deps, row, code, wanted)

    @bp.get("")
    @operation(
        "The enrolments of one's branch",
        query=PageQuery,
        answers={200: EnrolmentsOut},
        right=Right.TERMINALS_READ,
        problems=(422,),
    )
    def get_enrolments() -> Response:
        """Newest first. Those that nobody used are forgotten after a day."""
        who, asked = require(Right.TERMINALS_READ), parsing.query(_PAGE)
        with deps.admin.work() as session:
            found, more = enrolments.page(session, who.branch, limit=asked["limit"], before=asked["cursor"])
        now = deps.admin.clock.now()
        following = cursor((found[-1].created_at, found[-1].id)) if more else None
        return _page([enrolment_out(row, now=now) for row in found], following)

    @bp.post("/<uuid:enrolment_id>/cancel")
    @operation(
        "Take a one-time code back", answers={200: EnrolmentOut}, right=Right.TERMINALS_WRITE, problems=(404, 409)
    )
    def post_enrolment_cancel(enrolment_id: UUID) -> Response:
        """One that was used cannot be taken back: block the terminal."""
        who, now = require(Right.TERMINALS_WRITE), deps.admin.clock.now()
        with deps.admin.work() as session:
            row = enrolments.cancel(session, enrolment_id, doer=_doer(who), now=now)
        return Answer(enrolment_out(row, now=now)).response()

    return bp


def release_admin_blueprint(deps: TerminalDeps) -> Blueprint:
    """The newest software of each kind of terminal."""
    bp = Blueprint("terminal_releases", __name__, url_prefix="/v1/admin/terminal-releases")
    bp.before_request(staff_only(deps.admin.authenticate_staff))

    @bp.get("")
    @operation("The newest software of terminals", answers={200: ReleasesOut}, right=Right.TERMINALS_READ)
    def get_releases() -> Response:
        require(Right.TERMINALS_READ)
        with deps.admin.work() as session:
            found = terminals.releases(session)
        return Answer({"items": [release_out(row) for row in found]}).response()

    @bp.post("")
    @operation(
        "Say which software is the newest", body=ReleaseIn, answers={200: ReleaseOut}, right=Right.TERMINALS_WRITE
    )
    def post_release() -> Response:
        """For those alone who see the whole tree: it holds for every institution."""
        who, wanted = require(Right.TERMINALS_WRITE), parsing.body(_RELEASE)
        if who.branch != Branch():
            detail = Text("仅全平台管理员可设置。", "This holds for the whole platform, and you see a part of it.")
            raise HttpProblem(403, "branch-too-small", detail)
        with deps.admin.work() as session:
            row = terminals.set_release(
                session, Kind(wanted["kind"]), wanted["version"], actor=who.actor, now=deps.admin.clock.now()
            )
        return Answer(release_out(row)).response()

    return bp


def qr_text(code: str, issuer: str) -> str:
    """What the QR symbol of a one-time code says: the code, and the deployment that it is for."""
    return f"ehc-enrol:{code}?iss={quote(issuer, safe='')}"


def _doer(who: Staff) -> Doer:
    return Doer(who.actor, who.branch)


def _terminal(found: Terminal) -> Response:
    return Answer(terminal_out(found), headers=etag(found.row.revision)).response()


def _new_enrolment(deps: TerminalDeps, row: EnrolmentRow, code: str, wanted: dict[str, Any]) -> Response:
    said = qr_text(code, deps.issuer)
    body = enrolment_out(row, now=row.created_at) | {"code": code, "qr_text": said}
    if "image" in wanted:
        body["qr"] = picture_out(_drawn(said, wanted["image"], wanted["size"]))
    return Answer(body, 201, {"Cache-Control": "no-store"}).response()


def _drawn(said: str, image: str, size: int) -> Picture:
    try:
        return draw_svg(said, size=size) if image == "svg" else draw_png(said, size=size)
    except ValueError:
        message = Text("图片尺寸太小，画不下该二维码。", "The picture is too small for this symbol.")
        raise InvalidValue.at("/size", "range", message) from None


def _after(found: list[Terminal]) -> str:
    return cursor((found[-1].client.created_at, found[-1].client.id))


def _page(items: list[dict[str, Any]], following: str | None) -> Response:
    return Answer({"items": items, "next": following}).response()
