"""`/v1/admin/staff`: the accounts of the staff, and how roles come into effect."""

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, request
from sqlalchemy.orm import Session

from ehc.access import staff_accounts, staff_roles
from ehc.access.staff_accounts import Handed, name_of
from ehc.access.staff_acts import found
from ehc.access.staff_deps import StaffDeps
from ehc.access.staff_models import StaffRow
from ehc.access.staff_schemas import (
    NewStaffOut,
    RoleGrantOut,
    StaffConfirmationIn,
    StaffIn,
    StaffListOut,
    StaffNameIn,
    StaffOut,
    StaffReasonIn,
    StaffResetIn,
    StaffResetOut,
    StaffRolesIn,
    StaffUnlockOut,
    branch_of,
    grant_out,
    staff_out,
)
from ehc.callers import Right, Role
from ehc.errors import InvalidValue, Text
from ehc.web import parsing
from ehc.web.answers import Answer
from ehc.web.auth import require, staff_only
from ehc.web.openapi import operation
from ehc.web.paging import PageQuery, cursor
from ehc.web.problems import HttpProblem

_STAFF, _NAME, _REASON, _RESET, _ROLES, _CONFIRMATION, _PAGE = (
    StaffIn(),
    StaffNameIn(),
    StaffReasonIn(),
    StaffResetIn(),
    StaffRolesIn(),
    StaffConfirmationIn(),
    PageQuery(),
)


def staff_blueprint(deps: StaffDeps) -> Blueprint:
    """Accounts, for system and security administrators."""
    bp = Blueprint("staff_accounts", __name__, url_prefix="/v1/admin/staff")
    bp.before_request(staff_only(deps.admin.authenticate_staff))
    _add_reading(bp, deps)
    _add_making(bp, deps)
    _add_states(bp, deps)
    _add_roles(bp, deps)
    return bp


def _add_reading(bp: Blueprint, deps: StaffDeps) -> None:
    @bp.get("")
    @operation(
        "The accounts of the staff",
        answers={200: StaffListOut},
        right=Right.STAFF_READ,
        query=PageQuery,
        problems=(422,),
    )
    def list_staff() -> Response:
        """The newest first."""
        require(Right.STAFF_READ)
        wanted = parsing.query(_PAGE)
        with deps.desk.work() as session:
            rows = staff_accounts.page(session, after=wanted["cursor"], limit=wanted["limit"])
            shown = rows[: wanted["limit"]]
            waiting = staff_roles.open_grants(session, {row.id for row in shown})
        sealer = deps.desk.secrets().sealer
        items = [staff_out(row, waiting.get(row.id), name_of(row, sealer)) for row in shown]
        last = shown[-1] if len(rows) > len(shown) else None
        return Answer({"items": items, "next": cursor((last.created_at, last.id)) if last else None}).response()

    @bp.get("/<uuid:staff_id>")
    @operation("An account of the staff", answers={200: StaffOut}, right=Right.STAFF_READ, problems=(404,))
    def get_staff(staff_id: UUID) -> Response:
        """With its ETag, for a `PATCH`."""
        require(Right.STAFF_READ)
        with deps.desk.work() as session:
            return _answer(session, deps, found(session, staff_id)).response()


