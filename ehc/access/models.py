"""Tables of who may call: institutions and clients."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, LargeBinary, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class InstitutionRow(Base):
    """A hospital or other institution. `code` is the one it was first known by here, and stays: see `InstitutionCodeRow`."""

    __tablename__ = "institution"
    __table_args__ = (CheckConstraint("state IN ('live', 'suspended', 'closed')", name="state"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text)
    region: Mapped[str | None] = mapped_column(ForeignKey("region.code"), index=True)
    """Six digits of GB/T 2260; None where nobody has said yet."""
    kind: Mapped[str] = mapped_column(Text, server_default=text("'other'"), default="other")
    """One of `ehc.access.institutions.KINDS`."""
    state: Mapped[str] = mapped_column(Text, server_default=text("'live'"), default="live")
    """A terminal of one that is not live cannot call."""
    contacts: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Sealed JSON: `institution.contacts:{id}`."""
    version: Mapped[int] = mapped_column(server_default=text("1"), default=1)
    static_allowed: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    """Whether printed and other static codes (静态码) count here."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class ClientRow(Base):
    """An app or a terminal. Only a hash of its secret is kept."""

    __tablename__ = "client"
    __table_args__ = (
        CheckConstraint("kind IN ('app', 'terminal')", name="kind"),
        CheckConstraint(
            "kind = 'app' OR (institution_id IS NOT NULL AND terminal_code IS NOT NULL AND scopes = ARRAY['verify'])",
            name="terminal_only_verifies",
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[str] = mapped_column(Text, unique=True)
    kind: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    institution_id: Mapped[UUID | None] = mapped_column(ForeignKey("institution.id"), index=True)
    terminal_code: Mapped[str | None] = mapped_column(Text, unique=True)
    disabled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
