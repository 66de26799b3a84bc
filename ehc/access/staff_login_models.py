"""Tables of how the staff prove who they are, of what was tried, and of roles that wait for a second person."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class StaffPasswordRow(Base):
    """A password, as argon2id. A person's newest is the one in use; a few older ones are kept, so as not to come again."""

    __tablename__ = "staff_password"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"), index=True)
    hash: Mapped[str] = mapped_column(Text)
    must_change: Mapped[bool] = mapped_column(Boolean)
    """Somebody else made it, or it grew too old."""
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """Of one that somebody else made: no log-in from then on."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class StaffTotpRow(Base):
    """The secret of a TOTP app, sealed. One that counts, and one that is being set up, at most."""

    __tablename__ = "staff_totp"
    __table_args__ = (
        Index("uq_staff_totp_confirmed", "staff_id", unique=True, postgresql_where=text("confirmed_at IS NOT NULL")),
        Index("uq_staff_totp_pending", "staff_id", unique=True, postgresql_where=text("confirmed_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    last_step: Mapped[int] = mapped_column(BigInteger)
    """The newest step that was accepted: only later ones are, so none is accepted twice."""
    confirmed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class StaffPasskeyRow(Base):
    """A WebAuthn credential."""

    __tablename__ = "staff_passkey"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"), index=True)
    credential_id: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    sign_count: Mapped[int] = mapped_column(BigInteger)
    label: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class StaffChallengeRow(Base):
    """A challenge for an authenticator. It is deleted by whoever uses it, so it is used once."""

    __tablename__ = "staff_challenge"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"), index=True)
    purpose: Mapped[str] = mapped_column(Text)
    challenge: Mapped[bytes] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)


class StaffRecoveryCodeRow(Base):
    """A recovery code, as a keyed hash. It is deleted by its use."""

    __tablename__ = "staff_recovery_code"

    code_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"), index=True)


class StaffDeviceRow(Base):
    """A device on which somebody has logged in. Its tries are counted apart from those of strangers."""

    __tablename__ = "staff_device"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"), index=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)


class StaffTryRow(Base):
    """A try that was not, or not yet, right. Who tried whom is kept as keyed hashes."""

    __tablename__ = "staff_try"
    __table_args__ = (Index(None, "subject", "at"), Index(None, "address", "at"), Index(None, "at"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    subject: Mapped[bytes] = mapped_column(LargeBinary)
    address: Mapped[bytes | None] = mapped_column(LargeBinary)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class StaffGrantRow(Base):
    """Roles that one person proposed for another, and what a third decided. One a person is open at a time."""

    __tablename__ = "staff_grant"
    __table_args__ = (
        CheckConstraint(
            "NOT (roles && ARRAY['system-admin', 'security-admin', 'audit-admin']) OR cardinality(roles) = 1",
            name="three_apart",
        ),
        CheckConstraint("cardinality(roles) >= 1", name="some_role"),
        CheckConstraint("proposed_by <> staff_id AND decided_by <> staff_id", name="not_own"),
        CheckConstraint("decided_by <> proposed_by OR outcome <> 'granted'", name="two_people"),
        CheckConstraint("(decided_at IS NULL) = (outcome IS NULL)", name="decided"),
        Index("uq_staff_grant_open", "staff_id", unique=True, postgresql_where=text("decided_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"), index=True)
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text))
    region: Mapped[str | None] = mapped_column(Text)
    institution_id: Mapped[UUID | None] = mapped_column(ForeignKey("institution.id"))
    proposed_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    """Null: an operator, at the command line."""
    proposed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    decided_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    decided_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    outcome: Mapped[str | None] = mapped_column(Text)
