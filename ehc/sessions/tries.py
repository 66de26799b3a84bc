"""How often log-ins and links may be wrong: counted in the database, for all workers and processes. Nothing here commits.

A try is written down, and committed, before it is looked at; one that was not wrong is taken out again. So however many come
at once, no more are looked at than the limits say. A refused try is not written down: knocking makes no lock longer.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from ehc.core.ids import uuid7
from ehc.errors import EhcError, Text
from ehc.sessions.models import ResidentTryRow

Limits = tuple[tuple[timedelta, int], ...]

_QUARTER, _HOUR, _DAY = timedelta(minutes=15), timedelta(hours=1), timedelta(days=1)
PER_APP: Limits = ((_QUARTER, 600), (_DAY, 10_000))
PER_ADDRESS: Limits = ((_QUARTER, 600), (_DAY, 10_000))
PER_PHONE_ADDRESS: Limits = ((_QUARTER, 30), (_DAY, 300))
"""An address of a phone, as its back end tells it (`client_address`)."""
PER_IDENTITY: Limits = ((_HOUR, 5), (_DAY, 10))
PER_DOCUMENT: Limits = ((_DAY, 10),)
KEPT = _DAY


class TooManyWrong(EhcError):
    """Whoever tries was wrong too often; it is told how long to wait."""

    code = "too-many-wrong-tries"


def begin(session: Session, subjects: Mapping[bytes, Limits], *, now: datetime) -> list[UUID]:
    """Write a try down against every subject; commit before it is looked at. Raises `TooManyWrong`."""
    _require_room(session, subjects, now)  # before anybody waits: whoever is locked out holds up nobody
    # tries of one subject take turns, all in one order of keys, so that the counts are true for everybody
    for key in sorted(int.from_bytes(subject[:8], "big", signed=True) for subject in subjects):
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
    _require_room(session, subjects, now)
    rows = [ResidentTryRow(id=uuid7(now), subject=subject, at=now) for subject in subjects]
    session.add_all(rows)
    session.flush()
    return [row.id for row in rows]


def not_wrong(session: Session, tries: Sequence[UUID]) -> None:
    """Take a try out: it was right, or nobody looked at it."""
    session.execute(
        delete(ResidentTryRow).where(ResidentTryRow.id.in_(tries)).execution_options(synchronize_session=False)
    )


def purge(session: Session, *, now: datetime) -> int:
    """Forget up to 10,000 tries that count no more; returns how many. Call until it returns 0."""
    old = text("""
        DELETE FROM resident_try WHERE id IN (
            SELECT id FROM resident_try WHERE at <= :before ORDER BY at LIMIT 10000 FOR UPDATE SKIP LOCKED
        ) RETURNING 1
    """)
    return len(session.execute(old, {"before": now - KEPT}).all())


def too_many(wait: int) -> TooManyWrong:
    """The answer for who has to wait so many seconds."""
    detail = Text("尝试次数过多，请稍后再试。", "Too many wrong tries. Wait as long as Retry-After says.")
    return TooManyWrong(detail, retry_after=wait)


def _require_room(session: Session, subjects: Mapping[bytes, Limits], now: datetime) -> None:
    wait = max((_wait(session, subject, limits, now) for subject, limits in subjects.items()), default=0)
    if wait > 0:
        raise too_many(wait)


def _wait(session: Session, subject: bytes, limits: Limits, now: datetime) -> int:
    """Seconds until there is room again; 0 where there is."""
    longest = 0
    for within, most in limits:
        nth = select(ResidentTryRow.at).where(ResidentTryRow.subject == subject, ResidentTryRow.at > now - within)
        oldest = session.scalar(nth.order_by(ResidentTryRow.at.desc()).offset(most - 1).limit(1))
        if oldest is not None:
            longest = max(longest, int((oldest + within - now).total_seconds()) + 1)
    return longest
