"""Tables of residents who log in: as whom a platform knows them within one app, their sessions, and wrong tries."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class PlatformIdentityRow(Base):
    """Somebody as a platform knows them within one app. Leads to a person once they are linked, and to nobody before.

    `phone_index` is the phone by which the link was proved: it counts only while that is the person's registered phone.
    """

    __tablename__ = "platform_identity"
    __table_args__ = (
        CheckConstraint("platform IN ('wechat', 'alipay', 'sms')", name="platform"),
        CheckConstraint("(resident_id IS NULL) = (linked_at IS NULL)", name="linked_whole"),
        CheckConstraint("(resident_id IS NULL) = (phone_index IS NULL)", name="linked_by_phone"),
        UniqueConstraint("client_id", "platform", "external_index"),
        Index("ix_platform_identity_seen_at", "seen_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id"))
    platform: Mapped[str] = mapped_column(Text)
    external_id: Mapped[bytes] = mapped_column(LargeBinary)
    """Sealed: openid, Alipay's user id, or the phone."""
    external_index: Mapped[bytes] = mapped_column(LargeBinary)
    """Keyed, and of this app alone: the same person has another one in every app."""
    union_id: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Sealed. Nobody is looked for by it."""
    resident_id: Mapped[UUID | None] = mapped_column(ForeignKey("resident.id"), index=True)
    phone_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    linked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """The last log-in."""


class ResidentSessionRow(Base):
    """One log-in of a resident through an app. Only a hash of its token is kept."""

    __tablename__ = "resident_session"
    __table_args__ = (Index("ix_resident_session_identity_id_created_at", "identity_id", "created_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    identity_id: Mapped[UUID] = mapped_column(ForeignKey("platform_identity.id"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ended_for: Mapped[str | None] = mapped_column(Text)


class ResidentTryRow(Base):
    """A log-in or link that was wrong, or is being looked at. One row for each subject that it counts against."""

    __tablename__ = "resident_try"
    __table_args__ = (Index("ix_resident_try_subject_at", "subject", "at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    subject: Mapped[bytes] = mapped_column(LargeBinary)
    """A keyed hash of whose tries these are: an app, an address, an identity, a document."""
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
