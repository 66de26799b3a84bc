"""What a bank tells by itself: by webhook at once, and again in the file of the day. Each notice counts once.

A notice names the start of a binding, so it needs no token; one about a binding that is not there is kept as such, since it
may be a sign of a binding that only the bank knows of, which the nightly comparison looks for.
"""

from datetime import date, datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ehc.binding.bank_accounts import note, settle_later
from ehc.binding.bank_calls import ENDED_FOR, SYSTEM, Desk, ended, open_of
from ehc.cards.bank_models import BankAccountRow, BankDayRow, BankNoticeRow
from ehc.cards.bindings import end_account
from ehc.cards.models import CardRow
from ehc.outside.bank_gateway import Notice, NoticeKind

log = structlog.get_logger(__name__)

DAYS_BACK = 7
"""How many days' files are looked for: an outage of a week loses no notice."""


def take(session: Session, notice: Notice, *, source: str, now: datetime) -> str:
    """Apply a notice, unless it was before; what came of it: `applied`, `nothing-to-do`, `unknown`, `settling`, `known`."""
    values = {
        "notice_id": notice.notice_id,
        "what": notice.what,
        "start_request": notice.start_request,
        "source": source,
        "outcome": "applied",
        "happened_at": notice.happened_at,
        "received_at": now,
    }
    new = insert(BankNoticeRow).values(values).on_conflict_do_nothing().returning(BankNoticeRow.notice_id)
    if session.execute(new).first() is None:
        return "known"
    found = open_of(session, notice.start_request)
    outcome = "unknown" if found is None else _apply(session, *found, notice, now)
    session.get_one(BankNoticeRow, notice.notice_id).outcome = outcome
    session.flush()
    return outcome


def read_day(desk: Desk, day: date, *, now: datetime) -> int:
    """Read the file of a day to its end and apply it; how many notices it held. Raises `BankAway`."""
    after, count, more = None, 0, True
    while more:
        page = desk.bank.notices(day, after)
        for notice_id in page.unreadable:
            log.error("notice of the bank makes no sense", notice_id=notice_id, day=day.isoformat())
        for notice in page.notices:
            with desk.work() as session:  # one each: cards of a page would be held in the bank's order
                take(session, notice, source="file", now=now)
        after, more, count = page.cursor, page.more, count + len(page.notices)
    with desk.work() as session:
        session.execute(insert(BankDayRow).values(day=day, notices=count, read_at=now).on_conflict_do_nothing())
    return count


def unread_days(session: Session, *, today: date) -> list[date]:
    """The days before today whose files have not been read to their end, the oldest first."""
    days = [today - timedelta(days=back) for back in range(DAYS_BACK, 0, -1)]
    read = set(session.scalars(select(BankDayRow.day).where(BankDayRow.day.in_(days))))
    return [day for day in days if day not in read]


def _apply(session: Session, row: BankAccountRow, card: CardRow, notice: Notice, now: datetime) -> str:
    if row.state in {"starting", "started", "confirming"}:
        if notice.what is NoticeKind.LIMITS and not _overtaken(session, notice):
            row.single_limit, row.day_limit = notice.single_limit, notice.day_limit  # for `as_told_since`
        settle_later(session, row, now=now)  # the bank is asked: a notice may overtake the answer it is about
        return "settling"
    if row.state == "ending" and notice.what in {NoticeKind.ENDED, NoticeKind.CLOSED}:
        ended(session, card, row, why=row.ended_for or "ended", acting=SYSTEM, now=now)
        return "applied"
    if row.state != "bound":
        return "nothing-to-do"
    if notice.what is NoticeKind.LIMITS and _overtaken(session, notice):
        return "nothing-to-do"
    if notice.what is NoticeKind.LIMITS:
        row.single_limit, row.day_limit = notice.single_limit, notice.day_limit
        row.touch(now)
        note(session, card, row, "limits-changed", acting=SYSTEM, now=now)
    elif notice.what is NoticeKind.LOST:  # the agreement may stand at the bank: it is taken back
        end_account(session, row, why=ENDED_FOR[notice.what], at=now)
        note(session, card, row, "ended", acting=SYSTEM, now=now)
    else:
        ended(session, card, row, why=ENDED_FOR[notice.what], acting=SYSTEM, now=now)
    return "applied"


def _overtaken(session: Session, notice: Notice) -> bool:
    """Whether a later word on the limits came before this one: by webhook, before the file of the day."""
    later = (BankNoticeRow.what == NoticeKind.LIMITS) & (BankNoticeRow.happened_at > notice.happened_at)
    mine = BankNoticeRow.start_request == notice.start_request
    return session.scalar(select(BankNoticeRow.notice_id).where(mine, later).limit(1)) is not None


def known(session: Session, start_request: UUID) -> list[BankNoticeRow]:
    """What the bank told of a binding, the oldest first."""
    mine = select(BankNoticeRow).where(BankNoticeRow.start_request == start_request)
    return list(session.scalars(mine.order_by(BankNoticeRow.happened_at, BankNoticeRow.notice_id)))
