"""Tables of people. Names, numbers, phones and addresses are sealed, and found through blind indexes."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, ForeignKey, Index, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class ResidentRow(Base):
    """A person. Sex (GB/T 2261.1) and birth date are in clear, since checks and family rules compute with them."""

    __tablename__ = "resident"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[bytes] = mapped_column(LargeBinary)
    phone: Mapped[bytes] = mapped_column(LargeBinary)
    phone_index: Mapped[bytes] = mapped_column(LargeBinary, index=True)
    address: Mapped[bytes | None] = mapped_column(LargeBinary)
    sex: Mapped[str | None] = mapped_column(Text)
    birth_date: Mapped[date | None]
    ethnicity: Mapped[str | None] = mapped_column(Text)
    version: Mapped[int] = mapped_column(BigInteger, default=1)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class DocumentRow(Base):
    """An identity document. Type and number make a person unique, whichever program registers them."""

    __tablename__ = "identity_document"
    __table_args__ = (Index("uq_identity_document_number_index", "number_index", unique=True),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    resident_id: Mapped[UUID] = mapped_column(ForeignKey("resident.id"), index=True)
    type: Mapped[str] = mapped_column(Text)
    number: Mapped[bytes] = mapped_column(LargeBinary)
    number_index: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
