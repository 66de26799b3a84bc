"""The table of cards that are cancelled in great number."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class MassCancellationRow(Base):
    """One card of an approved list, and what became of it. `skipped`: it could not be cancelled when its turn came."""

    __tablename__ = "mass_cancellation"
    __table_args__ = (CheckConstraint("state IN ('waiting', 'cancelled', 'skipped')", name="state"),)

    approval_id: Mapped[UUID] = mapped_column(ForeignKey("approval.id"), primary_key=True)
    card_id: Mapped[UUID] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(Text, server_default="waiting", default="waiting")
    done_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
