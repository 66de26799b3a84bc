"""`/v1/admin/webhooks`: the staff see how the subscriptions of all apps go, pause them, and set them going again."""

from datetime import UTC, datetime
from uuid import UUID

from flask import Blueprint, Response

from ehc.access import webhook_places, webhook_reading, webhooks
from ehc.access.staff_session_api import AdminDeps
from ehc.access.webhook_api import deliveries_answer, note_redelivered
from ehc.access.webhook_schemas import (
    AdminWebhookOut,
    AdminWebhooksOut,
    DeliveriesOut,
    DeliveriesQuery,
    RedeliveredOut,
    RedeliverIn,
    WebhookReasonIn,
    WebhooksQuery,
    webhook_out,
)
from ehc.callers import Right
from ehc.outbox.models import WebhookRow
from ehc.web import parsing
from ehc.web.answers import Answer
from ehc.web.auth import require, staff_only
from ehc.web.openapi import operation
from ehc.web.paging import cursor

_LIST, _PAGE, _REASON, _AGAIN = WebhooksQuery(), DeliveriesQuery(), WebhookReasonIn(), RedeliverIn()
_ONE = "/<uuid:webhook_id>"


def admin_webhooks_blueprint(deps: AdminDeps) -> Blueprint:
    """The subscriptions of all apps."""
    bp = Blueprint("admin_webhooks", __name__, url_prefix="/v1/admin/webhooks")
    bp.before_request(staff_only(deps.authenticate_staff))
    _add_reading(bp, deps)
    _add_acts(bp, deps)
    return bp


def _add_reading(bp: Blueprint, deps: AdminDeps) -> None:
    @bp.get("")
    @operation(
        "The subscriptions of all apps",
        query=WebhooksQuery,
        answers={200: AdminWebhooksOut},
        right=Right.WEBHOOKS_READ,
        problems=(422,),
    )
    def get_admin_webhooks() -> Response:
        """The newest first."""
        require(Right.WEBHOOKS_READ)
        page = parsing.query(_LIST)
        after = page["cursor"][1] if page["cursor"] else None
        with deps.work() as session:
            rows, more = webhook_reading.every(
                session, limit=page["limit"], after=after, failing=page["failing"] == "true"
            )
            items = [webhook_out(one, admin=True) for one in webhook_reading.seen(session, rows)]
        following = cursor((datetime.fromtimestamp(0, UTC), rows[-1].id)) if more else None
        return Answer({"items": items, "next": following}).response()

    @bp.get(f"{_ONE}/deliveries")
    @operation(
        "The deliveries of a subscription",
        query=DeliveriesQuery,
        answers={200: DeliveriesOut},
        right=Right.WEBHOOKS_READ,
        problems=(404, 422),
    )
    def get_admin_webhook_deliveries(webhook_id: UUID) -> Response:
        """`state=dead` are the dead letters. Not whose cards they were about."""
        require(Right.WEBHOOKS_READ)
        page = parsing.query(_PAGE)
        with deps.work() as session:
            webhooks.one(session, webhook_id)
            return deliveries_answer(session, webhook_id, page)


def _add_acts(bp: Blueprint, deps: AdminDeps) -> None:
    def shown(row: WebhookRow) -> Response:
        with deps.work() as session:
            (seen,) = webhook_reading.seen(session, [row])
        return Answer(webhook_out(seen, admin=True), headers={"ETag": f'"{row.version}"'}).response()

    @bp.post(f"{_ONE}/pause")
    @operation(
        "Pause a subscription",
        body=WebhookReasonIn,
        answers={200: AdminWebhookOut},
        right=Right.WEBHOOKS_WRITE,
        problems=(404,),
    )
    def post_admin_webhook_pause(webhook_id: UUID) -> Response:
        """The app cannot lift it, nor delete it, nor make another meanwhile. Events are kept for 30 days."""
        who, reason = require(Right.WEBHOOKS_WRITE), parsing.body(_REASON)["reason"]
        with deps.work() as session:
            row = webhooks.pause(session, webhook_id, actor=who.actor, reason=reason, now=deps.clock.now())
        return shown(row)

    @bp.post(f"{_ONE}/resume")
    @operation(
        "Set a subscription going again",
        body=WebhookReasonIn,
        answers={200: AdminWebhookOut},
        right=Right.WEBHOOKS_WRITE,
        problems=(404,),
    )
    def post_admin_webhook_resume(webhook_id: UUID) -> Response:
        """Whoever paused it; what waits is sent at once."""
        who, reason = require(Right.WEBHOOKS_WRITE), parsing.body(_REASON)["reason"]
        with deps.work() as session:
            row = webhooks.resume(session, webhook_id, actor=who.actor, reason=reason, now=deps.clock.now())
        return shown(row)

    @bp.post(f"{_ONE}/redeliver")
    @operation(
        "Have dead letters sent again",
        body=RedeliverIn,
        answers={200: RedeliveredOut},
        right=Right.WEBHOOKS_WRITE,
        problems=(404,),
    )
    def post_admin_webhook_redeliver(webhook_id: UUID) -> Response:
        """They come after what was sent since."""
        who, event_id = require(Right.WEBHOOKS_WRITE), parsing.body(_AGAIN).get("event_id")
        with deps.work() as session:
            row, now = webhooks.one(session, webhook_id), deps.clock.now()
            count = webhook_places.redeliver(session, row.id, event_id, now=now)
            note_redelivered(session, row.id, count, actor=who.actor, now=now)
        return Answer({"count": count}).response()
