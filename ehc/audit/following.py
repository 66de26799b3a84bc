"""Following the whole log in constant memory: first the ties, then each chain, then what belongs to none."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from ehc.audit.chain import ChainCheck
from ehc.audit.findings import Fault, Finding
from ehc.audit.links import CHAINS, SHA256
from ehc.audit.models import AuditHead, AuditRow, AuditTie
from ehc.audit.proofs import Keys, TieCheck
from ehc.audit.ties import Head, Made

TIES_LAG = timedelta(days=1)
"""Ties are made hourly; acts that are older than this and in no tie mean that nobody makes any."""
_NEVER = datetime.min.replace(tzinfo=UTC)


def still(session: Session) -> None:
    """Make everything this session reads one moment of a log that goes on growing. Must come before any statement."""
    session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


def verify(
    session: Session,
    keys: Keys,
    *,
    method: str = SHA256,
    kept: Made | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Iterator[Finding]:
    """Everything that is wrong with ties, chains and heads; nothing when the log is whole. Wants a `still` session.

    `method` is the one in force now. `kept` is a tie whose hash was kept elsewhere: it must still be there. `progress` is
    told, now and then, how many more rows were followed.
    """
    ties = TieCheck(session, keys)
    yield from ties.findings(kept)
    announced = 0
    for number, head in _heads(session):
        tied, newest = ties.of(number), ties.newest.get(number, 0)
        chain = ChainCheck(session, number, head, keys.hmac, tied=tied, newest=newest, method=method)
        yield from chain.findings(progress)
        announced = max(announced, chain.announced)
    if announced > ties.last:
        yield Finding(Fault.TIE_MISSING, None, ties.last + 1, announced)
    yield from _strangers(session)


def length(session: Session) -> int:
    """How many acts the log holds, by its heads."""
    return int(session.scalars(select(func.coalesce(func.sum(AuditHead.seq), 0))).one())


def untied_since(session: Session, *, now: datetime) -> datetime | None:
    """When the oldest act came that ought to be tied by now and is not; None while ties keep up with the acts."""
    tied = select(func.max(AuditTie.at)).scalar_subquery()
    waiting = select(func.min(AuditRow.at)).where(AuditRow.at > func.coalesce(tied, _NEVER))
    since = session.scalar(waiting)
    return since if since is not None and since < now - TIES_LAG else None


def _heads(session: Session) -> list[tuple[int, Head | None]]:
    """Every chain that must be there, and its head if it has one."""
    rows = session.execute(select(AuditHead.chain, AuditHead.seq, AuditHead.hash))
    heads = {row.chain: Head(*row) for row in rows}
    return [(number, heads.get(number)) for number in range(CHAINS)]


def _strangers(session: Session) -> Iterator[Finding]:
    """Rows of chains that nobody began."""
    place: Any = AuditRow.chain, AuditRow.seq
    outside = or_(AuditRow.chain < 0, AuditRow.chain >= CHAINS)
    for number, seq in session.execute(select(*place).where(outside).order_by(*place).execution_options(yield_per=100)):
        yield Finding(Fault.ADDED, number, seq)
