"""Who checked a card: the trace that its holder can read (个人信息保护法 arts. 44-45)."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, literal, select, true, tuple_
from sqlalchemy.orm import Session

from ehc.cards.models import CardRow
from ehc.verify.models import VerificationRow


class Entry(NamedTuple):
    """One check. `reason` None is accepted; `disclosed` names the fields that were told; `assurance` None is dynamic."""

    id: UUID
    verified_at: datetime
    reason: str | None
    institution_id: UUID | None
    step: str
    channel: str | None
    department: str | None
    disclosed: list[str]
    assurance: str | None


_COLUMNS = (
    VerificationRow.id,
    VerificationRow.verified_at,
    VerificationRow.reason,
    VerificationRow.institution_id,
    VerificationRow.step,
    VerificationRow.channel,
    VerificationRow.department,
    VerificationRow.disclosed,
    VerificationRow.assurance,
)


def checks_of(
    session: Session, serial: int, *, limit: int, before: tuple[datetime, UUID] | None
) -> tuple[list[Entry], bool]:
    """A page of the checks of a card and of those joined to it, newest first, and whether more follow. One statement."""
    mine = select(literal(serial, BigInteger).label("serial")).cte("mine", recursive=True)
    mine = mine.union(select(CardRow.serial).join(mine, CardRow.joined_to == mine.c.serial))
    place = VerificationRow.verified_at, VerificationRow.id
    wanted = select(*_COLUMNS).where(VerificationRow.card_serial == mine.c.serial)
    if before is not None:
        wanted = wanted.where(VerificationRow.verified_at <= before[0], tuple_(*place) < tuple_(*before))
    # So many of each card, found in the order of its key, rather than every check of all of them, sorted.
    of_each = wanted.order_by(*(column.desc() for column in place)).limit(limit + 1).lateral("of_each")
    page = select(of_each).select_from(mine).join(of_each, true())
    rows = session.execute(page.order_by(of_each.c.verified_at.desc(), of_each.c.id.desc()).limit(limit + 1)).all()
    return [Entry(*row) for row in rows[:limit]], len(rows) > limit
