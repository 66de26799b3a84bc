"""Tables of people. Names, numbers, phones and addresses are sealed, and found through blind indexes."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, ForeignKey, Index, LargeBinary, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class ResidentRow(Base):
    """A person. Sex (GB/T 2261.1) and birth date are in clear, since checks and family rules compute with them."""

    __tablename__ = "resident"
    __table_args__ = (
        Index("ix_resident_erase_after", "erase_after", postgresql_where=text("erase_after IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[bytes] = mapped_column(LargeBinary)
    phone: Mapped[bytes | None] = mapped_column(LargeBinary)
    phone_index: Mapped[bytes | None] = mapped_column(LargeBinary, index=True)
    phone_proved_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    phone_by_guardian: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    """Whether the phone was given, or proved, through who acts for the person: it goes with them, and agrees to nothing."""
    address: Mapped[bytes | None] = mapped_column(LargeBinary)
    employer: Mapped[bytes | None] = mapped_column(LargeBinary)
    sex: Mapped[str | None] = mapped_column(Text)
    birth_date: Mapped[date | None]
    ethnicity: Mapped[str | None] = mapped_column(Text)
    birth_order: Mapped[int | None] = mapped_column(SmallInteger)
    erase_after: Mapped[date | None]
    """When what the law keeps of a closed account goes too."""
    version: Mapped[int] = mapped_column(BigInteger, default=1)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class DocumentRow(Base):
    """An identity document. Type and number make a person unique, whichever program registers them.

    A person may have several. One that was entered by mistake is closed, and may turn up with its real owner.
    """

    __tablename__ = "identity_document"
    __table_args__ = (
        Index(
            "uq_identity_document_number_index", "number_index", unique=True, postgresql_where=text("closed_at IS NULL")
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    resident_id: Mapped[UUID] = mapped_column(ForeignKey("resident.id"), index=True)
    type: Mapped[str] = mapped_column(Text)
    number: Mapped[bytes] = mapped_column(LargeBinary)
    number_index: Mapped[bytes] = mapped_column(LargeBinary)
    name: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The name as this document has it, NULL: the resident's. NULL for the one that the card's ids are made from."""
    closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class FamilyLinkRow(Base):
    """Somebody acts for a member of the family. `relation` is GB/T 4761: what the member is to the guardian."""

    __tablename__ = "family_link"
    __table_args__ = (
        Index(
            "uq_family_link_live", "guardian_id", "member_id", unique=True, postgresql_where=text("ended_at IS NULL")
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    guardian_id: Mapped[UUID] = mapped_column(ForeignKey("resident.id"), index=True)
    member_id: Mapped[UUID] = mapped_column(ForeignKey("resident.id"), index=True)
    relation: Mapped[str] = mapped_column(Text)
    method: Mapped[str] = mapped_column(Text)
    evidence: Mapped[bytes | None] = mapped_column(LargeBinary)
    until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ended_for: Mapped[str | None] = mapped_column(Text)


class ConsentRow(Base):
    """A person agreed to a purpose: to which wording, when, through which channel; and took it back, or not."""

    __tablename__ = "consent"
    __table_args__ = (
        Index(
            "uq_consent_live",
            "resident_id",
            "purpose",
            "client_id",
            unique=True,
            postgresql_where=text("withdrawn_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    resident_id: Mapped[UUID] = mapped_column(ForeignKey("resident.id"), index=True)
    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id"))
    purpose: Mapped[str] = mapped_column(Text)
    text_version: Mapped[str] = mapped_column(Text)
    channel: Mapped[str] = mapped_column(Text)
    given_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    withdrawn_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
