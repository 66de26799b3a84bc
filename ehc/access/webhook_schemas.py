"""Webhooks as they are asked for and shown."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from ehc.access.webhook_reading import COUNTED, Seen
from ehc.access.webhooks import MOST
from ehc.errors import Text
from ehc.outbox.kinds import SUBSCRIBED
from ehc.outbox.models import DeliveryRow, DeliveryState, EventRow, PausedBy, WebhookState
from ehc.web.answers import instant
from ehc.web.fields import choice, text, whole
from ehc.web.language import said
from ehc.web.paging import PageQuery

_KINDS = [str(kind) for kind in SUBSCRIBED]
_NOTICES = {
    PausedBy.APP: Text("本应用已暂停该订阅；事件保留 30 天。", "Paused by this app. Events are kept for 30 days."),
    PausedBy.STAFF: Text(
        "管理员已暂停该订阅；事件保留 30 天，请联系管理员恢复。",
        "Paused by staff. Events are kept for 30 days; ask staff to set it going again.",
    ),
    PausedBy.SYSTEM: Text(
        "连续三天无法送达，已自动暂停；请修复接收端，再将 state 改为 live，保留 30 天内的事件会继续送达。",
        "Nothing could be delivered for three days. Mend the receiver, then set state to live: the events of 30 days follow.",
    ),
    PausedBy.RECEIVER: Text(
        "接收端回答 410，已停止发送；如需恢复请将 state 改为 live，或删除该订阅。",
        "The receiver answered 410, so nothing is sent. Set state to live to go on, or delete the subscription.",
    ),
}


def _kinds(**more: Any) -> fields.List[str]:
    return fields.List(
        choice(_KINDS, about="A kind of event."),
        validate=validate.Length(1, len(_KINDS), error="length"),
        metadata={"description": "What to be told of; `binding.changed` needs the scope `bindings`."},
        **more,
    )


class WebhookIn(Schema):
    """A new subscription."""

    url = text(1, 500, required=True, about="https:// and a public name; port 443, or 1024 and above.")
    kinds = _kinds(required=True)


class WebhookChangeIn(Schema):
    """What to change; at least one member."""

    url = text(1, 500, about="The new receiver.")
    kinds = _kinds()
    state = choice([WebhookState.LIVE, WebhookState.PAUSED], about="Pause, or go on.")

    @validates_schema
    def _something(self, data: dict[str, Any], **_: Any) -> None:
        if not data:
            raise ValidationError("Missing data for required field.")


class WebhookSecretIn(Schema):
    """How long the old secret goes on."""

    overlap_hours = whole(0, 168, about="The old secret signs too for so long; 0 ends it at once.", load_default=24)


class ReplayIn(Schema):
    """From when on."""

    since = fields.AwareDateTime(required=True, metadata={"description": "At most 30 days ago; not in the future."})


class WebhookReasonIn(Schema):
    """Why staff act."""

    reason = text(1, 200, required=True, about="Kept in the audit log; nothing about persons.")


class RedeliverIn(Schema):
    """Which dead letters."""

    event_id = fields.UUID(metadata={"description": "One event; all dead letters without it."})


class DeliveriesQuery(PageQuery):
    """Which deliveries."""

    state = choice(list(DeliveryState), about="Those in this state.", load_default=None)


class OwnWebhooksQuery(Schema):
    """Which subscriptions of the app."""

    state = choice([WebhookState.LIVE, WebhookState.PAUSED], about="Those in this state.", load_default=None)


class WebhooksQuery(PageQuery):
    """Which subscriptions."""

    failing = choice(["true", "false"], about="Those that fail or are paused.", load_default="false")


class WebhookOut(Schema):
    """A subscription, without its secret. `notice` says what to do where it is paused."""

    webhook_id = fields.UUID(required=True)
    url = fields.String(required=True)
    kinds = fields.List(fields.String(), required=True)
    state = fields.String(required=True)
    paused_by = fields.String(required=True, allow_none=True)
    notice = fields.String(required=True, allow_none=True)
    failing_since = fields.String(required=True, allow_none=True)
    last_error = fields.String(required=True, allow_none=True)
    last_status = fields.Integer(required=True, allow_none=True)
    last_success_at = fields.String(required=True, allow_none=True)
    waiting = fields.Integer(required=True, metadata={"description": f"Counted up to {COUNTED}."})
    dead = fields.Integer(required=True, metadata={"description": f"Dead letters, counted up to {COUNTED}."})
    old_secret_until = fields.String(required=True, allow_none=True)
    created_at = fields.String(required=True)


class WebhookMadeOut(WebhookOut):
    """The secret too, this once."""

    secret = fields.String(required=True)


class WebhooksOut(Schema):
    """The subscriptions of the app."""

    items = fields.List(fields.Nested(WebhookOut), required=True, metadata={"maxItems": MOST})


class AdminWebhookOut(WebhookOut):
    """Whose it is too."""

    client_id = fields.String(required=True)


class AdminWebhooksOut(Schema):
    """A page of all subscriptions."""

    items = fields.List(fields.Nested(AdminWebhookOut), required=True)
    next = fields.String(required=True, allow_none=True)


class DeliveryOut(Schema):
    """One event for one subscription."""

    event_id = fields.UUID(required=True, metadata={"description": "As in `webhook-id`."})
    kind = fields.String(required=True)
    at = fields.String(required=True, metadata={"description": "When it happened."})
    state = fields.String(required=True)
    attempts = fields.Integer(required=True)
    due_at = fields.String(required=True, allow_none=True)
    done_at = fields.String(required=True, allow_none=True)
    last_error = fields.String(required=True, allow_none=True)
    last_status = fields.Integer(required=True, allow_none=True)


class DeliveriesOut(Schema):
    """A page of deliveries, the newest first."""

    items = fields.List(fields.Nested(DeliveryOut), required=True)
    next = fields.String(required=True, allow_none=True)


class TestOut(Schema):
    """The test event that is under way."""

    event_id = fields.UUID(required=True)


class ReplayOut(Schema):
    """The replay is under way."""

    since = fields.String(required=True)


class RedeliveredOut(Schema):
    """How many dead letters are sent again."""

    count = fields.Integer(required=True)


def webhook_out(seen: Seen, *, admin: bool = False) -> dict[str, Any]:
    """A subscription as `WebhookOut`, or as `AdminWebhookOut` has it."""
    row = seen.row
    return {
        "webhook_id": str(row.id),
        "url": row.url,
        "kinds": row.kinds,
        "state": row.state,
        "paused_by": row.paused_by,
        "notice": said(_NOTICES[PausedBy(row.paused_by)]) if row.paused_by else None,
        "failing_since": _instant(row.failing_since),
        "last_error": row.last_error,
        "last_status": row.last_status,
        "last_success_at": _instant(row.last_success_at),
        "waiting": seen.waiting,
        "dead": seen.dead,
        "old_secret_until": _instant(row.old_until),
        "created_at": instant(row.created_at),
        **({"client_id": seen.client_id} if admin else {}),
    }


def delivery_out(row: DeliveryRow, event: EventRow) -> dict[str, Any]:
    """A delivery as `DeliveryOut` has it: not whose card it was about, which the app may see no more."""
    return {
        "event_id": str(row.event_id),
        "kind": event.kind,
        "at": instant(event.at),
        "state": row.state,
        "attempts": row.attempts,
        "due_at": instant(row.due_at) if row.state == DeliveryState.PENDING else None,
        "done_at": _instant(row.done_at),
        "last_error": row.last_error,
        "last_status": row.last_status,
    }


def _instant(when: Any) -> str | None:
    return instant(when) if when is not None else None
