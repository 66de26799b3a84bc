"""Tables of codes that the platform remembers: national dynamic codes, and what was printed."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Index, LargeBinary, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class NationalCodeRow(Base):
    """A national dynamic code (国家标准动态码) as issued: accepted only because this row says so (measure A).

    `text_index` is the blind index of the whole text. A code is closed by any later one of its card, found by `seq`.
    """

    __tablename__ = "national_code"
    __table_args__ = (Index("ix_national_code_card_serial_seq", "card_serial", "seq"),)

    text_index: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, Identity())
    card_serial: Mapped[int] = mapped_column(BigInteger)
    client_id: Mapped[UUID]
    key_version: Mapped[int] = mapped_column(SmallInteger)
    issued_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    uses: Mapped[int] = mapped_column(SmallInteger, server_default="0", default=0)
    max_uses: Mapped[int] = mapped_column(SmallInteger)
    last_use_id: Mapped[UUID | None]
    last_use_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_use_client: Mapped[UUID | None]
    last_use_step: Mapped[str | None] = mapped_column(Text)
    channel: Mapped[str | None] = mapped_column(Text)
    device_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The app's own id of the device that shows the code, as a blind index: it may tell who somebody is."""


class PrintRow(Base):
    """A printed code (打印的静态码). Reprinting revokes the one before; a card has one that counts.

    `tries` counts wrong second factors since the last right one.
    """

    __tablename__ = "printed_code"
    __table_args__ = (
        Index("uq_printed_code_live", "card_serial", unique=True, postgresql_where=text("revoked_at IS NULL")),
    )

    cti: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    card_serial: Mapped[int] = mapped_column(ForeignKey("card.serial"), index=True)
    client_id: Mapped[UUID]
    layout: Mapped[str] = mapped_column(Text)
    printed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    refusal: Mapped[str | None] = mapped_column(Text)
    """What a check of the revoked print answers."""
    tries: Mapped[int] = mapped_column(SmallInteger, server_default="0", default=0)
    tried_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    wrong_in_all: Mapped[int] = mapped_column(SmallInteger, server_default="0", default=0)
    """Wrong phones since the last right second factor, without end of a day."""
