"""Tables of cards. `serial` is the shard key: what a hot statement touches is found by it."""

from collections.abc import Iterable
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
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from ehc.cards.states import LIVE, CardStatus, Cause, Kind, Level, Party
from ehc.db import Base


def one_of(column: str, values: Iterable[str]) -> str:
    """A condition: the column holds one of these words."""
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


class CardRow(Base):
    """A virtual card. `ehc_id` is the national card id (电子健康卡ID), `index_id` the index id (主索引ID), both sealed.

    A temporary card has neither, nor a document; what its code says is found through `temporary_index`.
    """

    __tablename__ = "card"
    __table_args__ = (
        CheckConstraint(one_of("status", CardStatus), name="status"),
        CheckConstraint(one_of("level", Level), name="level"),
        CheckConstraint(one_of("kind", Kind), name="kind"),
        CheckConstraint(one_of("cause", Cause), name="cause"),
        CheckConstraint("(status = 'cancelled') = (cause IS NOT NULL)", name="cancelled_for_a_cause"),
        CheckConstraint(
            "CASE kind WHEN 'formal' THEN num_nulls(document_id, ehc_id, ehc_id_index, index_id, index_id_index) = 0"
            " ELSE level = 'none' AND expires_at IS NOT NULL AND temporary_index IS NOT NULL END",
            name="whole",
        ),
        Index("uq_card_live", "resident_id", unique=True, postgresql_where=one_of("status", LIVE)),
        Index("ix_card_expires_at", "expires_at", postgresql_where=text("expires_at IS NOT NULL AND cause IS NULL")),
        Index("ix_card_pending", "serial", postgresql_where=text("status = 'pending-review'")),
        Index("ix_card_guardian_id", "guardian_id", postgresql_where=text("guardian_id IS NOT NULL")),
        Index("ix_card_joined_to", "joined_to", postgresql_where=text("joined_to IS NOT NULL")),
    )

    serial: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    id: Mapped[UUID] = mapped_column(unique=True)
    resident_id: Mapped[UUID] = mapped_column(ForeignKey("resident.id"), index=True)
    document_id: Mapped[UUID | None] = mapped_column(ForeignKey("identity_document.id"), index=True)
    kind: Mapped[str] = mapped_column(Text, server_default=Kind.FORMAL, default=Kind.FORMAL)
    status: Mapped[str] = mapped_column(Text)
    cause: Mapped[str | None] = mapped_column(Text)
    held_by: Mapped[str | None] = mapped_column(Text)
    """`staff` while only staff may lift a suspension."""
    level: Mapped[str] = mapped_column(Text)
    ehc_id: Mapped[bytes | None] = mapped_column(LargeBinary)
    ehc_id_index: Mapped[bytes | None] = mapped_column(LargeBinary, unique=True)
    index_id: Mapped[bytes | None] = mapped_column(LargeBinary)
    index_id_index: Mapped[bytes | None] = mapped_column(LargeBinary, index=True)
    security_key_version: Mapped[int] = mapped_column(SmallInteger)
    codes_since: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """Codes issued at or before this time are closed."""
    static_allowed: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    """Whether printed and other static codes (静态码) of this card count."""
    static_wrong: Mapped[int] = mapped_column(SmallInteger, server_default="0", default=0)
    """Wrong phones given with its national static code since the last right second factor."""
    sharing: Mapped[bool] = mapped_column(server_default=text("true"), default=True)
    """Whether checks may tell institutions about the holder."""
    guardian_id: Mapped[UUID | None] = mapped_column(ForeignKey("resident.id"))
    guardian_relation: Mapped[str | None] = mapped_column(Text)
    guardian_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When acting for the holder ends by itself: at 18."""
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    visit_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When the patient came for whom a temporary card was made."""
    temporary_index: Mapped[bytes | None] = mapped_column(LargeBinary, unique=True)
    joined_to: Mapped[int | None] = mapped_column(ForeignKey("card.serial"))
    sandbox: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    """Of a synthetic person, whom only clients of the sandbox ever see. Never changes."""
    version: Mapped[int] = mapped_column(BigInteger, default=1)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    status_changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class AliasRow(Base):
    """A pair of ids that a card had before its holder's name or document changed. Closed: never live again by itself."""

    __tablename__ = "card_alias"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    card_serial: Mapped[int] = mapped_column(ForeignKey("card.serial"), index=True)
    ehc_id: Mapped[bytes] = mapped_column(LargeBinary)
    ehc_id_index: Mapped[bytes] = mapped_column(LargeBinary, index=True)
    index_id: Mapped[bytes] = mapped_column(LargeBinary)
    index_id_index: Mapped[bytes] = mapped_column(LargeBinary, index=True)
    closed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class GrantRow(Base):
    """An app may see a card: made when it registers the person, or the person's guardian (`link_id`) adds them."""

    __tablename__ = "card_grant"

    card_serial: Mapped[int] = mapped_column(ForeignKey("card.serial"), primary_key=True)
    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id"), primary_key=True)
    link_id: Mapped[UUID | None] = mapped_column(ForeignKey("family_link.id"), index=True)
    until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When the card was cancelled: from then on the client learns the card's state and nothing else."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class CardEventRow(Base):
    """Something that happened to a card, and why: made, moved, changed, better proved.

    `reason` is in people's words, `evidence` says where a proof of identity is kept, `clerk` who saw it; all are sealed.
    `changed` names the fields that changed, never their values.
    """

    __tablename__ = "card_event"
    __table_args__ = (CheckConstraint(one_of("party", Party), name="party"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    card_serial: Mapped[int] = mapped_column(ForeignKey("card.serial"), index=True)
    action: Mapped[str] = mapped_column(Text, server_default="moved")
    old_status: Mapped[str | None] = mapped_column(Text)
    new_status: Mapped[str] = mapped_column(Text)
    level: Mapped[str] = mapped_column(Text)
    reason: Mapped[bytes | None] = mapped_column(LargeBinary)
    evidence: Mapped[bytes | None] = mapped_column(LargeBinary)
    clerk: Mapped[bytes | None] = mapped_column(LargeBinary)
    changed: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}", default=list)
    party: Mapped[str] = mapped_column(Text, server_default=Party.RESIDENT, default=Party.RESIDENT)
    actor: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
