"""Tables of terminals: what each is and does, the codes they are enrolled with, their keys, and what of those was spent."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Integer, LargeBinary, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base

_KINDS = "kind IN ('window', 'kiosk', 'doctor-station', 'gate', 'mobile')"


class TerminalRow(Base):
    """What a client of the kind `terminal` is for, and what it last said of itself. Every such client has one.

    It is blocked where its client is disabled, and replaced where `replaced_by` names another.
    """

    __tablename__ = "terminal"
    __table_args__ = (
        CheckConstraint(_KINDS, name="kind"),
        CheckConstraint("steps IS NULL OR cardinality(steps) >= 1", name="some_step"),
    )

    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(Text, server_default="window", default="window")
    department: Mapped[str | None] = mapped_column(Text)
    steps: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    """The medical steps that it may check at; None: all of them."""
    revision: Mapped[int] = mapped_column(Integer, server_default=text("1"), default=1)
    """Counts the changes that the staff make."""
    block_reason: Mapped[str | None] = mapped_column(Text)
    replaced_by: Mapped[UUID | None] = mapped_column(ForeignKey("client.id"))
    version: Mapped[str | None] = mapped_column(Text)
    """Its software, as the last heartbeat had it."""
    seen_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """To the minute: noted with a heartbeat or a token, never with a check."""
    heartbeat_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    clock_offset_ms: Mapped[int | None] = mapped_column(BigInteger)
    """How far its clock was ahead of ours at the last heartbeat."""


class EnrolmentRow(Base):
    """A one-time code for one terminal to be. Only an HMAC of it is kept, and of a part of it that finds this row."""

    __tablename__ = "terminal_enrolment"
    __table_args__ = (
        CheckConstraint(_KINDS, name="kind"),
        CheckConstraint("steps IS NULL OR cardinality(steps) >= 1", name="some_step"),
        CheckConstraint("tries BETWEEN 0 AND 5", name="tries"),
        CheckConstraint("(used_at IS NULL) = (client_id IS NULL)", name="used"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    selector_index: Mapped[bytes | None] = mapped_column(LargeBinary, unique=True)
    """Of the first four characters. None once nobody can use the code any more."""
    code_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    institution_id: Mapped[UUID] = mapped_column(ForeignKey("institution.id"), index=True)
    terminal_code: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    department: Mapped[str | None] = mapped_column(Text)
    steps: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    replaces: Mapped[UUID | None] = mapped_column(ForeignKey("client.id"))
    tries: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"), default=0)
    made_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    cancelled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    client_id: Mapped[UUID | None] = mapped_column(ForeignKey("client.id"))


class ReleaseRow(Base):
    """The newest software for a kind of terminal: what is older is reported."""

    __tablename__ = "terminal_release"
    __table_args__ = (CheckConstraint(_KINDS, name="kind"),)

    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    version: Mapped[str] = mapped_column(Text)
    changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class ClientKeyRow(Base):
    """A public key that a client proves itself with. A key belongs to one client for ever, also when it has ended."""

    __tablename__ = "client_key"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id"), index=True)
    thumbprint: Mapped[str] = mapped_column(Text, unique=True)
    jwk: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class ClientAssertionRow(Base):
    """An assertion that was spent: its `jti`, hashed, until it is out of date anyway."""

    __tablename__ = "client_assertion"

    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id"), primary_key=True)
    jti_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
