"""`/v1/admin/apps/{id}/platforms`: with what an app logs residents in. And their sessions, as the staff end them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import Blueprint, Response
from marshmallow import Schema

from ehc.access import apps
from ehc.access.app_schemas import AppReasonIn
from ehc.access.platform_schemas import (
    AlipayIn,
    EndedSessionsOut,
    PlatformOut,
    PlatformsOut,
    SeenSessionsOut,
    WechatIn,
    platform_out,
    seen_out,
)
from ehc.access.staff_session_api import AdminDeps
from ehc.callers import Right
from ehc.cards import store as cards
from ehc.keystore import platforms
from ehc.keystore.platforms import AlipayCredentials, Credentials, WechatCredentials
from ehc.outside.platforms import Platform
from ehc.sessions import ending
from ehc.web import parsing
from ehc.web.answers import Answer
from ehc.web.auth import require, staff_only
from ehc.web.openapi import operation

_REASON = AppReasonIn()
_NO_STORE = {"Cache-Control": "no-store"}


@dataclass(frozen=True)
class PlatformDeps:
    """The administration's. `demo` lets simulators' appids in."""

    admin: AdminDeps
    demo: bool


def app_platforms_blueprint(deps: PlatformDeps) -> Blueprint:
    """Credentials at the platforms, and sessions of an app, for the staff."""
    bp = Blueprint("app_platforms", __name__, url_prefix="/v1/admin/apps/<uuid:app_id>")
    bp.before_request(staff_only(deps.admin.authenticate_staff))
    _add_reading(bp, deps)
    _add_platform(bp, deps, Platform.WECHAT, WechatIn, lambda sent: WechatCredentials(**sent))
    _add_platform(bp, deps, Platform.ALIPAY, AlipayIn, lambda sent: AlipayCredentials(**sent))
    _add_end(bp, deps)
    return bp


def resident_sessions_blueprint(deps: PlatformDeps) -> Blueprint:
    """The sessions of a card's holder, for the staff."""
    bp = Blueprint("resident_sessions", __name__, url_prefix="/v1/admin/cards/<uuid:card_id>/sessions")
    bp.before_request(staff_only(deps.admin.authenticate_staff))

    @bp.get("")
    @operation(
        "Where a card's holder is logged in", answers={200: SeenSessionsOut}, right=Right.APPS_READ, problems=(404,)
    )
    def get_card_sessions(card_id: UUID) -> Response:
        require(Right.APPS_READ)
        with deps.admin.work() as session:
            found = ending.of_card(session, cards.by_id(session, card_id), now=deps.admin.clock.now())
        return Answer({"sessions": [seen_out(one) for one in found]}, headers=_NO_STORE).response()

    @bp.post("/end")
    @operation(
        "End every session of a card's holder, and the links behind them",
        body=AppReasonIn,
        answers={200: EndedSessionsOut},
        right=Right.APPS_WRITE,
        problems=(404, 422),
    )
    def post_card_sessions_end(card_id: UUID) -> Response:
        """In every app, at once. To use the card again, the holder proves it anew."""
        who, reason = require(Right.APPS_WRITE), parsing.body(_REASON)["reason"]
        with deps.admin.work() as session:
            card, now = cards.by_id(session, card_id), deps.admin.clock.now()
            ended = ending.end_of_card(session, card, actor=who.actor, reason=reason, now=now)
        return Answer({"ended": ended}).response()

    return bp


def _add_reading(bp: Blueprint, deps: PlatformDeps) -> None:
    @bp.get("/platforms")
    @operation("Where an app can log residents in", answers={200: PlatformsOut}, right=Right.APPS_READ, problems=(404,))
    def get_platforms(app_id: UUID) -> Response:
        """No secret is told. `sessions` counts the live ones, by platform."""
        require(Right.APPS_READ)
        with deps.admin.work() as session:
            apps.find(session, app_id)
            found = [platform_out(row) for row in platforms.of_app(session, app_id)]
            counts = ending.count_of_app(session, app_id, now=deps.admin.clock.now())
        return Answer({"platforms": found, "sessions": counts}, headers=_NO_STORE).response()


def _add_platform(
    bp: Blueprint,
    deps: PlatformDeps,
    platform: Platform,
    shape: type[Schema],
    read: Callable[[dict[str, Any]], Credentials],
) -> None:
    path, loaded = f"/platforms/{platform}", shape()

    @operation(
        f"Set with what an app logs residents in at {platform}",
        body=shape,
        answers={200: PlatformOut},
        right=Right.APPS_WRITE,
        problems=(404, 422),
    )
    def put_platform(app_id: UUID) -> Response:
        """In place of what was set before. Secrets are sealed, and in no answer."""
        who = require(Right.APPS_WRITE, fresh=True)
        given = read(parsing.body(loaded))
        with deps.admin.work() as session:
            apps.held(session, app_id)
            row = platforms.put(
                session,
                app_id,
                given,
                sealer=deps.admin.sealer(),
                actor=who.actor,
                demo=deps.demo,
                now=deps.admin.clock.now(),
            )
            answer = platform_out(row)
        return Answer(answer, headers=_NO_STORE).response()

    @operation(
        f"Let an app log nobody in at {platform} any more",
        answers={204: None},
        right=Right.APPS_WRITE,
        problems=(404, 409),
    )
    def delete_platform(app_id: UUID) -> Response:
        """Sessions that are live go on; end them besides, if that is wanted."""
        who = require(Right.APPS_WRITE, fresh=True)
        with deps.admin.work() as session:
            apps.held(session, app_id)
            now = deps.admin.clock.now()
            platforms.remove(session, app_id, platform, actor=who.actor, now=now)
        return Response(status=204)

    bp.add_url_rule(path, f"put_{platform}", put_platform, methods=["PUT"])
    bp.add_url_rule(path, f"delete_{platform}", delete_platform, methods=["DELETE"])


def _add_end(bp: Blueprint, deps: PlatformDeps) -> None:
    @bp.post("/sessions/end")
    @operation(
        "End every resident's session of an app",
        body=AppReasonIn,
        answers={200: EndedSessionsOut},
        right=Right.APPS_WRITE,
        problems=(404, 422),
    )
    def post_app_sessions_end(app_id: UUID) -> Response:
        """Links stay: residents log in again, and go on. Suspending the app does this too."""
        who, reason = require(Right.APPS_WRITE, fresh=True), parsing.body(_REASON)["reason"]
        with deps.admin.work() as session:
            apps.held(session, app_id)
            now = deps.admin.clock.now()
            ended = ending.end_of_app(session, app_id, actor=who.actor, reason=reason, now=now)
        return Answer({"ended": ended}).response()
