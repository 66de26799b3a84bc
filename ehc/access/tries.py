"""How often somebody may try: counted in the database, for all workers and processes together. Nothing here commits.

A try is written down, and committed, before it is looked at; a right one is taken out again. So however many come at once,
no more are looked at than the limit says, and a worker that dies in between has counted too many, never too few.

Who tries is a **subject**: a login as strangers try it; a device on which the person has logged in before, which has tries of
its own; or a person who proves again who they are. Strangers can use up what a login has for strangers, and no more: somebody
who comes with their device is not kept out by them. A refused try is not written down, so nobody makes a lock longer by
knocking: the first place is free again when the oldest try is older than its window.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, text
from sqlalchemy.orm import InstrumentedAttribute, Session

from ehc.access.staff_login_models import StaffTryRow
from ehc.core.ids import uuid7
from ehc.errors import EhcError, Text

Limits = tuple[tuple[timedelta, int], ...]

PER_SUBJECT: Limits = ((timedelta(minutes=15), 5), (timedelta(days=1), 20))
PER_ADDRESS: Limits = ((timedelta(minutes=15), 30), (timedelta(days=1), 300))
KEPT = timedelta(days=1)

_Column = InstrumentedAttribute[Any]


class TooManyTries(EhcError):
    """This login, device, session or address was wrong too often; it is told how long to wait."""

    code = "too-many-tries"


def begin(session: Session, subject: bytes, address: bytes | None, *, now: datetime) -> UUID:
    """Write a try down; commit before it is looked at. Raises `TooManyTries`."""
    asked: list[tuple[_Column, bytes, Limits]] = [(StaffTryRow.subject, subject, PER_SUBJECT)]
    if address is not None:
        asked.append((StaffTryRow.address, address, PER_ADDRESS))
    _require_room(session, asked, now)  # before anybody waits: whoever is locked out holds up nobody
    for (
        _,
        key,
        _,
    ) in asked:  # tries of one subject, then of one address, take turns, so that the counts are true for all
        number = int.from_bytes(key[:8], "big", signed=True)
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": number})
    _require_room(session, asked, now)
    row = StaffTryRow(id=uuid7(now), subject=subject, address=address, at=now)
    session.add(row)
    session.flush()
    return row.id


def was_right(session: Session, try_id: UUID) -> None:
    """Take a try out: it was right."""
    session.execute(delete(StaffTryRow).where(StaffTryRow.id == try_id))


def forget(session: Session, subject: bytes) -> int:
    """Take out all tries of a subject; how many they were."""
    gone = delete(StaffTryRow).where(StaffTryRow.subject == subject).returning(StaffTryRow.id)
    return len(session.execute(gone).all())


def used_up(session: Session, subject: bytes, *, now: datetime) -> bool:
    """Whether the next try of this subject would be refused."""
    return _wait(session, StaffTryRow.subject, subject, PER_SUBJECT, now) > 0


def purge(session: Session, *, now: datetime) -> int:
    """Forget up to 10,000 tries that count no more; returns how many. Call until it returns 0."""
    old = text("""
        DELETE FROM staff_try WHERE id IN (
            SELECT id FROM staff_try WHERE at <= :before ORDER BY at LIMIT 10000 FOR UPDATE SKIP LOCKED
        ) RETURNING 1
    """)
    return len(session.execute(old, {"before": now - KEPT}).all())


def _require_room(session: Session, asked: Iterable[tuple[_Column, bytes, Limits]], now: datetime) -> None:
    wait = max(_wait(session, column, key, limits, now) for column, key, limits in asked)
    if wait > 0:
        detail = Text("尝试次数过多，请稍后再试。", "Too many wrong tries. Wait, then try again.")
        raise TooManyTries(detail, retry_after=wait)


def _wait(session: Session, column: _Column, key: bytes, limits: Limits, now: datetime) -> int:
    """Seconds until there is room again; 0 where there is."""
    longest = 0
    for within, most in limits:
        nth = select(StaffTryRow.at).where(column == key, StaffTryRow.at > now - within)
        oldest = session.scalar(nth.order_by(StaffTryRow.at.desc()).offset(most - 1).limit(1))
        if oldest is not None:
            longest = max(longest, int((oldest + within - now).total_seconds()) + 1)
    return longest
