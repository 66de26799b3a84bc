"""`/v1/admin/apps`: drafts, approval, states, secrets and keys of apps. Parse, call, render; committed before the answer."""

from datetime import datetime
from typing import Any
from uuid import UUID

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from ehc.access import app_keys, apps, client_secrets
from ehc.access.app_schemas import (
    AppChangeIn,
    AppIn,
    AppQuery,
    AppReasonIn,
    AppsOut,
    EmptyIn,
    KeyIn,
    KeyOut,
    NewSecretOut,
    SecretIn,
    WholeAppOut,
    app_out,
    key_out,
    whole_app_out,
)
from ehc.access.app_states import GO_LIVE, RESUME, SUSPEND, AppMove
from ehc.access.staff_session_api import AdminDeps
from ehc.callers import Right, Staff
from ehc.cards.store import StaleVersion
from ehc.crypto.jwk import Jwk, NotAKey, read_jwk
from ehc.errors import EhcError, InvalidValue, Text
from ehc.web import parsing
from ehc.web.answers import Answer, instant
from ehc.web.auth import require, staff_only
from ehc.web.openapi import operation
from ehc.web.paging import cursor
from ehc.web.versions import etag, if_match

STATUSES: dict[type[EhcError], int] = {
    apps.NoSuchApp: 404,
    apps.WrongAppState: 409,
    apps.OwnDraft: 403,
    apps.NoCredential: 409,
    StaleVersion: 412,
    client_secrets.TooManySecrets: 409,
    client_secrets.NoSuchSecret: 404,
    app_keys.TooManyKeys: 409,
    app_keys.KeyKnown: 409,
    app_keys.NoSuchKey: 404,
}

_APP, _CHANGE, _QUERY, _REASON, _EMPTY, _SECRET, _KEY = (
    AppIn(),
    AppChangeIn(),
    AppQuery(),
    AppReasonIn(),
    EmptyIn(),
    SecretIn(),
    KeyIn(),
)
_NO_STORE = {"Cache-Control": "no-store"}


def apps_blueprint(deps: AdminDeps) -> Blueprint:
    """Apps, for the staff."""
    bp = Blueprint("apps", __name__, url_prefix="/v1/admin/apps")
    bp.before_request(staff_only(deps.authenticate_staff))
    _add_drafts(bp, deps)
    _add_changes(bp, deps)
    _add_move(bp, deps, GO_LIVE, "Let an approved app go live")
    _add_move(bp, deps, SUSPEND, "Suspend an app: no token of it counts from within 10 seconds on")
    _add_move(bp, deps, RESUME, "Let a suspended app go on")
    _add_secrets(bp, deps)
    _add_keys(bp, deps)
    return bp


def _add_drafts(bp: Blueprint, deps: AdminDeps) -> None:
    @bp.post("")
    @operation(
        "Draft an app",
        body=AppIn,
        answers={201: WholeAppOut},
        right=Right.APPS_WRITE,
        idempotent=True,
        problems=(422,),
    )
    def post_app() -> Response:
        who = require(Right.APPS_WRITE)
        wanted = parsing.body(_APP)

        def act(session: Session) -> Answer:
            now = deps.clock.now()
            app = apps.draft(session, wanted, by=_by(who), now=now)
            return _whole(session, app, now, status=201, headers={"Location": f"/v1/admin/apps/{app.id}"})

        return deps.once.run(act)

    @bp.get("")
    @operation("List apps", query=AppQuery, answers={200: AppsOut}, right=Right.APPS_READ, problems=(422,))
    def get_apps() -> Response:
        require(Right.APPS_READ)
        page = parsing.query(_QUERY)
        with deps.work() as session:
            found, more = apps.listed(session, state=page.get("state"), limit=page["limit"], before=page["cursor"])
            urls = app_keys.urls_of(session, [app.id for app in found])
        following = cursor((found[-1].client.created_at, found[-1].id)) if more else None
        return Answer({"apps": [app_out(app, urls.get(app.id)) for app in found], "next": following}).response()

    @bp.get("/<uuid:app_id>")
    @operation("Read an app", answers={200: WholeAppOut}, right=Right.APPS_READ, problems=(404,))
    def get_app(app_id: UUID) -> Response:
        require(Right.APPS_READ)
        with deps.work() as session:
            return _whole(session, apps.find(session, app_id), deps.clock.now()).response()


def _add_changes(bp: Blueprint, deps: AdminDeps) -> None:
    @bp.patch("/<uuid:app_id>")
    @operation(
        "Change an app",
        body=AppChangeIn,
        answers={200: WholeAppOut},
        right=Right.APPS_WRITE,
        conditional=True,
        problems=(404, 412, 422, 428),
    )
    def patch_app(app_id: UUID) -> Response:
        """Needs `If-Match`. Other scopes of an approved app make it a draft again; those of a live one wait for approval."""
        who = require(Right.APPS_WRITE, fresh=True)
        wanted, version = parsing.body(_CHANGE), if_match()
        with deps.work() as session:
            now = deps.clock.now()
            app = apps.change(session, app_id, wanted, version=version, by=_by(who), now=now)
            answer = _whole(session, app, now)
        return answer.response()

    @bp.post("/<uuid:app_id>/approve")
    @operation(
        "Approve a draft, or the scopes that a live app asks for",
        body=EmptyIn,
        answers={200: WholeAppOut},
        right=Right.APPS_APPROVE,
        conditional=True,
        problems=(404, 409, 412, 422, 428),
    )
    def post_approve(app_id: UUID) -> Response:
        """Needs `If-Match`: what is approved is what was read. Not by whoever made the draft or asked."""
        who = require(Right.APPS_APPROVE, fresh=True)
        parsing.body(_EMPTY)
        version = if_match()
        with deps.work() as session:
            now = deps.clock.now()
            answer = _whole(session, apps.approve(session, app_id, version=version, by=_by(who), now=now), now)
        return answer.response()


