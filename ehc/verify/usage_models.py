"""The table of how many checks there were, by hour."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Text
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class UsageRow(Base):
    """Checks of one hour at one institution, alike in step, channel and outcome: counted, never added to."""

    __tablename__ = "usage_hour"
    __table_args__ = (CheckConstraint("checks > 0", name="some"),)

    hour: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    """When the hour begins."""
    institution_id: Mapped[UUID] = mapped_column(primary_key=True)
    step: Mapped[str] = mapped_column(Text, primary_key=True)
    channel: Mapped[str] = mapped_column(Text, primary_key=True)
    """Empty where the terminal said none."""
    outcome: Mapped[str] = mapped_column(Text, primary_key=True)
    """`accepted`, or why it was refused."""
    checks: Mapped[int] = mapped_column(BigInteger)
