"""One process at a time has a run in hand."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from ehc.errors import EhcError, Text
from ehc.place import Place

_PATIENCE = 15.0
"""Seconds in which the database notices that an earlier start was killed."""


class ImportRuns(EhcError):
    """The same import is under way already."""

    code = "import-under-way"


@contextmanager
def held(place: Place, run_id: UUID, *, patience: float = _PATIENCE) -> Iterator[None]:
    """This run is ours as long as the block runs: a lock that ends with its connection. Raises `ImportRuns`."""
    key = {"key": key_of(run_id)}
    with place.patient_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        deadline = time.monotonic() + patience
        while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), key):
            if time.monotonic() > deadline:
                raise under_way()
            time.sleep(0.1)
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)


def is_free(session: Session, run_id: UUID) -> bool:
    """Whether nobody has the run in hand; then nobody will before this transaction has ended."""
    return bool(session.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": key_of(run_id)}))


def key_of(run_id: UUID) -> int:
    """The number of the run's lock."""
    return int.from_bytes(run_id.bytes[8:], "big", signed=True)


def under_way() -> ImportRuns:
    """What a second start is told."""
    return ImportRuns(Text("同一文件正在导入，请等它结束。", "The same import is under way. Wait until it has ended."))