def _add_making(bp: Blueprint, deps: StaffDeps) -> None:
    @bp.post("")
    @operation("Make an account", body=StaffIn, answers={201: NewStaffOut}, right=Right.STAFF_WRITE, problems=(409,))
    def post_staff() -> Response:
        """Without roles. The password is told once, lives seven days, and is changed at the first log-in."""
        require(Right.STAFF_WRITE, fresh=True)
        wanted, handed = parsing.body(_STAFF), Handed.new(deps.desk.hasher)
        sealer, now = deps.desk.secrets().sealer, deps.desk.clock.now()
        with deps.desk.work() as session:
            row = staff_accounts.create(
                session, wanted["login"], wanted["name"], handed, sealer=sealer, by=deps.by(), now=now
            )
            return _answer(session, deps, row, 201, initial_password=handed.password).response()

    @bp.patch("/<uuid:staff_id>")
    @operation(
        "Correct a name", body=StaffNameIn, answers={200: StaffOut}, right=Right.STAFF_WRITE, conditional=True,
        problems=(404, 412, 428),
    )  # fmt: skip
    def patch_staff(staff_id: UUID) -> Response:
        """Needs `If-Match`."""
        require(Right.STAFF_WRITE)
        version, wanted = _version(), parsing.body(_NAME)
        sealer, now = deps.desk.secrets().sealer, deps.desk.clock.now()
        with deps.desk.work() as session:
            row = staff_accounts.rename(
                session, staff_id, wanted["name"], sealer=sealer, version=version, by=deps.by(), now=now
            )
            return _answer(session, deps, row).response()

    @bp.post("/<uuid:staff_id>/reset")
    @operation(
        "Reset a password or second factor", body=StaffResetIn, answers={200: StaffResetOut}, right=Right.STAFF_WRITE,
        problems=(404, 409),
    )  # fmt: skip
    def post_reset(staff_id: UUID) -> Response:
        """Roles are out of effect until a security administrator has granted them again."""
        require(Right.STAFF_WRITE, fresh=True)
        wanted = parsing.body(_RESET)
        if not (wanted["password"] or wanted["second_factor"]):
            sentence = Text("请指明重置 password 或 second_factor。", "Say what to reset: password, second_factor.")
            raise InvalidValue.at("/password", "required", sentence)
        handed = Handed.new(deps.desk.hasher) if wanted["password"] else None
        with deps.desk.work() as session:
            row = staff_accounts.reset(
                session,
                staff_id,
                handed,
                second_factor=wanted["second_factor"],
                by=deps.by(),
                now=deps.desk.clock.now(),
            )
            password = handed.password if handed else None
            return _answer(session, deps, row, initial_password=password).response()


def _add_states(bp: Blueprint, deps: StaffDeps) -> None:
    @bp.post("/<uuid:staff_id>/disable")
    @operation(
        "Disable an account", body=StaffReasonIn, answers={200: StaffOut}, right=Right.STAFF_WRITE, problems=(404, 409)
    )
    def post_disable(staff_id: UUID) -> Response:
        """Its sessions end at once."""
        require(Right.STAFF_WRITE, fresh=True)
        wanted, now = parsing.body(_REASON), deps.desk.clock.now()
        with deps.desk.work() as session:
            row = staff_accounts.disable(session, staff_id, reason=wanted["reason"], by=deps.by(), now=now)
            return _answer(session, deps, row).response()

    @bp.post("/<uuid:staff_id>/enable")
    @operation("Enable an account", answers={200: StaffOut}, right=Right.STAFF_WRITE, problems=(404, 409))
    def post_enable(staff_id: UUID) -> Response:
        """Roles are out of effect until a security administrator has granted them again."""
        require(Right.STAFF_WRITE, fresh=True)
        with deps.desk.work() as session:
            row = staff_accounts.enable(session, staff_id, by=deps.by(), now=deps.desk.clock.now())
            return _answer(session, deps, row).response()

    @bp.post("/<uuid:staff_id>/unlock")
    @operation("Forget wrong tries", answers={200: StaffUnlockOut}, right=Right.STAFF_WRITE, problems=(404,))
    def post_unlock(staff_id: UUID) -> Response:
        """Hand `device` over: with it the person logs in within half an hour, whatever strangers try meanwhile."""
        require(Right.STAFF_WRITE, fresh=True)
        with deps.desk.work() as session:
            _, device = staff_accounts.unlock(
                session,
                staff_id,
                blind_index=deps.desk.secrets().blind_index,
                by=deps.by(),
                now=deps.desk.clock.now(),
            )
        return Answer({"device": device}).response()


