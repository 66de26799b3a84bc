"""A line to the database for one statement that is run over and over: no session, no transaction, one round trip.

A batch goes in as one JSON text, which costs the database little and us far less than an array for every column. The
connection comes from the engine's pool, is kept, and is replaced after a failure.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import orjson
import psycopg
from sqlalchemy import Engine, PoolProxiedConnection, event

from ehc.errors import DATABASE_AWAY, Unavailable


class Record(Protocol):
    """What goes into a batch: a named tuple."""

    def _asdict(self) -> dict[str, Any]: ...


class Line:
    """One kept connection in autocommit, for one caller at a time: a statement is a transaction of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: PoolProxiedConnection | None = None
        self._cursor: psycopg.Cursor[tuple[Any, ...]] | None = None
        event.listen(engine, "engine_disposed", lambda _: self._drop())  # the pool closes only what it was given back

    def run(self, statement: str, batch: Sequence[Record]) -> list[tuple[Any, ...]]:
        """The rows of a statement whose one parameter is the batch as JSON. Raises `Unavailable`."""
        try:
            return self._open().execute(statement, (as_json(batch),)).fetchall()
        except (psycopg.OperationalError, psycopg.InterfaceError):
            self._drop()
            raise Unavailable(DATABASE_AWAY, retry_after=2) from None
        except BaseException:
            self._drop()
            raise

    def _open(self) -> "psycopg.Cursor[tuple[Any, ...]]":
        if self._cursor is None:
            self._held = self._engine.raw_connection()
            connection = self._held.driver_connection
            if not isinstance(connection, psycopg.Connection):
                raise TypeError("the engine does not speak psycopg")
            connection.autocommit = True
            self._cursor = connection.cursor()
        return self._cursor

    def _drop(self) -> None:
        if self._held is not None:
            self._held.invalidate()
        self._held = self._cursor = None


def as_json(batch: Sequence[Record]) -> str:
    """A batch as PostgreSQL's `json_to_recordset` reads it: the fields of each item, and its `position` from 0."""
    return orjson.dumps([{"position": n, **item._asdict()} for n, item in enumerate(batch)], default=_octets).decode()


def _octets(data: bytes) -> str:
    """Bytes, the one kind of value that JSON lacks here, in the text form of `bytea`."""
    return "\\x" + data.hex()
