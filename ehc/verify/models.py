"""Tables of checks: the journal, partitioned by month, and the codes that were spent."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Index, LargeBinary, SmallInteger, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base

NO_CARD = 0
"""`card_serial` of a check whose code names no card we can believe in."""


class VerificationRow(Base):
    """One check and what it disclosed. Written once, never changed. The key also lists a card's checks, newest first."""

    __tablename__ = "verification"
    __table_args__ = (
        Index("ix_verification_verified_at", "verified_at", postgresql_using="brin"),
        {"postgresql_partition_by": "RANGE (verified_at)"},
    )

    card_serial: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    verified_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    reason: Mapped[str | None] = mapped_column(Text)
    """Why it was refused; NULL is accepted."""
    client_id: Mapped[UUID]
    institution_id: Mapped[UUID | None]
    step: Mapped[str] = mapped_column(Text)
    channel: Mapped[str | None] = mapped_column(Text)
    department: Mapped[str | None] = mapped_column(Text)
    operator: Mapped[bytes | None] = mapped_column(LargeBinary)
    request_id: Mapped[str | None] = mapped_column(Text)
    disclosed: Mapped[list[str]] = mapped_column(ARRAY(Text))
    key_id: Mapped[bytes | None] = mapped_column(LargeBinary)
    assurance: Mapped[str | None] = mapped_column(Text)
    """What kind of code was shown, and how sure it made the check; NULL is a dynamic one."""
    wrong_tries: Mapped[int | None] = mapped_column(SmallInteger)
    """Second factors to the card's national static code that were wrong since the last right one; NULL: none was given."""


class CodeUseRow(Base):
    """A code that was spent. The primary key is what makes a code good for one acceptance."""

    __tablename__ = "code_use"
    __table_args__ = (Index("ix_code_use_expires_at", "expires_at"),)

    card_serial: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    cti: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    verification_id: Mapped[UUID]
    client_id: Mapped[UUID]
    step: Mapped[str] = mapped_column(Text)
    used_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
