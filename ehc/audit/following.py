"""Following the whole log in constant memory: first the ties, then each chain, then what belongs to none."""

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from ehc.audit.chain import ChainCheck
from ehc.audit.findings import Fault, Finding
from ehc.audit.links import CHAINS, SHA256
from ehc.audit.models import AuditHead, AuditRow
from ehc.audit.proofs import Keys, TieCheck
from ehc.audit.ties import Head, Made


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


def broken_links(session: Session) -> Iterator[tuple[int, int]]:
    """Every (chain, seq) where a chain linked by SHA-256 does not hold, by itself: ties and HMAC-SM3 need `verify`."""
    for number, head in _heads(session):
        for finding in ChainCheck(session, number, head, {}).findings():
            yield number, finding.seq
    for finding in _strangers(session):
        yield finding.chain or 0, finding.seq


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
