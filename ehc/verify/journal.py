"""The journal of checks: one SQL statement settles a batch of scans, and its commit is what makes an answer true.

Each kind of scan has its statement (`signed.py`, `national.py`, `standing.py`). Scans that arrive together share one
(`ehc/grouping.py`). Redis has no part in it; with PostgreSQL away it raises, and nothing is accepted.
"""

from collections.abc import Callable, Sequence

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from ehc.db import unit_of_work
from ehc.grouping import Grouped
from ehc.line import Line, Record, as_json
from ehc.verify import national, signed, standing
from ehc.verify.scans import AnyScan, NationalScan, Scan, Settled
from ehc.verify.statements import settled

Settle = Callable[[AnyScan], Settled]
"""Settles a scan, durably, or within a transaction that is committed before the answer leaves."""


def settle_within(session: Session, scan: AnyScan) -> Settled:
    """Settle one scan within a transaction; never commits."""
    if isinstance(scan, Scan | NationalScan):
        statement = signed.SETTLE if isinstance(scan, Scan) else national.SETTLE
        return settled(session.connection().exec_driver_sql(statement, (as_json([scan]),)).one())
    return standing.settle(session, scan)


class Journal:
    """Settles the scans of one worker, many dynamic ones at a time, each answered after its commit."""

    def __init__(self, engine: Engine) -> None:
        self._work = unit_of_work(engine)
        self._signed = Grouped[Scan, Settled](_flush(engine, signed.SETTLE), distinct=signed.code_of)
        self._national = Grouped[NationalScan, Settled](_flush(engine, national.SETTLE), distinct=national.code_of)

    def settle(self, scan: AnyScan) -> Settled:
        """Settle one scan, durably. Raises `Unavailable`, or an error of SQLAlchemy, when the database is away."""
        if isinstance(scan, Scan):
            return self._signed.submit(scan)
        if isinstance(scan, NationalScan):
            return self._national.submit(scan)
        with self._work() as session:
            return settle_within(session, scan)


def _flush(engine: Engine, statement: str) -> Callable[[Sequence[Record]], list[Settled]]:
    line = Line(engine)
    return lambda scans: [settled(row) for row in line.run(statement, scans)]
