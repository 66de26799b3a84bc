"""Services with changed settings, and what the service writes to standard error."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import date, timedelta
from io import BytesIO, TextIOWrapper
from itertools import count
from secrets import randbelow
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from ehc import log
from ehc.app import create_app, database
from ehc.settings import Settings
from tests.contract.helpers import elsewhere
from tests.support.loggers import forget_loggers
from tests.support.service import Api, Service, citizen_number, person

ServiceMaker = Callable[..., Service]
WorkerMaker = Callable[..., Service]


@pytest.fixture
def database_url(database_url: str) -> str:
    """The test's database, with cards counted from a place of their own."""
    _count_cards_from_anywhere(database_url)
    return database_url


@pytest.fixture(scope="session")
def shared(server_engine: Engine) -> Iterator[Service]:
    """One service for all tests that do not move the clock. Whoever needs a person takes a `newcomer`.

    Self-declared identities wait for review in it.
    """
    template = make_url(os.environ["EHC_DATABASE_URL"])
    name = f"ehc_{os.getpid()}_shared"
    with server_engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template.database} STRATEGY FILE_COPY"))
    url = template.set(database=name).render_as_string(hide_password=False)
    _count_cards_from_anywhere(url)
    changed = {"EHC_DATABASE_URL": url, "EHC_REVIEWED_LEVELS": "self-declared", "EHC_CODES_PER_MINUTE": "1000"}
    made = Service.start(Settings.from_env(dict(os.environ) | changed))
    yield made
    made.stop()
    with server_engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def _days() -> Iterator[date]:
    """A birthday for each test of this process."""
    return (date(1950, 1, 1) + timedelta(days=number) for number in count())


@pytest.fixture
def newcomer(_days: Iterator[date]) -> dict[str, Any]:
    """A valid registration of somebody whom the shared service does not know."""
    return person(1, id_number=citizen_number(1, born=f"{next(_days):%Y%m%d}"))


@pytest.fixture
def start(settings: Settings) -> Iterator[ServiceMaker]:
    """Starts the service with some settings changed: `start(codes_per_minute=3)`."""
    with ExitStack() as stack:

        def make(**changes: Any) -> Service:
            made = Service.start(replace(settings, **changes))
            stack.callback(made.stop)
            return made

        yield make


@pytest.fixture
def worker() -> Iterator[WorkerMaker]:
    """Starts another worker of a running service: same database, clock, clients and tokens; nothing remembered."""
    with ExitStack() as stack:

        def make(service: Service, **changes: Any) -> Service:
            flask = create_app(replace(service.settings, **changes), clock=service.clock)
            with flask.app_context():
                engine = database.engine
            stack.callback(engine.dispose)
            apis: dict[str, Any] = {
                name: elsewhere(api, flask) for name, api in vars(service).items() if isinstance(api, Api)
            }
            return replace(service, flask=flask, engine=engine, **apis)

        yield make


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """All that services started after this one write to standard error. Ask for it before the service."""
    stream = TextIOWrapper(BytesIO(), encoding="utf-8", write_through=True)
    monkeypatch.setattr(log, "sys", SimpleNamespace(stderr=stream))
    forget_loggers()

    def told() -> str:
        log.flush()
        return stream.buffer.getvalue().decode()

    yield told
    monkeypatch.undo()
    forget_loggers()
    log.configure("WARNING")


def _count_cards_from_anywhere(url: str) -> None:
    """Redis is shared by all tests and counts codes by card, so two tests must not have the same cards."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(f"ALTER SEQUENCE card_serial_seq RESTART WITH {1 + randbelow(2**50)}"))
