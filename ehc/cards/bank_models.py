"""Tables of bank accounts that are bound to a card, of what the bank told, and of the nightly comparison with it."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ehc.cards.models import one_of
from ehc.db import Base

STATES = ("starting", "started", "confirming", "bound", "ending", "ended", "failed")
HELD = ("starting", "started", "confirming", "bound", "ending")
"""An account in one of these states is taken."""
OPEN = ("starting", "started", "confirming", "ending")
"""Not settled: there is something to hear from the bank."""


class BankAccountRow(Base):
    """A bank account (银行账户) bound to a card, or about to be. Its number is not here: the bank's token stands for it.

    Every call to the bank has an id that is committed before the call, so that one whose answer is lost can be asked about:
    `starting`, `confirming` and `ending` are what is not known yet. `number_index` is dropped when the binding ends.
    """

    __tablename__ = "bank_account"
    __table_args__ = (
        CheckConstraint(one_of("state", STATES), name="state"),
        CheckConstraint("payer IN ('self', 'guardian')", name="payer"),
        CheckConstraint("(state = 'bound') <= (token IS NOT NULL)", name="bound_by_token"),
        CheckConstraint("NOT is_default OR state = 'bound'", name="default_is_bound"),
        Index(
            "uq_bank_account_self", "number_index", unique=True,
            postgresql_where=text(f"payer = 'self' AND {one_of('state', HELD)}"),
        ),
        Index(
            "uq_bank_account_card", "card_serial", "number_index", unique=True, postgresql_where=one_of("state", HELD)
        ),
        Index("uq_bank_account_default", "card_serial", unique=True, postgresql_where=text("is_default")),
        Index("uq_bank_account_start", "start_request", unique=True),
        Index("ix_bank_account_open", "changed_at", postgresql_where=one_of("state", OPEN)),
    )  # fmt: skip

    id: Mapped[UUID] = mapped_column(primary_key=True)
    card_serial: Mapped[int] = mapped_column(ForeignKey("card.serial"), index=True)
    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id"))
    payer: Mapped[str] = mapped_column(Text)
    payer_id: Mapped[UUID] = mapped_column(ForeignKey("resident.id"), index=True)
    """Whose account it is: the holder, or for a child who acts for the holder."""
    number_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    bank: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    last4: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    start_request: Mapped[UUID]
    confirm_request: Mapped[UUID | None]
    end_request: Mapped[UUID | None]
    token: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The bank's name for the agreement, sealed."""
    single_limit: Mapped[int | None] = mapped_column(BigInteger)
    """Fen (分) for one payment, and for a day; NULL: the bank sets none."""
    day_limit: Mapped[int | None] = mapped_column(BigInteger)
    is_default: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    tries: Mapped[int] = mapped_column(SmallInteger, default=0)
    failed_for: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """Until when the bank takes its one-time code."""
    bound_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ended_for: Mapped[str | None] = mapped_column(Text)
    compared_in: Mapped[UUID | None]
    """The last comparison that found it at the bank."""
    changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    version: Mapped[int] = mapped_column(BigInteger, default=1)

    def touch(self, at: datetime) -> None:
        """Say that the row is written: who read it before, such as a job that asks the bank, finds another version."""
        self.changed_at, self.version = at, self.version + 1


class BankNoticeRow(Base):
    """Something that the bank told by itself, by webhook or in a daily file: once, however often it tells it."""

    __tablename__ = "bank_notice"

    notice_id: Mapped[str] = mapped_column(Text, primary_key=True)
    what: Mapped[str] = mapped_column(Text)
    start_request: Mapped[UUID] = mapped_column(index=True)
    source: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(Text)
    happened_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class BankDayRow(Base):
    """A day whose file of notices was read to its end."""

    __tablename__ = "bank_day"

    day: Mapped[date] = mapped_column(primary_key=True)
    notices: Mapped[int] = mapped_column(BigInteger)
    read_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class BankComparisonRow(Base):
    """One comparison (对账) of our bindings with the bank's: how many of each difference, and what was done about them."""

    __tablename__ = "bank_comparison"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    begun_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    compared: Mapped[int] = mapped_column(BigInteger, default=0)
    differences: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list)
    """Ids and kinds of differences, and what was done; no personal data."""
