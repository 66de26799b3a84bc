"""The blacklist of plastic cards (黑名单, national rules 3.5), as terminals keep a copy of it. Nothing here commits.

A list on a terminal must not be a list of people's cards: it holds hashes, which a terminal makes of the card in its reader.

A change is numbered by whoever reads the list next, not by who makes it. So writers never wait for one another, whatever else
they hold, and a number is only given to what is committed: no reader can miss an entry behind a number that it has seen.
"""

from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ehc.cards.plastic_models import BlacklistRow

_UNNUMBERED = text("SELECT EXISTS (SELECT FROM plastic_blacklist WHERE seq IS NULL)")
_LOCK_HEAD = text("""
    INSERT INTO plastic_blacklist_head AS head (id, seq) VALUES (1, 0)
    ON CONFLICT (id) DO UPDATE SET seq = head.seq RETURNING seq
""")
# What somebody changes at this moment is left for the next reader: nobody is waited for while the head is held.
_NUMBER = text("""
    WITH due AS (
        SELECT number_hash, changed_at FROM plastic_blacklist WHERE seq IS NULL
        ORDER BY changed_at, number_hash LIMIT 10000 FOR NO KEY UPDATE SKIP LOCKED
    ), numbered AS (
        UPDATE plastic_blacklist AS entry SET seq = :head + due.place
        FROM (SELECT number_hash, row_number() OVER (ORDER BY changed_at, number_hash) AS place FROM due) AS due
        WHERE entry.number_hash = due.number_hash RETURNING entry.seq
    )
    UPDATE plastic_blacklist_head SET seq = :head + (SELECT count(*) FROM numbered)
""")


class Page(NamedTuple):
    """Entries after `since`, in order, up to and with `until`; `head` is the last one there is."""

    entries: list[BlacklistRow]
    since: int
    until: int
    head: int


def number_hash(kind: str, institution_code: str, number: str) -> bytes:
    """What stands for a plastic card on the list: SHA-256 of `ehc-blacklist-1`, kind, institution code and number by lines.

    The institution code is empty for kinds that are numbered for all institutions together.
    """
    return sha256("\n".join(("ehc-blacklist-1", kind, institution_code, number)).encode()).digest()


def put(
    session: Session, hashed: bytes, kind: str, reason: str | None, *, until: datetime | None = None, at: datetime
) -> None:
    """Put a card on the list for a reason, or take it off with None."""
    values = {"kind": kind, "seq": None, "reason": reason, "until": until, "changed_at": at}
    known = BlacklistRow.number_hash == hashed
    if reason is None:
        session.execute(update(BlacklistRow).where(known, BlacklistRow.reason.is_not(None)).values(**values))
        return
    row = insert(BlacklistRow).values(number_hash=hashed, **values)
    session.execute(row.on_conflict_do_update(index_elements=[BlacklistRow.number_hash], set_=values))


def reason_of(session: Session, hashed: bytes, *, now: datetime) -> str | None:
    """For what a card is on the list now; None for one that is not, or whose time is over."""
    counts = BlacklistRow.until.is_(None) | (BlacklistRow.until > now)
    return session.scalar(select(BlacklistRow.reason).where(BlacklistRow.number_hash == hashed, counts))


def drop_run_out(session: Session, *, now: datetime) -> int:
    """Take up to 1,000 entries off whose time is over; how many. Terminals did so by themselves: it keeps the list short."""
    over = select(BlacklistRow.number_hash).where(BlacklistRow.until <= now).limit(1000)
    gone = update(BlacklistRow).where(
        BlacklistRow.number_hash.in_(over.with_for_update(skip_locked=True, key_share=True))
    )
    values = {"reason": None, "until": None, "seq": None, "changed_at": now}
    return len(session.execute(gone.values(**values).returning(BlacklistRow.kind)).all())


def number_changes(session: Session) -> None:
    """Give a number to every change that is committed and has none."""
    if session.execute(_UNNUMBERED).scalar_one():
        head = session.execute(_LOCK_HEAD).scalar_one()
        session.execute(_NUMBER, {"head": head})


def tell_anew(session: Session, *, now: datetime) -> int:
    """Have every entry told to every terminal once more, behind any number ever given; how many.

    For a database that was restored to an earlier point: numbers that were given after it would be given again, and a terminal
    that has them would pass over what they stand for now.
    """
    head = session.execute(_LOCK_HEAD).scalar_one()
    beyond = max(
        head, int(now.timestamp() * 1000)
    )  # more than a change in each millisecond were needed to have come so far
    session.execute(text("UPDATE plastic_blacklist_head SET seq = :beyond"), {"beyond": beyond})
    every = update(BlacklistRow).values(seq=None).returning(BlacklistRow.kind)
    return len(session.execute(every.execution_options(synchronize_session=False)).all())


def page(session: Session, since: int, *, limit: int) -> Page:
    """What changed after `since`. Entries that were taken off are told too, except to a terminal that has none yet."""
    number_changes(session)
    head = session.execute(text("SELECT seq FROM plastic_blacklist_head")).scalar() or 0
    wanted = select(BlacklistRow).where(BlacklistRow.seq > since, BlacklistRow.seq <= head)
    if since == 0:
        wanted = wanted.where(BlacklistRow.reason.is_not(None))
    wanted = wanted.order_by(BlacklistRow.seq).limit(limit + 1)
    rows = list(session.scalars(wanted.execution_options(populate_existing=True)))
    more = len(rows) > limit
    return Page(rows[:limit], since, rows[limit - 1].seq or head if more else head, head)
