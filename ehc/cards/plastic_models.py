"""Tables of plastic cards (实体卡) that are bound to a card, and of the list of those that no terminal accepts any more."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from ehc.cards.models import one_of
from ehc.cards.plastic_states import HELD, PlasticState
from ehc.db import Base


class PlasticCardRow(Base):
    """A plastic card and the account it leads to. Never deleted: whose it was, and when, is its history.

    `number_index` is the blind index of kind, institution and number. A number that was replaced is taken for ever.
    """

    __tablename__ = "plastic_card"
    __table_args__ = (
        CheckConstraint(one_of("state", PlasticState), name="state"),
        CheckConstraint("(state = 'loss-temporary') = (until IS NOT NULL)", name="temporary_until"),
        Index("uq_plastic_card_held", "number_index", unique=True, postgresql_where=one_of("state", HELD)),
        Index("ix_plastic_card_number_index_bound_at", "number_index", "bound_at"),
        Index("ix_plastic_card_until", "until", postgresql_where=text("until IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    card_serial: Mapped[int] = mapped_column(ForeignKey("card.serial"), index=True)
    kind: Mapped[str] = mapped_column(Text)
    institution_id: Mapped[UUID | None] = mapped_column(ForeignKey("institution.id"))
    """Whose numbers they are, where every institution numbers its own."""
    number: Mapped[bytes] = mapped_column(LargeBinary)
    number_index: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(Text)
    until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When a temporary loss ends by itself."""
    replaced_by: Mapped[UUID | None] = mapped_column(ForeignKey("plastic_card.id"))
    verification_id: Mapped[UUID]
    """The check that showed whose card it is."""
    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id"))
    tries: Mapped[int] = mapped_column(SmallInteger, server_default="0", default=0)
    """Wrong phones since the last right one."""
    tried_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    wrong_in_all: Mapped[int] = mapped_column(SmallInteger, server_default="0", default=0)
    """Wrong phones since the last right second factor, without end of a day."""
    version: Mapped[int] = mapped_column(BigInteger, default=1)
    bound_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    state_changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ended_for: Mapped[str | None] = mapped_column(Text)


class PlasticUseRow(Base):
    """A use of a plastic health card (实体卡用卡记录) that a hospital uploads afterwards. `told` is sealed.

    `digest` is the blind index of the whole record, so that one that is sent twice is kept once.
    """

    __tablename__ = "plastic_use"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    card_serial: Mapped[int] = mapped_column(ForeignKey("card.serial"), index=True)
    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id"))
    institution_id: Mapped[UUID | None] = mapped_column(ForeignKey("institution.id"))
    used_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    step: Mapped[str] = mapped_column(Text)
    channel: Mapped[str | None] = mapped_column(Text)
    told: Mapped[bytes | None] = mapped_column(LargeBinary)
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    sent_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class BlacklistRow(Base):
    """A plastic card as the blacklist (黑名单) has it now: on it for a reason, or taken off it (`reason` NULL).

    One row a number. A change takes its `seq` away; whoever reads the list next gives it a new one, the greatest so far. So
    what comes after a `seq` is all that changed since, however long that is.
    """

    __tablename__ = "plastic_blacklist"
    __table_args__ = (
        Index("uq_plastic_blacklist_seq", "seq", unique=True),
        Index("ix_plastic_blacklist_unnumbered", "changed_at", postgresql_where=text("seq IS NULL")),
    )

    number_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    seq: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[str | None] = mapped_column(Text)
    until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class BlacklistHeadRow(Base):
    """The last `seq` that was given: one row, locked while changes are numbered.

    A sequence would not do: a change with a smaller number could be committed after one with a greater was read.
    """

    __tablename__ = "plastic_blacklist_head"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger)
