"""Rows of this interface's own tables. Nothing here commits."""

from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ehc.cards.models import CardRow
from ehc.clock import CHINA_TIME
from ehc.gateways.provincial_soap.models import ProvincialCardRow, ProvincialChangeRow
from ehc.gateways.provincial_soap.telling import NEVER_APPLIED, Applied

CHANGES_KEPT = timedelta(days=400)
"""For so long a caller's number of a change is known again."""


def applied(session: Session, card: CardRow) -> Applied:
    """When codes of a card were last applied for."""
    row = session.get(ProvincialCardRow, card.serial)
    return NEVER_APPLIED if row is None else Applied(row.code_at, row.static_at)


def note_made(session: Session, card: CardRow, institution_id: UUID | None, *, at: datetime) -> None:
    """A card was made through this interface, at an institution if at any."""
    _write(session, card.serial, institution_id=institution_id, made_at=at)


def note_applied(session: Session, card: CardRow, *, static: bool, at: datetime) -> None:
    """A code of a card was applied for."""
    _write(session, card.serial, code_at=at, **({"static_at": at} if static else {}))


def note_age(session: Session, card: CardRow, sealed: bytes, institution_id: UUID | None) -> None:
    """The age of whoever a temporary card was made for, in the words of whoever made it."""
    _write(session, card.serial, age=sealed, institution_id=institution_id)


def age_place(serial: int) -> str:
    """Where such an age is sealed."""
    return f"provincial_card.age:{serial}"


def count_made(session: Session, institution_id: UUID, first: date, last: date, *, sandbox: bool) -> int:
    """How many cards were made at an institution through this interface, from a day to a day in China."""
    begin, end = (
        datetime(day.year, day.month, day.day, tzinfo=CHINA_TIME) for day in (first, last + timedelta(days=1))
    )
    made = ProvincialCardRow.made_at
    wanted = select(func.count()).select_from(ProvincialCardRow)
    wanted = wanted.join(CardRow, CardRow.serial == ProvincialCardRow.card_serial).where(CardRow.sandbox == sandbox)
    wanted = wanted.where(ProvincialCardRow.institution_id == institution_id, made >= begin, made < end)
    return session.scalar(wanted) or 0


def is_new_change(session: Session, account_id: UUID, number_index: bytes, *, at: datetime) -> bool:
    """Whether a change has a number that the account did not use before. Waits for one of the same number under way."""
    row = {"account_id": account_id, "number_index": number_index, "made_at": at}
    made = insert(ProvincialChangeRow).values(row).on_conflict_do_nothing()
    return session.execute(made.returning(ProvincialChangeRow.account_id)).first() is not None


def purge(session: Session, *, now: datetime) -> int:
    """Forget numbers of changes of long ago; returns how many. Call until it returns 0."""
    mine = (ProvincialChangeRow.account_id, ProvincialChangeRow.number_index)
    over = select(*mine).where(ProvincialChangeRow.made_at < now - CHANGES_KEPT).limit(10_000)
    gone = delete(ProvincialChangeRow).where(tuple_(*mine).in_(over)).returning(ProvincialChangeRow.account_id)
    return len(session.execute(gone.execution_options(synchronize_session=False)).all())


def _write(session: Session, serial: int, **values: Any) -> None:
    row = insert(ProvincialCardRow).values(card_serial=serial, **values)
    session.execute(row.on_conflict_do_update(index_elements=[ProvincialCardRow.card_serial], set_=values))
