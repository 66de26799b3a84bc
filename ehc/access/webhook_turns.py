"""What is sent next to a subscription, and what came of it: read and written around each attempt. Nothing here commits.

Events of one card go one after the other: while one waits to be tried again, those behind it wait too. A dead letter does not
hold them up. A result is written only where the delivery still is as it was read, so that a replay in between stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from ehc import audit
from ehc.access.app_models import AppRow
from ehc.access.app_states import AppState
from ehc.access.models import ClientRow
from ehc.access.webhook_places import PATIENCE, entitled, hold_after, wait_after
from ehc.access.webhooks import secret_place
from ehc.crypto.sealed import Sealer
from ehc.outbox.models import DeliveryRow, DeliveryState, PausedBy, WebhookRow, WebhookState


@dataclass(frozen=True)
class Order:
    """One event to be sent. `allowed` is whether the app may be told of it now."""

    webhook_id: UUID
    event_id: UUID
    seq: int
    card_serial: int
    attempts: int
    first_at: datetime | None
    allowed: bool
    body: bytes


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt: `error` is None when it was delivered. `alone` concerns this event, not the receiver."""

    error: str | None
    status: int | None = None
    retry_after: int | None = None
    alone: bool = False
    slow: bool = False


@dataclass(frozen=True)
class Receiver:
    """Where a subscription's events go, and what signs them: the newest secret first."""

    webhook_id: UUID
    client_id: UUID
    url: str
    secrets: tuple[str, ...]
    failures: int


_DUE = text("""
    SELECT webhook.id FROM webhook JOIN client ON client.id = webhook.client_id JOIN app ON app.client_id = client.id
    WHERE webhook.state = 'live' AND client.disabled_at IS NULL AND app.state = 'live' AND webhook.struggling = :struggling
        AND (webhook.hold_until IS NULL OR webhook.hold_until <= :now)
        AND EXISTS (
            SELECT FROM webhook_delivery AS waiting WHERE waiting.webhook_id = webhook.id
                AND waiting.state = 'pending' AND waiting.due_at <= :now)
    ORDER BY random()
""")
_ORDERS = text(f"""
    SELECT waiting.event_id, waiting.seq, waiting.card_serial, waiting.attempts, waiting.first_at,
        event.kind, event.facts, event.at, card.id AS card_id, {entitled("event")} AS allowed
    FROM webhook_delivery AS waiting
    JOIN outbox_event AS event ON event.id = waiting.event_id
    JOIN client ON client.id = :client
    LEFT JOIN card ON card.serial = waiting.card_serial
    LEFT JOIN card_grant AS grants ON grants.card_serial = waiting.card_serial AND grants.client_id = :client
    WHERE waiting.webhook_id = :id AND waiting.state = 'pending' AND waiting.due_at <= :now
        AND NOT EXISTS (
            SELECT FROM webhook_delivery AS earlier
            WHERE earlier.webhook_id = :id AND earlier.card_serial = waiting.card_serial AND earlier.state = 'pending'
                AND earlier.seq < waiting.seq AND earlier.due_at > :now)
    ORDER BY waiting.seq LIMIT :most
""")  # noqa: S608 - only a condition of ours is put in


def due(session: Session, *, struggling: bool, now: datetime) -> list[UUID]:
    """The subscriptions that something could be sent to now, in no order."""
    return list(session.scalars(_DUE, {"struggling": struggling, "now": now}))


def receiver(session: Session, webhook_id: UUID, *, sealer: Sealer, now: datetime) -> Receiver | None:
    """Where and how to send; None where the subscription is not live any more."""
    live = (WebhookRow.id == webhook_id) & (WebhookRow.state == WebhookState.LIVE)
    live &= ClientRow.disabled_at.is_(None) & (AppRow.state == AppState.LIVE)
    wanted = select(WebhookRow).join(ClientRow, ClientRow.id == WebhookRow.client_id)
    row = session.scalars(wanted.join(AppRow, AppRow.client_id == ClientRow.id).where(live)).one_or_none()
    if row is None or (row.hold_until is not None and row.hold_until > now):
        return None
    secrets = [sealer.unseal(row.secret, secret_place(row.id, row.secret_number))]
    if row.old_secret is not None and row.old_until is not None and row.old_until > now:
        secrets.append(sealer.unseal(row.old_secret, secret_place(row.id, row.secret_number - 1)))
    return Receiver(row.id, row.client_id, row.url, tuple(secrets), row.failures)


def orders(session: Session, to: Receiver, *, most: int, now: datetime) -> list[Order]:
    """What to send next, in order, at most `most`; each card's from its first that waits."""
    values = {"id": to.webhook_id, "client": to.client_id, "now": now, "most": most}
    return [
        Order(
            webhook_id=to.webhook_id,
            event_id=row.event_id,
            seq=row.seq,
            card_serial=row.card_serial,
            attempts=row.attempts,
            first_at=row.first_at,
            allowed=bool(row.allowed),
            body=payload(row.kind, row.at, row.card_id, row.facts),
        )
        for row in session.execute(_ORDERS, values)
    ]


