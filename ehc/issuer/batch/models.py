"""Tables of imports: a run, its pieces, what was wrong in it by line, and the parts of one that came over the API."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class ImportRunRow(Base):
    """One import. `fingerprint` is SHA-256 over the content and the options: by it the same import is taken up again.

    `receiving` while its content comes over the API; `failed` is for good: the same content again is another run.
    `client_id` is the client that sent it, NULL for an operator's. The counts are set when it is done.
    """

    __tablename__ = "import_run"
    __table_args__ = (
        CheckConstraint("state IN ('receiving', 'waiting', 'running', 'done', 'failed')", name="state"),
        Index("uq_import_run_open", "fingerprint", unique=True, postgresql_where=text("finished_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[UUID | None] = mapped_column(ForeignKey("client.id"), index=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary, index=True)
    options: Mapped[dict[str, Any]] = mapped_column(JSONB)
    state: Mapped[str] = mapped_column(Text)
    dry_run: Mapped[bool]
    size: Mapped[int] = mapped_column(BigInteger)
    """Bytes."""
    pieces: Mapped[int | None] = mapped_column(Integer)
    rows: Mapped[int | None] = mapped_column(BigInteger)
    made: Mapped[int | None] = mapped_column(BigInteger)
    known: Mapped[int | None] = mapped_column(BigInteger)
    bad: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class ImportPieceRow(Base):
    """A piece of a run that was written, in the transaction that wrote it. Its key makes sure that it is written once."""

    __tablename__ = "import_piece"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("import_run.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    first_line: Mapped[int] = mapped_column(BigInteger)
    size: Mapped[int] = mapped_column(Integer)
    """Bytes."""
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    """SHA-256 of what was written: whoever goes on with the run cuts the same piece, or the run has failed."""
    rows: Mapped[int] = mapped_column(Integer, default=0)
    made: Mapped[int] = mapped_column(Integer, default=0)
    known: Mapped[int] = mapped_column(Integer, default=0)
    bad: Mapped[int] = mapped_column(Integer, default=0)
    done_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class ImportErrorRow(Base):
    """Why a row was not imported: its line (the header is 1), the column, a stable code. Never the value."""

    __tablename__ = "import_error"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("import_run.id"), primary_key=True)
    line: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    field: Mapped[str] = mapped_column(Text)
    code: Mapped[str] = mapped_column(Text)


class ImportPartRow(Base):
    """A piece of what came over the API, sealed, until the run is done."""

    __tablename__ = "import_part"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("import_run.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    first_line: Mapped[int] = mapped_column(BigInteger)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class ImportSeenRow(Base):
    """A document that a dry run came across, by blind indexes, until the run is done."""

    __tablename__ = "import_seen"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("import_run.id"), primary_key=True)
    number_index: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    index_id_index: Mapped[bytes] = mapped_column(LargeBinary)
