"""Tables of what an institution has: its region, its codes elsewhere, its departments; and of files of institutions."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, ForeignKeyConstraint, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class RegionRow(Base):
    """An administrative area (GB/T 2260). One that is no more stays, retired, so that old records have its name."""

    __tablename__ = "region"

    code: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    level: Mapped[int]
    parent: Mapped[str | None] = mapped_column(ForeignKey("region.code"), index=True)
    retired_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class InstitutionCodeRow(Base):
    """A code by which the outside world knows an institution, from a day until the day before another.

    A live one (no `valid_until`) leads to one institution, and an institution has one live code of a kind. Rows stay.
    """

    __tablename__ = "institution_code"
    __table_args__ = (
        CheckConstraint("kind IN ('ws-218', 'uscc', 'clinic', 'local')", name="kind"),
        CheckConstraint("valid_until IS NULL OR valid_until >= valid_from", name="in_order"),
        Index(
            "uq_institution_code_live_code", "kind", "code", unique=True, postgresql_where=text("valid_until IS NULL")
        ),
        Index(
            "uq_institution_code_live_kind",
            "institution_id",
            "kind",
            unique=True,
            postgresql_where=text("valid_until IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    institution_id: Mapped[UUID] = mapped_column(ForeignKey("institution.id"), index=True)
    kind: Mapped[str] = mapped_column(Text)
    code: Mapped[str] = mapped_column(Text)
    valid_from: Mapped[date]
    valid_until: Mapped[date | None]


class DepartmentRow(Base):
    """A department of an institution, in a tree of their own. One that is no more stays, ended."""

    __tablename__ = "department"
    __table_args__ = (
        UniqueConstraint("institution_id", "id"),
        ForeignKeyConstraint(
            ["institution_id", "parent_id"],
            ["department.institution_id", "department.id"],
            name="fk_department_parent_id_department",
        ),
        Index(
            "uq_department_live_code",
            "institution_id",
            "local_code",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    institution_id: Mapped[UUID] = mapped_column(ForeignKey("institution.id"))
    parent_id: Mapped[UUID | None]
    name: Mapped[str] = mapped_column(Text)
    standard_code: Mapped[str | None] = mapped_column(Text)
    """Four digits of the standard departments (标准科室代码)."""
    local_code: Mapped[str | None] = mapped_column(Text)
    version: Mapped[int] = mapped_column(server_default=text("1"), default=1)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class InstitutionImportRow(Base):
    """A file of institutions that somebody sent, and what became of its rows."""

    __tablename__ = "institution_import"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    actor: Mapped[str] = mapped_column(Text)
    added: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    changed: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    unchanged: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    bad: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class InstitutionFaultRow(Base):
    """What was wrong with one row of a file: its line, the column and the rule, never the value."""

    __tablename__ = "institution_fault"

    import_id: Mapped[UUID] = mapped_column(ForeignKey("institution_import.id"), primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)
    column: Mapped[str] = mapped_column(Text, primary_key=True)
    reason: Mapped[str] = mapped_column(Text)