def payload(kind: str, at: datetime, card_id: UUID | None, facts: dict[str, Any]) -> bytes:
    """An event as it is sent: the same bytes each time."""
    card = {"card_id": str(card_id)} if card_id is not None else {}
    return orjson.dumps({"type": kind, "timestamp": _instant(at), "data": {**card, **dict(sorted(facts.items()))}})


def skip(session: Session, order: Order, *, now: datetime) -> None:
    """The app may not be told of this event any more."""
    _write(session, order, state=DeliveryState.SKIPPED, done_at=now, last_error="no-grant")


def settle(session: Session, order: Order, outcome: Outcome, *, chance: float, now: datetime) -> None:
    """Write down what came of an attempt: delivered, to be tried again, or dead.

    An event whose tries are used up while its receiver answered nothing well at all is kept: the receiver is paused instead.
    """
    attempts, first_at = order.attempts + 1, order.first_at or now
    values: dict[str, Any] = {"attempts": attempts, "first_at": first_at, "last_status": outcome.status}
    if outcome.error is None:
        _write(session, order, **values, state=DeliveryState.DELIVERED, done_at=now, last_error=None)
        return
    values["last_error"] = outcome.error
    wait = wait_after(attempts, chance)
    if wait is not None:
        _write(session, order, **values, due_at=now + wait)
        return
    silent = select(WebhookRow.failing_since).where(WebhookRow.id == order.webhook_id)
    since = session.scalar(silent)
    if since is not None and since <= first_at and not outcome.alone:
        _write(session, order, **values, due_at=now + hold_after(attempts, chance))
    else:
        _write(session, order, **values, state=DeliveryState.DEAD, done_at=now)


def conclude(
    session: Session, to: Receiver, outcomes: Sequence[Outcome], *, began: datetime, chance: float, now: datetime
) -> None:
    """What a turn that began then told about the receiver: going well, to be left alone for a while, or paused."""
    good = [outcome for outcome in outcomes if outcome.error is None or outcome.alone]
    bad = next((outcome for outcome in reversed(outcomes) if outcome not in good), None)
    row = session.scalars(
        select(WebhookRow)
        .where(WebhookRow.id == to.webhook_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if row is None or row.state != WebhookState.LIVE or row.url != to.url or not outcomes:
        return
    if good:
        _went_well(session, row, now)
    row.struggling = bad is not None or any(outcome.slow for outcome in outcomes)
    last = bad or next((outcome for outcome in reversed(outcomes) if outcome.error), None)
    if last is not None:
        row.last_error, row.last_status = last.error, last.status
    if bad is not None:
        row.failures += 1
        row.failing_since = row.failing_since or began
        row.hold_until = now + hold_after(row.failures, chance, bad.retry_after)
        _pause_if_gone(session, row, bad, now)
    session.flush()


def _went_well(session: Session, row: WebhookRow, now: datetime) -> None:
    """After an outage of some length everything that waits is due at once: it failed for no fault of its own."""
    if row.failures >= 3:
        waiting = (DeliveryRow.webhook_id == row.id) & (DeliveryRow.state == DeliveryState.PENDING)
        late = update(DeliveryRow).where(waiting, DeliveryRow.due_at > now).values(due_at=now)
        session.execute(late.execution_options(synchronize_session=False))
    row.failures, row.failing_since, row.hold_until, row.last_success_at = 0, None, None, now


def _pause_if_gone(session: Session, row: WebhookRow, bad: Outcome, now: datetime) -> None:
    tired = row.failing_since is not None and now - row.failing_since >= PATIENCE
    if bad.error != "gone" and not tired:
        return
    row.state, row.state_at, row.version = WebhookState.PAUSED, now, row.version + 1
    row.paused_by = PausedBy.RECEIVER if bad.error == "gone" else PausedBy.SYSTEM
    told = {"paused_by": row.paused_by, "error": bad.error, "failing_since": _instant(row.failing_since or now)}
    audit.record(session, "webhook.paused", actor="system", subject=str(row.id), at=now, facts=told)


def _instant(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write(session: Session, order: Order, **values: Any) -> None:
    mine = (DeliveryRow.webhook_id == order.webhook_id) & (DeliveryRow.event_id == order.event_id)
    mine &= (DeliveryRow.seq == order.seq) & (DeliveryRow.state == DeliveryState.PENDING)
    mine &= DeliveryRow.attempts == order.attempts
    session.execute(update(DeliveryRow).where(mine).values(**values).execution_options(synchronize_session=False))
