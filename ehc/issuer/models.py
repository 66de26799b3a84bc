"""Tables of the issuer's own work: proofs that wait for an answer, one-time codes, corrections asked for."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class ProofRow(Base):
    """What the identity authority was asked about a card, and what it found. `finding` NULL: it has not answered yet."""

    __tablename__ = "identity_proof"
    __table_args__ = (Index("ix_identity_proof_waiting", "asked_at", postgresql_where=text("finding IS NULL")),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    card_serial: Mapped[int] = mapped_column(ForeignKey("card.serial"), index=True)
    asked_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    tries: Mapped[int] = mapped_column(SmallInteger, default=0)
    finding: Mapped[str | None] = mapped_column(Text)
    reference: Mapped[str | None] = mapped_column(Text)
    answered_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class PhoneProofRow(Base):
    """A one-time code sent to a phone. The code is kept as a keyed hash, the phone sealed and as a blind index."""

    __tablename__ = "phone_proof"
    __table_args__ = (
        Index("ix_phone_proof_phone_index_sent_at", "phone_index", "sent_at"),
        Index("ix_phone_proof_client_id_sent_at", "client_id", "sent_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id"))
    phone: Mapped[bytes] = mapped_column(LargeBinary)
    phone_index: Mapped[bytes] = mapped_column(LargeBinary)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary)
    tries: Mapped[int] = mapped_column(SmallInteger, server_default="0", default=0)
    sent_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    proved_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class NoticeRow(Base):
    """How far the authority's death notices were read."""

    __tablename__ = "death_notice_cursor"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    cursor: Mapped[str] = mapped_column(Text)
    read_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class DeathRow(Base):
    """A death notice that no card has answered for yet: of somebody who has none, or whose card could not be ended.

    `number_index` is the blind index of the document; nothing else is kept of the person.
    """

    __tablename__ = "death_notice"

    number_index: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    notice_id: Mapped[str] = mapped_column(Text)
    noted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class PhotoRow(Base):
    """A photograph that came with an application (证件照片): evidence for whoever reviews it, sealed, and gone by itself."""

    __tablename__ = "photo"
    __table_args__ = (CheckConstraint("kind IN ('front', 'reverse', 'face')", name="kind"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    card_serial: Mapped[int] = mapped_column(ForeignKey("card.serial"), index=True)
    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id"))
    kind: Mapped[str] = mapped_column(Text)
    """The document's front or reverse, or the applicant's face."""
    media_type: Mapped[str] = mapped_column(Text)
    picture: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    sent_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    kept_until: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)


class CorrectionRow(Base):
    """A person asks to have something about them put right. `wanted` and the decision's reason are sealed."""

    __tablename__ = "correction"
    __table_args__ = (Index("ix_correction_open", "asked_at", postgresql_where=text("decided_at IS NULL")),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    card_serial: Mapped[int] = mapped_column(BigInteger, ForeignKey("card.serial"), index=True)
    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id"))
    field: Mapped[str] = mapped_column(Text)
    wanted: Mapped[bytes] = mapped_column(LargeBinary)
    asked_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    decision: Mapped[str | None] = mapped_column(Text)
    decided_by: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[bytes | None] = mapped_column(LargeBinary)
    decided_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
