"""What subscriptions and their deliveries look like: counted, listed. Changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ehc.access.models import ClientRow
from ehc.outbox.models import DeliveryRow, DeliveryState, EventRow, WebhookRow, WebhookState

COUNTED = 1000
"""Deliveries are counted up to here: what is told as this many may be more."""


@dataclass(frozen=True)
class Seen:
    """A subscription, whose it is, and how many deliveries wait or are dead letters."""

    row: WebhookRow
    client_id: str
    waiting: int
    dead: int


def seen(session: Session, rows: Sequence[WebhookRow]) -> list[Seen]:
    """Subscriptions with what waits for them."""
    owners = select(ClientRow.id, ClientRow.client_id).where(ClientRow.id.in_({row.client_id for row in rows}))
    names: dict[UUID, str] = {found.id: found.client_id for found in session.execute(owners)} if rows else {}
    return [
        Seen(
            row,
            names[row.client_id],
            _count(session, row.id, DeliveryState.PENDING),
            _count(session, row.id, DeliveryState.DEAD),
        )
        for row in rows
    ]


def every(
    session: Session, *, limit: int, after: UUID | None = None, failing: bool = False
) -> tuple[list[WebhookRow], bool]:
    """A page of all subscriptions, the newest first, and whether more follow. `failing`: those that do not go well."""
    wanted = select(WebhookRow).where(WebhookRow.state != WebhookState.DELETED)
    if after is not None:
        wanted = wanted.where(WebhookRow.id < after)
    if failing:
        wanted = wanted.where(WebhookRow.failing_since.is_not(None) | (WebhookRow.state == WebhookState.PAUSED))
    rows = list(session.scalars(wanted.order_by(WebhookRow.id.desc()).limit(limit + 1)))
    return rows[:limit], len(rows) > limit


def deliveries(
    session: Session, webhook_id: UUID, *, limit: int, state: str | None = None, before: int | None = None
) -> tuple[list[tuple[DeliveryRow, EventRow]], bool]:
    """A page of what was sent or waits, the newest first, and whether more follow; before a `seq`, where one is given."""
    wanted: Any = select(DeliveryRow, EventRow).join(EventRow, EventRow.id == DeliveryRow.event_id)
    wanted = wanted.where(DeliveryRow.webhook_id == webhook_id)
    if state is not None:
        wanted = wanted.where(DeliveryRow.state == state)
    if before is not None:
        wanted = wanted.where(DeliveryRow.seq < before)
    rows = [(row[0], row[1]) for row in session.execute(wanted.order_by(DeliveryRow.seq.desc()).limit(limit + 1))]
    return rows[:limit], len(rows) > limit


def _count(session: Session, webhook_id: UUID, state: DeliveryState) -> int:
    mine = select(DeliveryRow.seq).where(DeliveryRow.webhook_id == webhook_id, DeliveryRow.state == state)
    return session.scalar(select(func.count()).select_from(mine.limit(COUNTED).subquery())) or 0
