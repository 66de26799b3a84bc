"""Who checked a card: the trace that its holder can read (个人信息保护法 arts. 44-45)."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from ehc.verify.models import VerificationRow


class Entry(NamedTuple):
    """One check. `reason` None is accepted; `disclosed` names the fields that were told."""

    id: UUID
    verified_at: datetime
    reason: str | None
    institution_id: UUID | None
    step: str
    channel: str | None
    department: str | None
    disclosed: list[str]


_COLUMNS = (
    VerificationRow.id,
    VerificationRow.verified_at,
    VerificationRow.reason,
    VerificationRow.institution_id,
    VerificationRow.step,
    VerificationRow.channel,
    VerificationRow.department,
    VerificationRow.disclosed,
)


def checks_of(
    session: Session, serial: int, *, limit: int, before: tuple[datetime, UUID] | None
) -> tuple[list[Entry], bool]:
    """A page of a card's checks, newest first, and whether more follow. One statement."""
    place = VerificationRow.verified_at, VerificationRow.id
    wanted = select(*_COLUMNS).where(VerificationRow.card_serial == serial)
    if before is not None:
        wanted = wanted.where(VerificationRow.verified_at <= before[0], tuple_(*place) < tuple_(*before))
    rows = session.execute(wanted.order_by(*(column.desc() for column in place)).limit(limit + 1)).all()
    return [Entry(*row) for row in rows[:limit]], len(rows) > limit
