"""The table of proposals, and what became of each."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Index, LargeBinary, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class ApprovalRow(Base):
    """One proposal. `subject` is the object it is about, `version` what that was at when it was proposed.

    The database holds what matters most: nobody decides on their own proposal, and an object has one open one.
    """

    __tablename__ = "approval"
    __table_args__ = (
        CheckConstraint("state IN ('open', 'approved', 'rejected', 'withdrawn', 'lapsed')", name="state"),
        CheckConstraint("(state IN ('open', 'lapsed')) = (decided_by IS NULL)", name="decided"),
        CheckConstraint("(state = 'withdrawn') = (decided_by = proposed_by)", name="two_people"),
        Index("uq_approval_open", "kind", "subject", unique=True, postgresql_where=text("state = 'open'")),
        Index("ix_approval_proposed_at", "proposed_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    version: Mapped[str] = mapped_column(Text)
    arguments: Mapped[dict[str, Any]] = mapped_column(JSONB)
    reason: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(Text)
    proposed_by: Mapped[UUID]
    proposed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ends_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    decided_by: Mapped[UUID | None]
    decided_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    decision_reason: Mapped[bytes | None] = mapped_column(LargeBinary)
    outcome: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
