"""Tables of what the provincial interface knows of cards besides: who made them through it, what was applied for, changes."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class ProvincialCardRow(Base):
    """A card as this interface tells of it. `made_at` is NULL for one that another interface made.

    A code that was applied for before the card's `codes_since` is over: the card is `已认证` again, without a code.
    """

    __tablename__ = "provincial_card"
    __table_args__ = (
        Index("ix_provincial_card_made", "institution_id", "made_at", postgresql_where=text("made_at IS NOT NULL")),
    )

    card_serial: Mapped[int] = mapped_column(ForeignKey("card.serial"), primary_key=True)
    institution_id: Mapped[UUID | None] = mapped_column(ForeignKey("institution.id"))
    made_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    code_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When a code was last applied for."""
    static_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When the static one was."""
    age: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The age in the words of whoever made a temporary card, sealed."""


class ProvincialChangeRow(Base):
    """A change that was made (E0011), by the caller's own number of it: sent again, it is acknowledged and not made again."""

    __tablename__ = "provincial_change"

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    number_index: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    """The blind index of `alterNo`, which may be made of somebody's number."""
    made_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
