"""Sessions of the staff: opaque bearer tokens that end when nobody uses them. Nothing here commits.

A person's roles and state are read with every request, so what is taken from them is gone at once.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from secrets import token_urlsafe
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from ehc import audit
from ehc.access import institutions
from ehc.access.models import InstitutionRow
from ehc.access.roles import rights_of
from ehc.access.staff_models import StaffRow, StaffSessionRow
from ehc.callers import Branch, NotAuthentic, Role, Staff
from ehc.clock import Clock
from ehc.core.ids import uuid7
from ehc.db import UnitOfWork

PREFIX = "ehcs_"
"""How a token of the staff begins, so that one that leaked is known for what it is."""
IDLE = timedelta(minutes=15)
"""A session that nobody uses ends after this (session timeout, GB/T 22239-2019)."""
LONGEST = timedelta(hours=12)
FRESH = timedelta(minutes=5)
"""How long somebody who has proved who they are may do dangerous things."""
KEPT = timedelta(days=30)
"""How long it is known that there was a session. What was done in it, the audit log tells."""
_NOTED = timedelta(seconds=30)


def open_session(session: Session, who: StaffRow, *, now: datetime) -> str:
    """Begin a session of somebody who has proved who they are; its token, which is not kept."""
    token = PREFIX + token_urlsafe(32)
    row = StaffSessionRow(
        id=uuid7(now), token_hash=_hash(token), staff_id=who.id, created_at=now, seen_at=now, fresh_at=now
    )
    session.add(row)
    session.flush()
    return token


def end_session(session: Session, who: Staff, *, now: datetime) -> None:
    """Log out of one session."""
    live = StaffSessionRow.id == who.session_id, StaffSessionRow.ended_at.is_(None)
    session.execute(update(StaffSessionRow).where(*live).values(ended_at=now))
    audit.record(session, "staff.logged-out", actor=who.actor, subject=str(who.id), at=now)


def end_sessions(session: Session, who: StaffRow, *, now: datetime, but: UUID | None = None) -> None:
    """End every session of a person, save one if it is named."""
    live = [StaffSessionRow.staff_id == who.id, StaffSessionRow.ended_at.is_(None)]
    if but is not None:
        live.append(StaffSessionRow.id != but)
    session.execute(update(StaffSessionRow).where(*live).values(ended_at=now))


def refresh(session: Session, who: Staff, *, now: datetime) -> None:
    """Somebody has just proved again who they are: dangerous acts are possible in this session for a while."""
    live = StaffSessionRow.id == who.session_id, StaffSessionRow.ended_at.is_(None)
    session.execute(update(StaffSessionRow).where(*live).values(fresh_at=now))


def purge(session: Session, *, now: datetime) -> int:
    """Forget up to 10,000 sessions that began a month ago; returns how many. Call until it returns 0."""
    old = text("""
        DELETE FROM staff_session WHERE id IN (
            SELECT id FROM staff_session WHERE created_at < :before ORDER BY id LIMIT 10000 FOR UPDATE SKIP LOCKED
        ) RETURNING 1
    """)
    return len(session.execute(old, {"before": now - KEPT}).all())


def who_is(session: Session, token: str, *, now: datetime, demo: bool) -> Staff:
    """Whose token this is. Raises `NotAuthentic`, also for staff of an institution that is not live, or of another's `demo`."""
    if not token.startswith(PREFIX):
        raise NotAuthentic
    wanted = select(StaffSessionRow, StaffRow, InstitutionRow.state)
    wanted = wanted.join(StaffRow, StaffRow.id == StaffSessionRow.staff_id)
    wanted = wanted.outerjoin(InstitutionRow, InstitutionRow.id == StaffRow.institution_id)
    found = session.execute(wanted.where(StaffSessionRow.token_hash == _hash(token))).one_or_none()
    if found is None:
        raise NotAuthentic
    row, person, state = found
    if state not in {None, institutions.LIVE} or (person.demo and not demo):
        raise NotAuthentic
    if row.ended_at or person.disabled_at or now >= row.seen_at + IDLE or now >= row.created_at + LONGEST:
        raise NotAuthentic
    if now >= row.seen_at + _NOTED:
        later = StaffSessionRow.id == row.id, StaffSessionRow.seen_at < now
        session.execute(update(StaffSessionRow).where(*later).values(seen_at=now))
    roles = frozenset(map(Role, person.roles))
    return Staff(
        person.id,
        row.id,
        roles,
        rights_of(roles),
        Branch(person.region, person.institution_id),
        fresh=now < row.fresh_at + FRESH,
        limited=person.limited,
    )


def authenticator(work: UnitOfWork, clock: Clock, *, demo: bool) -> Callable[[str], Staff]:
    """What the edge hands every admin blueprint. `demo`: accounts of `make run` count here."""

    def authenticate(token: str) -> Staff:
        with work() as session:
            return who_is(session, token, now=clock.now(), demo=demo)

    return authenticate


def _hash(token: str) -> bytes:
    return sha256(token.encode()).digest()
