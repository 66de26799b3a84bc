"""What is forgotten of the staff's log-ins: tries, sessions, challenges and devices that count no more."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from ehc.access import staff_sessions, tries


def _purge_expired(session: Session, *, now: datetime) -> int:
    """Forget up to 20,000 challenges and devices that are over; returns how many. Call until it returns 0."""
    count = 0
    for table in ("staff_challenge", "staff_device"):
        old = text(f"""
            DELETE FROM {table} WHERE id IN (
                SELECT id FROM {table} WHERE expires_at <= :now ORDER BY expires_at LIMIT 10000 FOR UPDATE SKIP LOCKED
            ) RETURNING 1
        """)  # noqa: S608 -- two names of ours
        count += len(session.execute(old, {"now": now}).all())
    return count


PURGES = (tries.purge, staff_sessions.purge, _purge_expired)
"""Each takes a session and the time, and is called until it returns 0."""
