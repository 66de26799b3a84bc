"""Tables of disclosure: the versions of the table, and the rows of each. Written once, never changed."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Integer, LargeBinary, SmallInteger, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class DisclosureVersionRow(Base):
    """A version of the table, from 1: who proposed it, who approved it, and by which approval. The highest is in force."""

    __tablename__ = "disclosure_version"
    __table_args__ = (
        CheckConstraint("proposed_by <> approved_by", name="two_people"),
        CheckConstraint("version > 0", name="version"),
    )

    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    approval_id: Mapped[UUID] = mapped_column(unique=True)
    reason: Mapped[bytes] = mapped_column(LargeBinary)
    """Sealed: `disclosure_version.reason`."""
    proposed_by: Mapped[UUID]
    approved_by: Mapped[UUID]
    since: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class DisclosureRuleRow(Base):
    """One row of a version. `institution_id` or `kind`, or neither: everybody. `step` NULL: any. `told`: words of fields."""

    __tablename__ = "disclosure_rule"
    __table_args__ = (
        CheckConstraint("institution_id IS NULL OR kind IS NULL", name="one_scope"),
        CheckConstraint("valid_from < valid_until", name="some_time"),
        CheckConstraint("told && ARRAY['name', 'name:masked']", name="with_a_name"),
    )

    version: Mapped[int] = mapped_column(ForeignKey("disclosure_version.version"), primary_key=True)
    position: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    institution_id: Mapped[UUID | None] = mapped_column(ForeignKey("institution.id"))
    kind: Mapped[str | None] = mapped_column(Text)
    step: Mapped[str | None] = mapped_column(Text)
    told: Mapped[list[str]] = mapped_column(ARRAY(Text))
    reason: Mapped[str] = mapped_column(Text)
    valid_from: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    valid_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