def _add_move(bp: Blueprint, deps: AdminDeps, how: AppMove, summary: str) -> None:
    @operation(summary, body=AppReasonIn, answers={200: WholeAppOut}, right=how.right, problems=(404, 409, 412, 422))
    def post_move(app_id: UUID) -> Response:
        who = require(how.right, fresh=how is not SUSPEND)
        reason = parsing.body(_REASON)["reason"]
        with deps.work() as session:
            now = deps.clock.now()
            app = apps.move(session, app_id, how, by=_by(who), now=now, reason=reason)
            answer = _whole(session, app, now)
        return answer.response()

    bp.add_url_rule(f"/<uuid:app_id>/{how.name}", f"post_app_{how.name.replace('-', '_')}", post_move, methods=["POST"])


def _add_secrets(bp: Blueprint, deps: AdminDeps) -> None:
    @bp.post("/<uuid:app_id>/secrets")
    @operation(
        "Add a secret to an app; tells it, once",
        body=SecretIn,
        answers={201: NewSecretOut},
        right=Right.APPS_WRITE,
        problems=(404, 409, 422),
    )
    def post_secret(app_id: UUID) -> Response:
        """Two are live at a time, so that the new one can replace the old without a gap. Not kept for a repetition."""
        who = require(Right.APPS_WRITE, fresh=True)
        ends_at, now = parsing.body(_SECRET).get("ends_at"), deps.clock.now()
        _require_later(ends_at, now)
        with deps.work() as session:
            told = {"ends_at": instant(ends_at)} if ends_at else {}
            app = apps.touch(session, app_id, by=_by(who), now=now, action="app.secret-added", **told)
            made = client_secrets.add(session, app.id, now=now, ends_at=ends_at)
        body = {
            "secret_id": str(made.id),
            "client_id": app.client.client_id,
            "client_secret": made.secret,
            "ends_at": instant(ends_at) if ends_at else None,
        }
        return Answer(body, 201, _NO_STORE).response()

    @bp.delete("/<uuid:app_id>/secrets/<uuid:secret_id>")
    @operation("End a secret", answers={204: None}, right=Right.APPS_WRITE, problems=(404,))
    def delete_secret(app_id: UUID, secret_id: UUID) -> Response:
        """It gets no token any more. Tokens that it got live on, ten minutes at most; suspend the app to stop those too."""
        by, now = _by(require(Right.APPS_WRITE)), deps.clock.now()
        with deps.work() as session:
            app = apps.touch(session, app_id, by=by, now=now, action="app.secret-ended", secret=str(secret_id))
            client_secrets.end(session, app.id, secret_id, now=now)
        return Response(status=204)


def _add_keys(bp: Blueprint, deps: AdminDeps) -> None:
    @bp.post("/<uuid:app_id>/keys")
    @operation(
        "Add a public key to an app",
        body=KeyIn,
        answers={201: KeyOut},
        right=Right.APPS_WRITE,
        idempotent=True,
        problems=(404, 409, 422),
    )
    def post_key(app_id: UUID) -> Response:
        """P-256 alone. It is known by its thumbprint (RFC 7638)."""
        who = require(Right.APPS_WRITE, fresh=True)
        jwk = _jwk(parsing.body(_KEY)["jwk"])

        def act(session: Session) -> Answer:
            by, now = _by(who), deps.clock.now()
            app = apps.touch(session, app_id, by=by, now=now, action="app.key-added", thumbprint=jwk.thumbprint)
            return Answer(key_out(app_keys.add_key(session, app.id, jwk, now=now)), 201)

        return deps.once.run(act)

    @bp.delete("/<uuid:app_id>/keys/<uuid:key_id>")
    @operation("End a public key", answers={204: None}, right=Right.APPS_WRITE, problems=(404,))
    def delete_app_key(app_id: UUID, key_id: UUID) -> Response:
        """No assertion of it counts any more."""
        by, now = _by(require(Right.APPS_WRITE)), deps.clock.now()
        with deps.work() as session:
            app = apps.touch(session, app_id, by=by, now=now, action="app.key-ended", key=str(key_id))
            app_keys.end_key(session, app.id, key_id, now=now)
        return Response(status=204)


def _by(who: Staff) -> apps.By:
    return apps.By(who.actor)


def _jwk(found: dict[str, Any]) -> Jwk:
    try:
        return read_jwk(found)
    except NotAKey as error:
        raise InvalidValue.at("/jwk", error.code, error.detail) from None


def _require_later(ends_at: datetime | None, now: datetime) -> None:
    if ends_at is not None and ends_at <= now:
        raise InvalidValue.at("/ends_at", "past", Text("须晚于当前时间。", "A time that is still to come."))


def _whole(
    session: Session, app: apps.App, now: datetime, *, status: int = 200, headers: dict[str, str] | None = None
) -> Answer:
    body = whole_app_out(
        app,
        app_keys.url_of(session, app.id),
        client_secrets.live(session, app.id, now=now),
        app_keys.live_keys(session, app.id),
    )
    return Answer(body, status, etag(app.row.version) | _NO_STORE | (headers or {}))
