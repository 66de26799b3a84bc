"""The blacklist of plastic cards (黑名单, national rules 3.5), as terminals keep a copy of it. Nothing here commits.

A list on a terminal must not be a list of people's cards: it holds hashes, which a terminal makes of the card in its reader.
"""

from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ehc.cards.plastic_models import BlacklistRow

_NEXT = text("""
    INSERT INTO plastic_blacklist_head AS head (id, seq) VALUES (1, 1)
    ON CONFLICT (id) DO UPDATE SET seq = head.seq + 1 RETURNING seq
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
    """Put a card on the list for a reason, or take it off with None. Changes of the list wait for one another."""
    known = select(BlacklistRow.seq).where(BlacklistRow.number_hash == hashed)
    if reason is None and session.scalar(known) is None:
        return
    values = {
        "kind": kind,
        "seq": session.execute(_NEXT).scalar_one(),
        "reason": reason,
        "until": until,
        "changed_at": at,
    }
    row = insert(BlacklistRow).values(number_hash=hashed, **values)
    session.execute(row.on_conflict_do_update(index_elements=[BlacklistRow.number_hash], set_=values))


def page(session: Session, since: int, *, limit: int) -> Page:
    """What changed after `since`. Entries that were taken off are told too, except to a terminal that has none yet."""
    head = session.execute(text("SELECT seq FROM plastic_blacklist_head")).scalar() or 0
    wanted = select(BlacklistRow).where(BlacklistRow.seq > since, BlacklistRow.seq <= head)
    if since == 0:
        wanted = wanted.where(BlacklistRow.reason.is_not(None))
    wanted = wanted.order_by(BlacklistRow.seq).limit(limit + 1)
    rows = list(session.scalars(wanted.execution_options(populate_existing=True)))
    more = len(rows) > limit
    return Page(rows[:limit], since, rows[limit - 1].seq if more else head, head)
