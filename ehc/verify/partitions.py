"""Monthly partitions of `verification`, made ahead, and the purge of spent codes. Both are safe to run at any time, twice.

A check never fails for a missing partition: rows then go to the default partition, and the next run moves them out.
"""

from datetime import UTC, date, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

MONTHS_AHEAD = 3
_PURGE_MARGIN = timedelta(minutes=10)
"""Spent codes are kept this much longer than any code lives, should the clocks of two machines differ."""
_PURGE_BATCH = 10_000


def ensure_partitions(session: Session, *, today: date, months_ahead: int = MONTHS_AHEAD) -> list[str]:
    """Make the partition of this month and of the months ahead; returns the names of those that were missing."""
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext('ehc.verification.partitions'))"))
    months = [_month(today, offset) for offset in range(months_ahead + 1)]
    missing = [month for month in months if not _exists(session, _name(month))]
    for month in missing:
        _create(session, month, _month(month, 1))
    return [_name(month) for month in missing]


def missing_partitions(session: Session, *, today: date) -> list[str]:
    """Names of the partitions of this month and the next that are not there."""
    return [_name(month) for month in (_month(today, 0), _month(today, 1)) if not _exists(session, _name(month))]


def purge_spent_codes(session: Session, *, now: datetime) -> int:
    """Forget up to 10,000 spent codes that no clock accepts any more; returns how many. Call until it returns 0."""
    done = session.execute(
        text("""
            DELETE FROM code_use WHERE (card_serial, cti) IN (
                SELECT card_serial, cti FROM code_use WHERE expires_at < :before
                ORDER BY expires_at LIMIT :most FOR UPDATE SKIP LOCKED
            ) RETURNING 1
        """),
        {"before": now - _PURGE_MARGIN, "most": _PURGE_BATCH},
    )
    return len(done.all())


def _create(session: Session, month: date, following: date) -> None:
    """By a function of the owner, so that the application's role makes partitions and no other table."""
    session.execute(
        text("SELECT verification_partition(:name, :since, :until)"),
        {"name": _name(month), "since": _instant(month), "until": _instant(following)},
    )


def _exists(session: Session, name: str) -> bool:
    return session.scalar(text("SELECT to_regclass(:name) IS NOT NULL"), {"name": name}) is True


def _name(month: date) -> str:
    return f"verification_y{month.year:04}m{month.month:02}"


def _month(day: date, offset: int) -> date:
    months = day.year * 12 + day.month - 1 + offset
    return date(months // 12, months % 12 + 1, 1)


def _instant(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
