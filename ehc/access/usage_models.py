"""Tables of how much the service is used: checks counted by the hour, and what is to be counted again."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Identity, Text
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class UsageHourRow(Base):
    """How many checks of one hour (UTC) had this in common. An hour is always written as a whole."""

    __tablename__ = "usage_hour"

    hour: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    institution_id: Mapped[UUID] = mapped_column(primary_key=True)
    """All zeros: a check by an app, which belongs to none."""
    step: Mapped[str] = mapped_column(Text, primary_key=True)
    channel: Mapped[str] = mapped_column(Text, primary_key=True)
    """Empty: none was told."""
    outcome: Mapped[str] = mapped_column(Text, primary_key=True)
    checks: Mapped[int] = mapped_column(BigInteger)


class UsageTouchedRow(Base):
    """An hour that is to be counted again; written by every run, and by the trigger of checks that are written late."""

    __tablename__ = "usage_touched"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    hour: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)


class UsageRunRow(Base):
    """When a run looked, and the first transaction that had not begun by then. The last few are kept."""

    __tablename__ = "usage_run"

    next_xid: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    seen_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """Whatever was written before this, this run could see. None: nothing is known; all is counted again."""
