"""Following one chain row by row, holding no more than the last row and the next tie, and saying which row is wrong.

A row that does not follow from the one before it was changed, or stands in another place than it was written in. The chain
is searched for the row that it does follow from, which tells the two apart.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc.audit.findings import Fault, Finding
from ehc.audit.links import FIRST, SHA256, HmacKey, sha256_link, tells
from ehc.audit.models import AuditRow
from ehc.audit.proofs import Tied
from ehc.audit.ties import TIED, Head

_SEARCHES = 20
"""How many rows of a chain are looked for elsewhere; each costs a pass over the chain."""
_STEP = 10_000
_COLUMNS = (
    AuditRow.seq, AuditRow.at, AuditRow.action, AuditRow.subject, AuditRow.entry, AuditRow.hash, AuditRow.method,
)  # fmt: skip


class _Row(NamedTuple):
    seq: int
    at: datetime
    action: str
    subject: str
    entry: str
    hash: bytes
    method: str


class ChainCheck:
    """One chain. `tied` is what good ties hold of it, `newest` where the newest ends; `method` is the one in force now."""

    def __init__(
        self,
        session: Session,
        number: int,
        head: Head | None,
        hmac: Mapping[str, HmacKey],
        *,
        tied: Iterable[Tied] = (),
        newest: int = 0,
        method: str = SHA256,
    ) -> None:
        self._session, self._number, self._head, self._hmac = session, number, head, hmac
        self._tied, self._method = iter(tied), method
        self._known = max(head.seq if head else 0, newest)
        self._tie = next(self._tied, None)
        self._last_tie: Tied | None = None
        self._seq = 0
        # What the next row may follow: after a row whose hash was changed, also the hash it should have. None: unknown.
        self._before: tuple[bytes, ...] | None = (FIRST,)
        self._keyed = self._faulty = self._rewritten = False
        self._searches = _SEARCHES
        self.announced = 0
        """The highest tie that an act of this chain announces."""

    def findings(self, progress: Callable[[int], None] = lambda _: None) -> Iterator[Finding]:
        """Everything that is wrong with the chain, in its order. `progress` is told every 10,000 rows, and of the rest."""
        followed = 0
        for row in self._rows():
            followed += 1
            if followed % _STEP == 0:
                progress(_STEP)
            if row.seq < 1 or (self._head is not None and row.seq > self._known):
                yield self._found(Fault.ADDED, row.seq)
                continue
            yield from self._follow(row)
        progress(followed % _STEP)
        yield from self._close()

    def _follow(self, row: _Row) -> Iterator[Finding]:
        if row.seq > self._seq + 1:
            yield self._found(Fault.MISSING, self._seq + 1, row.seq - 1)
            self._before = None
        self._pass_ties(row.seq)
        if row.method == SHA256 and self._keyed and not self._may_be_unkeyed():
            yield self._found(Fault.WEAKENED, row.seq)
        fault = self._judge(row)
        if fault is not None:
            yield fault
        self._faulty, self._seq, self._keyed = fault is not None, row.seq, row.method != SHA256
        yield from self._compare(row)
        if row.action == TIED:
            self.announced = max(self.announced, _announced(row.entry))

    def _judge(self, row: _Row) -> Finding | None:
        """The fault of a row against what is before it; then it is what the next row may follow."""
        if row.method != SHA256 and row.method not in self._hmac:
            self._before = (row.hash,)
            return self._found(Fault.NO_KEY, row.seq)
        due = [self._link(before, row) for before in self._before or ()]
        follows = self._before is None or row.hash in due
        sound = tells(row.entry, chain=self._number, action=row.action, subject=row.subject, at=row.at)
        self._before = (row.hash,) if follows else (row.hash, *due)
        if follows and sound:
            return None
        origin = self._origin(row) if sound else None
        if origin is None:
            return self._found(Fault.CHANGED, row.seq)
        if self._faulty and not self._in_place(origin):
            return (
                None  # this row stands where it was written; the one before it was put elsewhere, and that is reported
            )
        return self._found(Fault.MOVED, row.seq, other=origin)

    def _compare(self, row: _Row) -> Iterator[Finding]:
        """Whether the chain is the one that ties hold, as far as this row. After one that differs, the later ones will."""
        since = self._last_tie.seq + 1 if self._last_tie else 1
        while self._tie is not None and self._tie.seq == row.seq:
            if self._tie.hash not in (self._before or ()) and not self._rewritten:
                self._rewritten = True
                yield self._found(Fault.REBUILT, since, row.seq, other=self._tie.tie)
            self._last_tie, self._tie = self._tie, next(self._tied, None)

    def _pass_ties(self, seq: int) -> None:
        """Pass over ties whose own row is not there: go on to the first that holds this row."""
        while self._tie is not None and self._tie.seq < seq:
            self._last_tie, self._tie = self._tie, next(self._tied, None)

    def _may_be_unkeyed(self) -> bool:
        """Whether SHA-256 was in force at the tie before this row, or at the one after it (or now)."""
        before = self._last_tie.method if self._last_tie else None
        return SHA256 in {before, self._tie.method if self._tie else self._method}

    def _close(self) -> Iterator[Finding]:
        self._pass_ties(self._seq + 1)
        end = max(self._known, self._tie.seq if self._tie else 0)
        if end > self._seq:
            yield self._found(Fault.CUT_OFF, self._seq + 1, end)
        head = self._head
        if head is None or head.seq < self._seq:
            yield self._found(Fault.HEAD_CHANGED, self._seq + 1)
        elif head.seq == self._seq and head.hash not in (self._before or ()) and not self._faulty:
            yield self._found(
                Fault.HEAD_CHANGED, self._seq + 1
            )  # if the last row is at fault, that is reported already

    def _origin(self, row: _Row) -> int | None:
        """The row of this chain, as numbered now, that `row` was written after; 0 for the beginning."""
        if self._searches == 0:
            return None
        self._searches -= 1
        if self._link(FIRST, row) == row.hash:
            return 0
        return next((other.seq for other in self._rows() if self._link(other.hash, row) == row.hash), None)

    def _in_place(self, seq: int) -> bool:
        """Whether a row follows from the one numbered before it."""
        if seq <= 0:
            return True
        found = {row.seq: row for row in self._rows(seq - 1, seq)}
        before = FIRST if seq == 1 else found[seq - 1].hash if seq - 1 in found else b""
        return self._link(before, found[seq]) == found[seq].hash

    def _rows(self, *only: int) -> Iterator[_Row]:
        wanted = select(*_COLUMNS).where(AuditRow.chain == self._number).order_by(AuditRow.seq)
        if only:
            wanted = wanted.where(AuditRow.seq.in_(only))
        with self._session.execute(wanted.execution_options(yield_per=1000)) as found:  # closed also if left half-read
            for row in found:
                yield _Row(*row)

    def _link(self, previous: bytes, row: _Row) -> bytes:
        """The hash that the row must have after `previous`; empty, which no row has, without its key."""
        if row.method == SHA256:
            return sha256_link(previous, row.entry)
        key = self._hmac.get(row.method)
        return key.link(previous, row.entry) if key else b""

    def _found(self, fault: Fault, seq: int, last: int | None = None, other: int | None = None) -> Finding:
        return Finding(fault, self._number, seq, last, other)


def _announced(entry: str) -> int:
    """The tie that an act announces; 0 if it names none."""
    try:
        return int(json.loads(entry)["facts"]["tie"])
    except (ValueError, TypeError, KeyError):
        return 0