def _add_roles(bp: Blueprint, deps: StaffDeps) -> None:
    @bp.post("/<uuid:staff_id>/roles")
    @operation(
        "Propose roles", body=StaffRolesIn, answers={201: RoleGrantOut}, right=Right.STAFF_WRITE, problems=(404, 409)
    )
    def post_roles(staff_id: UUID) -> Response:
        """By a system administrator. They take effect when a security administrator has granted them."""
        require(Right.STAFF_WRITE, fresh=True)
        wanted = parsing.body(_ROLES)
        roles, branch = frozenset(map(Role, wanted["roles"])), branch_of(wanted["branch"])
        with deps.desk.work() as session:
            made = staff_roles.propose(session, staff_id, roles, branch, by=deps.by(), now=deps.desk.clock.now())
            return Answer(grant_out(made), 201).response()

    @bp.post("/<uuid:staff_id>/roles/<uuid:grant_id>/grant")
    @operation(
        "Grant roles", body=StaffConfirmationIn, answers={200: StaffOut}, right=Right.ROLES_GRANT, problems=(404, 409)
    )
    def post_grant(staff_id: UUID, grant_id: UUID) -> Response:
        """By a security administrator, with the confirmation code that the person themselves told them."""
        require(Right.ROLES_GRANT, fresh=True)
        wanted, blind_index = parsing.body(_CONFIRMATION), deps.desk.secrets().blind_index
        with deps.desk.work() as session:
            row = staff_roles.grant(
                session,
                staff_id,
                grant_id,
                wanted["confirmation"],
                blind_index=blind_index,
                by=deps.by(),
                now=deps.desk.clock.now(),
            )
            return _answer(session, deps, row).response()

    @bp.post("/<uuid:staff_id>/roles/<uuid:grant_id>/refuse")
    @operation("Refuse roles", body=StaffReasonIn, answers={200: StaffOut}, right=Right.ROLES_GRANT, problems=(404,))
    def post_refuse(staff_id: UUID, grant_id: UUID) -> Response:
        """By a security administrator."""
        require(Right.ROLES_GRANT, fresh=True)
        wanted, now = parsing.body(_REASON), deps.desk.clock.now()
        with deps.desk.work() as session:
            row = staff_roles.refuse(session, staff_id, grant_id, wanted["reason"], by=deps.by(), now=now)
            return _answer(session, deps, row).response()

    @bp.post("/<uuid:staff_id>/roles/revoke")
    @operation(
        "Take all roles from somebody", body=StaffReasonIn, answers={200: StaffOut}, right=Right.ROLES_GRANT,
        problems=(404, 409),
    )  # fmt: skip
    def post_revoke(staff_id: UUID) -> Response:
        """By a security administrator, at once."""
        require(Right.ROLES_GRANT, fresh=True)
        wanted, now = parsing.body(_REASON), deps.desk.clock.now()
        with deps.desk.work() as session:
            row = staff_roles.revoke(session, staff_id, wanted["reason"], by=deps.by(), now=now)
            return _answer(session, deps, row).response()


def _answer(session: Session, deps: StaffDeps, row: StaffRow, status: int = 200, **more: Any) -> Answer:
    held = staff_roles.open_grant(session, row.id)
    body = staff_out(row, held, name_of(row, deps.desk.secrets().sealer)) | more
    return Answer(body, status, {"ETag": f'"{row.version}"'})


def _version() -> int:
    """The version in `If-Match`, which must be there. A tag that is not ours matches nothing."""
    header = request.headers.get("If-Match")
    if header is None:
        detail = Text(
            "修改须携带 If-Match（读取时得到的 ETag）。", "A change needs If-Match: the ETag that came with it."
        )
        raise HttpProblem(428, "precondition-required", detail)
    tag = header.removeprefix("W/").strip('"')
    return int(tag) if tag.isascii() and tag.isdecimal() and len(tag) <= 9 else -1
