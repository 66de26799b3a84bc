"""What the gateways were asked, counted: by account, method, dialect and result, and a trace of each failure.

A call waits for nothing here: it is counted in memory, and written every two seconds by a thread that is there only while
there is something to write. A worker that ends loses the counts of two seconds, never what a call did. Everything is
bounded: unknown methods count as one, so do unknown dialects, and of many failures at once only some leave a trace.
"""

import threading
from collections import Counter as Tally
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast
from uuid import UUID

import structlog
from prometheus_client import Counter
from sqlalchemy import CursorResult, Result, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from ehc.clock import Clock
from ehc.db import UnitOfWork
from ehc.gateways.kinds import GatewayKind
from ehc.gateways.masking import masked, reference_of
from ehc.gateways.models import FailureRow, UseRow

__all__ = ["NOBODY", "UNKNOWN", "Call", "Calls", "masked", "reference_of"]

CALLS = Counter("ehc_gateway_calls", "Calls of a gateway answered.", ["gateway", "ok"])
UNTRACED = Counter("ehc_gateway_untraced", "Failed calls that were counted and left no trace, there being too many.")

NOBODY = UUID(int=0)
"""The account of calls by nobody we know."""
UNKNOWN = "unknown"
"""The method of a call that names none of ours."""

FLUSH_SECONDS = 2.0
MOST_TRACES = 50
"""So many failures of one flush leave a trace; of one account a fifth of it."""
_MOST_OF_ONE = 10
_MOST_KINDS = 5_000
KEPT = 200
"""So many failures of an account are kept."""
KEPT_DAYS = 400

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was answered.

    `method` is one of ours or `UNKNOWN`; `dialect` one of a few words; `result` the code that was answered. `reference` is
    the caller's own id of it. `trace` of a failure are members as `masked` tells them.
    """

    kind: GatewayKind
    account: UUID | None
    method: str
    dialect: str
    result: str
    ok: bool
    milliseconds: float
    reference: str
    trace: Mapping[str, str] | None = None


class _Key(NamedTuple):
    hour: datetime
    account_id: UUID
    kind: str
    method: str
    dialect: str
    result: str
    ok: bool


@dataclass(slots=True)
class _Sum:
    calls: int
    milliseconds: float
    last_at: datetime


@dataclass(slots=True)
class _Batch:
    sums: dict[_Key, _Sum] = field(default_factory=dict)
    failures: list[dict[str, object]] = field(default_factory=list)
    of: Tally[UUID] = field(default_factory=Tally)
    untraced: int = 0


class Calls:
    """Counts the calls of one worker. Any thread may record."""

    def __init__(self, work: UnitOfWork, clock: Clock, *, every: float = FLUSH_SECONDS) -> None:
        self._work, self._clock, self._every = work, clock, every
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._batch = _Batch()
        self._timer: threading.Timer | None = None

    def record(self, call: Call) -> None:
        """Count a call, and keep the trace of one that failed. Waits for nothing."""
        now = self._clock.now()
        CALLS.labels(call.kind, "true" if call.ok else "false").inc()
        with self._lock:
            self._count(call, now)
            if not call.ok:
                self._keep(call, now)
            if self._timer is None:
                self._timer = threading.Timer(self._every, self._flush_quietly)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Write what is in memory. Raises what the database raises; the counts are kept then, and the traces let go."""
        with self._writing:
            with self._lock:
                batch, self._batch, self._timer = self._batch, _Batch(), None
            if not batch.sums:
                return
            try:
                with self._work() as session:
                    _write(session, batch)
            except SQLAlchemyError:
                self._take_back(batch)
                raise
        if batch.untraced:
            UNTRACED.inc(batch.untraced)
            log.warning("failed calls of gateways left no trace", calls=batch.untraced)

    def _flush_quietly(self) -> None:
        try:
            self.flush()
        except SQLAlchemyError as error:
            log.info("calls of gateways not written yet", error=type(error).__name__)

    def _count(self, call: Call, now: datetime) -> None:
        hour = now.replace(minute=0, second=0, microsecond=0)
        words = (call.method[:64], call.dialect[:64], call.result[:16])
        key = _Key(hour, call.account or NOBODY, call.kind, *words, call.ok)
        if key not in self._batch.sums and len(self._batch.sums) >= _MOST_KINDS:
            key = _Key(hour, NOBODY, call.kind, UNKNOWN, UNKNOWN, "", call.ok)
        known = self._batch.sums.setdefault(key, _Sum(0, 0.0, now))
        known.calls, known.milliseconds, known.last_at = known.calls + 1, known.milliseconds + call.milliseconds, now

    def _keep(self, call: Call, now: datetime) -> None:
        account = call.account or NOBODY
        if len(self._batch.failures) >= MOST_TRACES or self._batch.of[account] >= _MOST_OF_ONE:
            self._batch.untraced += 1
            return
        self._batch.of[account] += 1
        facts = {"account_id": account, "kind": str(call.kind), "at": now, "method": call.method[:64]}
        facts |= {"dialect": call.dialect[:64], "result": call.result[:16], "reference": reference_of(call.reference)}
        self._batch.failures.append(facts | {"milliseconds": call.milliseconds, "trace": dict(call.trace or {})})

    def _take_back(self, batch: _Batch) -> None:
        with self._lock:
            for key, old in batch.sums.items():
                known = self._batch.sums.get(key)
                if known is not None:
                    known.calls, known.milliseconds = known.calls + old.calls, known.milliseconds + old.milliseconds
                elif len(self._batch.sums) < _MOST_KINDS:
                    self._batch.sums[key] = old


def purge(session: Session, *, now: datetime) -> int:
    """Forget failures beyond the last 200 of each account, and the counts of a year ago. Never commits."""
    newest_first = func.row_number().over(partition_by=FailureRow.account_id, order_by=FailureRow.id.desc())
    ranked = select(FailureRow.id, newest_first.label("place")).subquery()
    gone = session.execute(
        delete(FailureRow).where(FailureRow.id.in_(select(ranked.c.id).where(ranked.c.place > KEPT)))
    )
    old = session.execute(delete(UseRow).where(UseRow.hour < now - timedelta(days=KEPT_DAYS)))
    return _rows(gone) + _rows(old)


def _rows(result: Result[Any]) -> int:
    return cast("CursorResult[Any]", result).rowcount


def _write(session: Session, batch: _Batch) -> None:
    # in the order of the key, so that two workers that write at one moment do not wait for each other
    rows = [
        key._asdict() | {"calls": s.calls, "milliseconds": s.milliseconds, "last_at": s.last_at}
        for key, s in sorted(batch.sums.items())
    ]
    wanted = insert(UseRow)
    more = {
        "calls": UseRow.calls + wanted.excluded.calls,
        "milliseconds": UseRow.milliseconds + wanted.excluded.milliseconds,
        "last_at": func.greatest(UseRow.last_at, wanted.excluded.last_at),
    }
    key = ["hour", "account_id", "kind", "method", "dialect", "result"]
    session.execute(wanted.on_conflict_do_update(index_elements=key, set_=more), rows)
    if batch.failures:
        session.execute(insert(FailureRow), batch.failures)
