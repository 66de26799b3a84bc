"""Tables of webhooks: the outbox, who subscribed, and each delivery."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base
from ehc.outbox.kinds import EventKind


def _words(column: str, values: type[StrEnum]) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


class WebhookState(StrEnum):
    """Whether events are sent. A paused one goes on gathering them; a deleted one waits for the purge."""

    LIVE = "live"
    PAUSED = "paused"
    DELETED = "deleted"


class PausedBy(StrEnum):
    """Who paused a subscription. `system`: after three days without an answer. `receiver`: it answered 410."""

    APP = "app"
    STAFF = "staff"
    SYSTEM = "system"
    RECEIVER = "receiver"


class DeliveryState(StrEnum):
    """What became of one event for one subscription. `skipped`: the app may see the card no more."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    SKIPPED = "skipped"


class EventRow(Base):
    """One event. `seq` is the order in which they were put in, `position` the one in which they are told.

    Rows without a position have not been given to the subscriptions yet. `card_serial` is no foreign key: uses of cards
    come in by the thousand.
    """

    __tablename__ = "outbox_event"
    __table_args__ = (
        CheckConstraint(_words("kind", EventKind), name="kind"),
        Index("ix_outbox_event_unplaced", "seq", postgresql_where=text("position IS NULL")),
        Index("ix_outbox_event_at", "at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, Identity())
    card_serial: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(Text)
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    position: Mapped[int | None] = mapped_column(BigInteger)


class CursorRow(Base):
    """How far the outbox came: one row. All checks before `since` are in it; see `ehc/verify/uses.py` for the mark."""

    __tablename__ = "outbox_cursor"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, server_default="0", default=0)
    since: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    mark_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    mark_xid: Mapped[int | None] = mapped_column(BigInteger)


class WebhookRow(Base):
    """A subscription of an app. While `hold_until` lies ahead nothing is sent: its receiver did not answer.

    `struggling` ones, which failed or were slow the last time, are served apart, so that they hold up nobody.
    """

    __tablename__ = "webhook"
    __table_args__ = (
        CheckConstraint(_words("state", WebhookState), name="state"),
        CheckConstraint(_words("paused_by", PausedBy), name="paused_by"),
        CheckConstraint("(state = 'paused') = (paused_by IS NOT NULL)", name="paused_by_somebody"),
        CheckConstraint("(old_secret IS NULL) = (old_until IS NULL)", name="old_secret_ends"),
        CheckConstraint("cardinality(kinds) >= 1", name="some_kind"),
        Index("uq_webhook_url", "client_id", "url", unique=True, postgresql_where=text("state <> 'deleted'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id"))
    url: Mapped[str] = mapped_column(Text)
    kinds: Mapped[list[str]] = mapped_column(ARRAY(Text))
    state: Mapped[str] = mapped_column(Text)
    paused_by: Mapped[str | None] = mapped_column(Text)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    """Sealed: `webhook.secret:{id}:{secret_number}`; the one before it with the number before."""
    secret_number: Mapped[int] = mapped_column(Integer, server_default="1", default=1)
    old_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    old_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    failures: Mapped[int] = mapped_column(Integer, server_default="0", default=0)
    """Turns in a row in which the receiver answered nothing well."""
    failing_since: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    hold_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    struggling: Mapped[bool] = mapped_column(Boolean, server_default=text("false"), default=False)
    last_error: Mapped[str | None] = mapped_column(Text)
    last_status: Mapped[int | None] = mapped_column(Integer)
    last_success_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    version: Mapped[int] = mapped_column(BigInteger, server_default="1", default=1)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    state_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class DeliveryRow(Base):
    """One event for one subscription. Of the pending ones of a card the lowest `seq` is sent first."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        CheckConstraint(_words("state", DeliveryState), name="state"),
        Index("ix_webhook_delivery_webhook_id_seq", "webhook_id", "seq"),
        Index("ix_webhook_delivery_due", "webhook_id", "due_at", postgresql_where=text("state = 'pending'")),
        Index("ix_webhook_delivery_dead", "webhook_id", "seq", postgresql_where=text("state = 'dead'")),
        Index(
            "ix_webhook_delivery_card", "webhook_id", "card_serial", "seq", postgresql_where=text("state = 'pending'")
        ),
    )

    webhook_id: Mapped[UUID] = mapped_column(ForeignKey("webhook.id"), primary_key=True)
    event_id: Mapped[UUID] = mapped_column(
        ForeignKey("outbox_event.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    seq: Mapped[int] = mapped_column(BigInteger, Identity())
    card_serial: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(Text, server_default=DeliveryState.PENDING, default=DeliveryState.PENDING)
    attempts: Mapped[int] = mapped_column(Integer, server_default="0", default=0)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    first_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    done_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_error: Mapped[str | None] = mapped_column(Text)
    last_status: Mapped[int | None] = mapped_column(Integer)
