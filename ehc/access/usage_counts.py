"""Keeps `usage_hour` true of `verification`: hours that were touched since the last run are counted again, whole.

Which hours those are, no run can miss:

- A check that is written more than 10 minutes after its own time (an upload, a clock that is behind) leaves a row in
  `usage_touched`, in its own transaction, by a trigger; of every other check only that comparison is made.
- For all others a run knows since when it may have missed something. Its snapshot shows everything of the transactions below
  its oldest open one (`pg_snapshot_xmin`). The last run whose next transaction was not above that one began before any
  that is still unseen: what they write is not older than 10 minutes before that run. A transaction that is left open for a
  day makes the runs of that day count a day again, and nothing is lost.

Hours to be counted are committed as rows before the first is counted, and each goes with the transaction that counts it: a
run that is killed leaves the rest to the next. All times here are the database's own.
"""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from ehc.db import UnitOfWork

KEPT_DAYS = 1096
"""Counts are kept for three years."""

_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('ehc.usage'))")
_NOW = text("""
    SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next_xid,
           pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest_xid
""")
_LAST = text("SELECT next_xid, seen_until FROM usage_run ORDER BY at DESC LIMIT 1")
_BEGUN = text("SELECT at FROM usage_run WHERE next_xid <= :oldest ORDER BY next_xid DESC, at DESC LIMIT 1")
# 5 minutes more than the trigger's 10, should the database's clock be set back
_TOUCH = text("""
    INSERT INTO usage_touched (hour)
    SELECT DISTINCT date_trunc('hour', verified_at, 'UTC') FROM verification
    WHERE verified_at >= coalesce(CAST(:since AS timestamptz) - interval '15 minutes', '-infinity')
""")
_TAKE = text("""
    DELETE FROM usage_touched WHERE hour = (SELECT min(hour) FROM usage_touched) RETURNING hour
""")
_FORGET = text("DELETE FROM usage_hour WHERE hour >= :since AND hour < :until")
_COUNT = text("""
    INSERT INTO usage_hour (hour, institution_id, step, channel, outcome, checks)
    SELECT date_trunc('hour', verified_at, 'UTC'),
           coalesce(institution_id, '00000000-0000-0000-0000-000000000000'), step, coalesce(channel, ''),
           coalesce(reason, 'accepted'), count(*)
    FROM verification WHERE verified_at >= :since AND verified_at < :until
        AND client_id NOT IN (SELECT id FROM client WHERE sandbox)
    GROUP BY 1, 2, 3, 4, 5
""")


class _Moment(NamedTuple):
    next_xid: int
    oldest_xid: int


def count(work: UnitOfWork) -> int:
    """Count again what was touched since the last run; returns how many hours. Transactions of its own, one an hour."""
    with work() as session:
        note_touched(session)
    hours = 0
    while True:
        with work() as session:
            if not count_next(session):
                return hours
        hours += 1


def note_touched(session: Session) -> None:
    """Write down which hours a run has to count, and that it looked. Never commits."""
    session.execute(_LOCK)
    # The time before the snapshot, and both before this transaction writes: it would be one of the open ones itself.
    began = session.execute(text("SELECT clock_timestamp()")).scalar_one()
    now = _Moment(*session.execute(_NOW).one())
    last = session.execute(_LAST).one_or_none()
    restored = last is not None and last.next_xid > now.next_xid  # another cluster: its transactions have other numbers
    if restored:
        session.execute(text("DELETE FROM usage_run"))
    session.execute(_TOUCH, {"since": None if last is None or restored else last.seen_until})
    session.execute(
        text("INSERT INTO usage_run (next_xid, at, seen_until) VALUES (:next, :at, NULL)"),
        {"next": now.next_xid, "at": began},
    )
    seen_until = session.execute(_BEGUN, {"oldest": now.oldest_xid}).scalar_one_or_none()
    session.execute(text("UPDATE usage_run SET seen_until = :seen WHERE at = :at"), {"seen": seen_until, "at": began})
    if seen_until is not None:
        session.execute(text("DELETE FROM usage_run WHERE at < :seen"), {"seen": seen_until})


def count_next(session: Session) -> bool:
    """Count the oldest hour that is to be counted; whether there was one. Never commits.

    What touches the hour behind the first statement leaves a row of its own, or is seen by the next run.
    """
    session.execute(_LOCK)
    hour = next(iter(session.scalars(_TAKE)), None)
    if hour is None:
        return False
    bounds = session.execute(text("SELECT :hour AS since, :hour + interval '1 hour' AS until"), {"hour": hour}).one()
    recount(session, since=bounds.since, until=bounds.until)
    return True


def rebuild(session: Session, *, since: datetime, until: datetime) -> int:
    """Count whole hours anew, whatever is there; returns how many counts there are now. Never commits.

    Checks that are no longer in the database count no more.
    """
    session.execute(_LOCK)
    session.execute(text("SET LOCAL statement_timeout = 0"))
    return recount(session, since=since, until=until)


def recount(session: Session, *, since: datetime, until: datetime) -> int:
    """Replace the counts of whole hours. Does not keep other runs away."""
    bounds = {"since": since, "until": until}
    session.execute(_FORGET, bounds)
    return len(session.execute(text(f"{_COUNT.text} RETURNING 1"), bounds).all())


def purge(session: Session, *, now: datetime) -> None:
    """Forget counts that are older than three years."""
    session.execute(
        text("DELETE FROM usage_hour WHERE hour < CAST(:now AS timestamptz) - make_interval(days => :days)"),
        {"now": now, "days": KEPT_DAYS},
    )


def usage_job(work: UnitOfWork, *, now: datetime) -> None:
    """What the worker does every few minutes."""
    count(work)
    with work() as session:
        purge(session, now=now)
