"""Tables of hospital patient ids (院内ID) that are bound to a card, and of those that wait for a person to decide."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base

_LIVE = text("ended_at IS NULL")


class PatientIdRow(Base):
    """An institution's own id of a patient, bound to a card. One that ended stays, as history.

    Two constraints keep patients apart: a card has one live id of a type at an institution, and an id leads to one card.
    """

    __tablename__ = "patient_id"
    __table_args__ = (
        CheckConstraint("id_type IN ('outpatient', 'inpatient')", name="id_type"),
        CheckConstraint("source IN ('check', 'import', 'review', 'change', 'app')", name="source"),
        Index("uq_patient_id_card", "card_serial", "institution_id", "id_type", unique=True, postgresql_where=_LIVE),
        Index("uq_patient_id_number", "number_index", unique=True, postgresql_where=_LIVE),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    card_serial: Mapped[int] = mapped_column(ForeignKey("card.serial"), index=True)
    institution_id: Mapped[UUID] = mapped_column(ForeignKey("institution.id"))
    id_type: Mapped[str] = mapped_column(Text)
    number: Mapped[bytes] = mapped_column(LargeBinary)
    number_index: Mapped[bytes] = mapped_column(LargeBinary)
    source: Mapped[str] = mapped_column(Text)
    """What showed that the patient is the holder: a check there, a list of the hospital's, a decision on it, a merge, or the
    holder's use of the hospital's own app."""
    verification_id: Mapped[UUID | None]
    run_id: Mapped[UUID | None] = mapped_column(ForeignKey("patient_import.id"))
    bound_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ended_for: Mapped[str | None] = mapped_column(Text)
    replaced_by: Mapped[UUID | None] = mapped_column(ForeignKey("patient_id.id"))


class PatientImportRow(Base):
    """A list of existing patients that an institution sent: how far it is, and what it came to.

    `done_lines` moves with the rows it counts, in one transaction, so that a list goes on where it was stopped.
    """

    __tablename__ = "patient_import"
    __table_args__ = (
        CheckConstraint("state IN ('running', 'done')", name="state"),
        Index("uq_patient_import_open", "fingerprint", unique=True, postgresql_where=text("finished_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    institution_id: Mapped[UUID] = mapped_column(ForeignKey("institution.id"))
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(Text)
    done_pieces: Mapped[int] = mapped_column(BigInteger, default=0)
    rows: Mapped[int] = mapped_column(BigInteger, default=0)
    bound: Mapped[int] = mapped_column(BigInteger, default=0)
    known: Mapped[int] = mapped_column(BigInteger, default=0)
    review: Mapped[int] = mapped_column(BigInteger, default=0)
    bad: Mapped[int] = mapped_column(BigInteger, default=0)
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class PatientFaultRow(Base):
    """A row of a list that cannot be read: its line, the column and why."""

    __tablename__ = "patient_fault"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("patient_import.id"), primary_key=True)
    line: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    field: Mapped[str] = mapped_column(Text)
    code: Mapped[str] = mapped_column(Text)


class PatientReviewRow(Base):
    """A patient of a list whom nothing but a person may bind: anything but an exact match. Sealed until decided."""

    __tablename__ = "patient_review"
    __table_args__ = (
        Index(
            "ix_patient_review_open", "institution_id", "run_id", "line", postgresql_where=text("decided_at IS NULL")
        ),
        Index("uq_patient_review_line", "run_id", "line", unique=True),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    run_id: Mapped[UUID] = mapped_column(ForeignKey("patient_import.id"))
    line: Mapped[int] = mapped_column(BigInteger)
    institution_id: Mapped[UUID] = mapped_column(ForeignKey("institution.id"))
    id_type: Mapped[str] = mapped_column(Text)
    number: Mapped[bytes | None] = mapped_column(LargeBinary)
    name: Mapped[bytes | None] = mapped_column(LargeBinary)
    """As the hospital has it."""
    card_serial: Mapped[int | None] = mapped_column(ForeignKey("card.serial"), index=True)
    """The card that the document leads to, where there is one."""
    reason: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    decided_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    decision: Mapped[str | None] = mapped_column(Text)
    decided_by: Mapped[str | None] = mapped_column(Text)
