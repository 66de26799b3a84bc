"""`/v1/admin/gateways`: accounts of the gateways, how they are used, and why calls failed. Parse, call, render."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from ehc.access.app_schemas import AppReasonIn, SecretIn
from ehc.access.apps import By
from ehc.access.staff_session_api import AdminDeps
from ehc.callers import Branch, Right, Staff
from ehc.errors import InvalidValue, Text
from ehc.gateways import provisioning, reading
from ehc.gateways.accounts import live_secrets
from ehc.gateways.admin_schemas import (
    FailuresQuery,
    GatewayChangeIn,
    GatewayFailuresOut,
    GatewayIn,
    GatewayPlaceIn,
    GatewayPlaceOut,
    GatewaysOut,
    GatewaysQuery,
    GatewayUsageOut,
    HoursQuery,
    NewGatewaySecretOut,
    WholeGatewayOut,
    failure_out,
    gateway_out,
    method_out,
    new_secret_out,
    place_out,
    use_out,
    whole_gateway_out,
)
from ehc.gateways.kinds import GatewayKind, PlaceKind
from ehc.web import parsing
from ehc.web.answers import Answer
from ehc.web.auth import require, staff_only
from ehc.web.openapi import operation
from ehc.web.paging import cursor
from ehc.web.versions import etag, if_match

_NEW, _CHANGE, _PLACE, _REASON, _SECRET = (
    GatewayIn(),
    GatewayChangeIn(),
    GatewayPlaceIn(),
    AppReasonIn(),
    SecretIn(),
)
_LIST, _HOURS, _FAILURES = GatewaysQuery(), HoursQuery(), FailuresQuery()
_NO_STORE = {"Cache-Control": "no-store"}
_ONE = "/<uuid:account_id>"


def gateways_blueprint(deps: AdminDeps) -> Blueprint:
    """Accounts of the gateways, for the staff."""
    bp = Blueprint("gateways", __name__, url_prefix="/v1/admin/gateways")
    bp.before_request(staff_only(deps.authenticate_staff))
    _add_reading(bp, deps)
    _add_log(bp, deps)
    _add_making(bp, deps)
    _add_states(bp, deps)
    _add_secrets(bp, deps)
    _add_places(bp, deps)
    return bp


def _add_reading(bp: Blueprint, deps: AdminDeps) -> None:
    @bp.get("")
    @operation(
        "List accounts of the gateways",
        query=GatewaysQuery,
        answers={200: GatewaysOut},
        right=Right.GATEWAYS_READ,
        problems=(422,),
    )
    def get_gateways() -> Response:
        """Of a branch: those whose every institution lies in it."""
        who, page = require(Right.GATEWAYS_READ), parsing.query(_LIST)
        with deps.work() as session:
            found, more = reading.listed(
                session, who.branch, kind=page.get("kind"), limit=page["limit"], before=page["cursor"]
            )
        following = cursor((found[-1].row.created_at, found[-1].row.id)) if more else None
        return Answer({"accounts": [gateway_out(one) for one in found], "next": following}).response()

    @bp.get(_ONE)
    @operation(
        "Read an account of a gateway",
        answers={200: WholeGatewayOut},
        right=Right.GATEWAYS_READ,
        problems=(404,),
    )
    def get_gateway(account_id: UUID) -> Response:
        who = require(Right.GATEWAYS_READ)
        with deps.work() as session:
            return _whole(session, who.branch, account_id, deps.clock.now()).response()


def _add_log(bp: Blueprint, deps: AdminDeps) -> None:
    def told(account_id: UUID) -> Response:
        page = parsing.query(_FAILURES)
        with deps.work() as session:
            rows = reading.failures(
                session, account_id, method=page.get("method"), limit=page["limit"], before=page["before"]
            )
        return Answer({"items": [failure_out(row) for row in rows]}, headers=_NO_STORE).response()

    @bp.get(f"{_ONE}/usage")
    @operation(
        "What an account calls: methods, dialects, results",
        query=HoursQuery,
        answers={200: GatewayUsageOut},
        right=Right.GATEWAYS_READ,
        problems=(404, 422),
    )
    def get_gateway_usage(account_id: UUID) -> Response:
        who, hours = require(Right.GATEWAYS_READ), parsing.query(_HOURS)["hours"]
        until = deps.clock.now() + timedelta(hours=1)
        with deps.work() as session:
            reading.seen(session, who.branch, account_id)
            found = reading.usage(session, account_id, since=until - timedelta(hours=hours + 1), until=until)
        body = {
            "methods": [method_out(one) for one in reading.by_method(found)],
            "items": [use_out(use) for use in found],
        }
        return Answer(body, headers=_NO_STORE).response()

    @bp.get(f"{_ONE}/failures")
    @operation(
        "The last failed calls of an account",
        query=FailuresQuery,
        answers={200: GatewayFailuresOut},
        right=Right.GATEWAYS_READ,
        problems=(404, 422),
    )
    def get_gateway_failures(account_id: UUID) -> Response:
        """Members are told by their shape, never by their value."""
        who = require(Right.GATEWAYS_READ)
        with deps.work() as session:
            reading.seen(session, who.branch, account_id)
        return told(account_id)

    @bp.get("/failures")
    @operation(
        "The last failed calls by nobody we know",
        query=FailuresQuery,
        answers={200: GatewayFailuresOut},
        right=Right.GATEWAYS_READ,
        problems=(404, 422),
    )
    def get_strangers_failures() -> Response:
        """An `appId` or `userName` of none of the accounts. For those who see the whole tree."""
        return told(reading.require_whole(require(Right.GATEWAYS_READ).branch))


def _add_making(bp: Blueprint, deps: AdminDeps) -> None:
    @bp.post("")
    @operation(
        "Add an account of a gateway to an app",
        body=GatewayIn,
        answers={201: WholeGatewayOut},
        right=Right.GATEWAYS_WRITE,
        idempotent=True,
        problems=(404, 409, 422),
    )
    def post_gateway() -> Response:
        """It has no secret yet, and no code: nobody can call with it."""
        who, wanted = require(Right.GATEWAYS_WRITE), parsing.body(_NEW)
        settings = {name: wanted[name] for name in provisioning.SETTINGS if name in wanted}

        def act(session: Session) -> Answer:
            now = deps.clock.now()
            row = provisioning.add(
                session,
                GatewayKind(wanted["kind"]),
                wanted["app_id"],
                by=By(who.actor),
                now=now,
                name=wanted.get("name"),
                settings=settings,
            )
            answer = _whole(session, Branch(), row.id, now)
            return Answer(answer.body, 201, {**answer.headers, "Location": f"/v1/admin/gateways/{row.id}"})

        return deps.once.run(act)

    @bp.patch(_ONE)
    @operation(
        "Change an account of a gateway",
        body=GatewayChangeIn,
        answers={200: WholeGatewayOut},
        right=Right.GATEWAYS_WRITE,
        conditional=True,
        problems=(404, 412, 422, 428),
    )
    def patch_gateway(account_id: UUID) -> Response:
        """Needs `If-Match`."""
        who, wanted = require(Right.GATEWAYS_WRITE), parsing.body(_CHANGE)
        version, now = if_match(), deps.clock.now()
        with deps.work() as session:
            by = By(who.actor)
            provisioning.change(session, account_id, wanted, version=version, by=by, now=now)
            answer = _whole(session, Branch(), account_id, now)
        return answer.response()


def _add_states(bp: Blueprint, deps: AdminDeps) -> None:
    def moved(account_id: UUID, move: Any, who: Staff) -> Response:
        reason, now = parsing.body(_REASON)["reason"], deps.clock.now()
        with deps.work() as session:
            move(session, account_id, reason=reason, by=By(who.actor), now=now)
            answer = _whole(session, Branch(), account_id, now)
        return answer.response()

    @bp.post(f"{_ONE}/suspend")
    @operation(
        "Suspend an account of a gateway",
        body=AppReasonIn,
        answers={200: WholeGatewayOut},
        right=Right.GATEWAYS_WRITE,
        problems=(404, 409),
    )
    def post_gateway_suspend(account_id: UUID) -> Response:
        """Every call is refused within ten seconds. Other accounts of the app, and its tokens, go on."""
        return moved(account_id, provisioning.suspend, require(Right.GATEWAYS_WRITE))

    @bp.post(f"{_ONE}/resume")
    @operation(
        "Let a suspended account of a gateway go on",
        body=AppReasonIn,
        answers={200: WholeGatewayOut},
        right=Right.GATEWAYS_WRITE,
        problems=(404, 409),
    )
    def post_gateway_resume(account_id: UUID) -> Response:
        return moved(account_id, provisioning.resume, require(Right.GATEWAYS_WRITE, fresh=True))


def _add_secrets(bp: Blueprint, deps: AdminDeps) -> None:
    @bp.post(f"{_ONE}/secrets")
    @operation(
        "Add a secret to an account of a gateway; tells it, once",
        body=SecretIn,
        answers={201: NewGatewaySecretOut},
        right=Right.GATEWAYS_WRITE,
        problems=(404, 409, 422),
    )
    def post_gateway_secret(account_id: UUID) -> Response:
        """Two are live at a time, so that the new one can replace the old without a gap. Not kept for a repetition."""
        who, now = require(Right.GATEWAYS_WRITE, fresh=True), deps.clock.now()
        ends_at = parsing.body(_SECRET).get("ends_at")
        if ends_at is not None and ends_at <= now:
            raise InvalidValue.at("/ends_at", "past", Text("须晚于当前时间。", "A time that is still to come."))
        with deps.work() as session:
            by = By(who.actor)
            made = provisioning.add_secret(session, account_id, sealer=deps.sealer(), by=by, now=now, ends_at=ends_at)
            row = provisioning.one(session, account_id)
        return Answer(new_secret_out(row, made.id, made.secret, ends_at), 201, _NO_STORE).response()

    @bp.delete(f"{_ONE}/secrets/<uuid:secret_id>")
    @operation("End a secret of an account", answers={204: None}, right=Right.GATEWAYS_WRITE, problems=(404,))
    def delete_gateway_secret(account_id: UUID, secret_id: UUID) -> Response:
        """It counts no more within ten seconds; nor do tokens of the open platform: their calls are signed with it."""
        by, now = By(require(Right.GATEWAYS_WRITE).actor), deps.clock.now()
        with deps.work() as session:
            provisioning.end_secret(session, account_id, secret_id, by=by, now=now)
        return Response(status=204)


def _add_places(bp: Blueprint, deps: AdminDeps) -> None:
    @bp.post(f"{_ONE}/places")
    @operation(
        "Let an account call with a code",
        body=GatewayPlaceIn,
        answers={201: GatewayPlaceOut},
        right=Right.GATEWAYS_WRITE,
        idempotent=True,
        problems=(404, 409, 422),
    )
    def post_gateway_place(account_id: UUID) -> Response:
        """What a check tells an institution is told to whoever calls with its code."""
        who, wanted = require(Right.GATEWAYS_WRITE, fresh=True), parsing.body(_PLACE)

        def act(session: Session) -> Answer:
            row = provisioning.add_place(
                session,
                account_id,
                PlaceKind(wanted["kind"]),
                wanted["code"],
                wanted.get("institution_id"),
                by=By(who.actor),
                now=deps.clock.now(),
            )
            return Answer(place_out(row), 201)

        return deps.once.run(act)

    @bp.delete(f"{_ONE}/places/<uuid:place_id>")
    @operation("Take a code from an account", answers={204: None}, right=Right.GATEWAYS_WRITE, problems=(404,))
    def delete_gateway_place(account_id: UUID, place_id: UUID) -> Response:
        """Calls with it are refused within ten seconds."""
        by, now = By(require(Right.GATEWAYS_WRITE).actor), deps.clock.now()
        with deps.work() as session:
            provisioning.end_place(session, account_id, place_id, by=by, now=now)
        return Response(status=204)


def _whole(session: Session, branch: Branch, account_id: UUID, now: datetime) -> Answer:
    session.flush()
    found = reading.seen(session, branch, account_id)
    secrets = live_secrets(session, account_id, now=now)
    body = whole_gateway_out(found, secrets, provisioning.places(session, account_id))
    return Answer(body, headers=etag(found.row.version) | _NO_STORE)
