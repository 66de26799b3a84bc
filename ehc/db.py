"""The database's base: one declarative base for every room's tables, one way to open a transaction."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
from psycopg.errors import _WaitTimeout
from sqlalchemy import Engine, MetaData, event
from sqlalchemy.orm import DeclarativeBase, Session

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The base of all tables. Each room keeps its own `models.py`."""

    metadata = MetaData(naming_convention=NAMING)


UnitOfWork = Callable[[], AbstractContextManager[Session]]
"""What `unit_of_work` makes for an engine: `with work() as session:` is one transaction."""


def unit_of_work(engine: Engine, *, info: Mapping[str, Any] | None = None) -> UnitOfWork:
    """A maker of transactions: committed when the block ends, rolled back when it raises.

    `info` is what every session carries in `Session.info`; the audit log finds its key there (`ehc.audit.hashing`).
    """

    @contextmanager
    def work() -> Iterator[Session]:
        with Session(engine, expire_on_commit=False, info=dict(info or {})) as session, session.begin():
            yield session

    return work


def until_none(work: UnitOfWork, step: Callable[[Session], int]) -> int:
    """Run a step in one transaction after another until it has nothing more to do; returns how much it did in all."""
    total = 0
    while True:
        with work() as session:
            done = step(session)
        total += done
        if not done:
            return total


def engine_options(*, pool_size: int, application: str) -> dict[str, Any]:
    """How every engine of the service is made. Waits are bounded on both sides, so a slow database cannot hold a worker.

    Commits are durable (`synchronous_commit` stays as the server has it, on by default).
    """
    session_settings = " ".join(
        f"-c {name}={value}"
        for name, value in {
            "statement_timeout": "5500ms",  # below SILENCE_SECONDS: the server that still works decides first
            "lock_timeout": "5s",
            "idle_in_transaction_session_timeout": "30s",
            "timezone": "UTC",
        }.items()
    )
    return {
        "pool_size": pool_size,
        "max_overflow": pool_size,
        "pool_timeout": 5,
        "pool_recycle": 1800,
        "hide_parameters": True,  # a failing statement must not print a name into a log
        "connect_args": {
            "connect_timeout": 3,
            "tcp_user_timeout": 5000,
            "keepalives_idle": 30,
            "application_name": application,
            "options": session_settings,
        },
    }


SILENCE_SECONDS = 6.0
"""How long a statement of the service may go unanswered before its connection is given up."""


class BoundedConnection(psycopg.Connection[Any]):
    """Gives up on a server that is silent: paused or hung, it keeps neither its own timeouts nor those of TCP."""

    silence: float | None = SILENCE_SECONDS

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """What the server answers. Raises `OperationalError`, and closes, when it is silent for too long."""
        try:
            return super().wait(gen, interval, self.silence if timeout is None else timeout)
        except _WaitTimeout:
            if timeout is None:
                self.close()
            raise


def bound_waits(engine: Engine) -> None:
    """Make every later connection of this engine a `BoundedConnection`."""

    @event.listens_for(engine, "do_connect")
    def connect(_: Any, __: Any, words: list[Any], named: dict[str, Any]) -> BoundedConnection:
        return BoundedConnection.connect(*words, **named)
