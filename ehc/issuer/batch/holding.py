"""One process at a time has a run in hand."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import text

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
    key = {"key": int.from_bytes(run_id.bytes[8:], "big", signed=True)}
    with place.patient_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        deadline = time.monotonic() + patience
        while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), key):
            if time.monotonic() > deadline:
                raise ImportRuns(
                    Text("同一文件正在导入，请等它结束。", "The same import is under way. Wait until it has ended.")
                )
            time.sleep(0.1)
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)
