"""Tables of keys. No private or secret key is ever here in clear."""

from datetime import datetime

from sqlalchemy import CheckConstraint, DateTime, LargeBinary, SmallInteger, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class SigningKeyRow(Base):
    """A P-256 key pair. Its state follows from its dates, so no job has to flip it (see `signing_keys.state`)."""

    __tablename__ = "signing_key"
    __table_args__ = (CheckConstraint("octet_length(id) = 8", name="id_size"),)

    id: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    purpose: Mapped[str] = mapped_column(Text)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    wrapped_private_key: Mapped[bytes] = mapped_column(LargeBinary)
    signs_from: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    signs_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class SecretKeyRow(Base):
    """A symmetric key, by purpose and version. Old versions stay, to open what they sealed."""

    __tablename__ = "secret_key"

    purpose: Mapped[str] = mapped_column(Text, primary_key=True)
    version: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    wrapped_key: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
