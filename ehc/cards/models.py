"""Tables of cards. `serial` is the shard key: what a hot statement touches is found by it."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    SmallInteger,
    Text,
)
from sqlalchemy.orm import Mapped, mapped_column

from ehc.cards.states import LIVE, CardStatus, Level
from ehc.db import Base


def _one_of(column: str, values: type[CardStatus] | type[Level] | tuple[CardStatus, ...]) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


class CardRow(Base):
    """A virtual card. `ehc_id` is the national card id (电子健康卡ID), `index_id` the index id (主索引ID), both sealed."""

    __tablename__ = "card"
    __table_args__ = (
        CheckConstraint(_one_of("status", CardStatus), name="status"),
        CheckConstraint(_one_of("level", Level), name="level"),
        Index("uq_card_live", "resident_id", unique=True, postgresql_where=_one_of("status", LIVE)),
    )

    serial: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    id: Mapped[UUID] = mapped_column(unique=True)
    resident_id: Mapped[UUID] = mapped_column(ForeignKey("resident.id"), index=True)
    document_id: Mapped[UUID] = mapped_column(ForeignKey("identity_document.id"), index=True)
    status: Mapped[str] = mapped_column(Text)
    level: Mapped[str] = mapped_column(Text)
    ehc_id: Mapped[bytes] = mapped_column(LargeBinary)
    ehc_id_index: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    index_id: Mapped[bytes] = mapped_column(LargeBinary)
    index_id_index: Mapped[bytes] = mapped_column(LargeBinary, index=True)
    security_key_version: Mapped[int] = mapped_column(SmallInteger)
    version: Mapped[int] = mapped_column(BigInteger, default=1)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    status_changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class GrantRow(Base):
    """An app may see a card: made when it registers the person."""

    __tablename__ = "card_grant"

    card_serial: Mapped[int] = mapped_column(ForeignKey("card.serial"), primary_key=True)
    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id"), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class CardEventRow(Base):
    """Something that happened to a card, and why: made, moved, better proved.

    `reason` is in people's words and `evidence` says where a proof of identity is kept; both are sealed.
    """

    __tablename__ = "card_event"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    card_serial: Mapped[int] = mapped_column(ForeignKey("card.serial"), index=True)
    old_status: Mapped[str | None] = mapped_column(Text)
    new_status: Mapped[str] = mapped_column(Text)
    level: Mapped[str] = mapped_column(Text)
    reason: Mapped[bytes | None] = mapped_column(LargeBinary)
    evidence: Mapped[bytes | None] = mapped_column(LargeBinary)
    actor: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
