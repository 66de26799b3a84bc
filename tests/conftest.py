"""Real PostgreSQL and Redis for every test run, a database of its own for every test that asks for one."""

import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool
from werkzeug.routing import Rule

from ehc.commands.context import Deployment
from ehc.commands.db import make_partitions, upgrade_tables
from ehc.commands.keys import init_keys
from ehc.dev.servers import environment, running
from ehc.settings import Settings
from tests.support.service import Service

hypothesis.settings.register_profile("ehc", deadline=None, derandomize=True)  # a busy machine fails no test
hypothesis.settings.load_profile("ehc")

_TEMPLATE = "ehc_template"
_MEMORY, _ROOM = Path("/dev/shm"), 3 * 2**30
_stack = ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    """The process that starts the run starts the servers, before xdist starts its workers, which inherit the addresses."""
    _build_addresses_when_asked()
    gc.disable()  # ten thousand tests are collected first, and not one of them is garbage
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    folder = Path(
        _stack.enter_context(
            tempfile.TemporaryDirectory(prefix="ehc tests ", dir=_in_memory(), ignore_cleanup_errors=True)
        )
    )
    servers = _stack.enter_context(running(folder, durable=False))
    with create_engine(servers.database_url, isolation_level="AUTOCOMMIT", poolclass=NullPool).connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {_TEMPLATE}"))
        connection.execute(text(f"CREATE DATABASE {_TEMPLATE}"))
    given = environment(servers, folder)
    os.environ.update(given | {"EHC_DATABASE_URL": _url(servers.database_url, _TEMPLATE), "EHC_LOG_LEVEL": "WARNING"})
    os.environ["EHC_TEST_SERVER_URL"] = servers.database_url
    for limit in ("APP", "CARD", "TERMINAL", "INSTITUTION"):  # the clock stands still: a whole file is one minute
        os.environ[f"EHC_{limit}_PER_MINUTE"] = "1000000"
    place = Deployment()
    upgrade_tables(place)
    make_partitions(place)
    init_keys(place)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Python looks through what stays for the whole run no more, and less often through what the tests leave."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()


def _in_memory() -> str | None:
    """Where thousands of databases are made and dropped ten times as fast as on a disk; None where there is no room."""
    try:
        return str(_MEMORY) if shutil.disk_usage(_MEMORY).free >= _ROOM and os.access(_MEMORY, os.W_OK) else None
    except OSError:
        return None


def _build_addresses_when_asked() -> None:
    """Werkzeug compiles for each route two functions that make its address: half the time of starting a service here."""
    compile_now = Rule._compile_builder

    def compile_later(rule: Rule, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        def build(owner: Rule, **values: Any) -> tuple[str, str]:
            return compile_now(rule, append_unknown)(owner, **values)

        return build

    Rule._compile_builder = compile_later  # type: ignore[method-assign, assignment]  # for the tests' own speed


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what `pytest_configure` started."""
    if not hasattr(config, "workerinput"):
        _stack.close()


@pytest.fixture(scope="session")
def server_engine() -> Iterator[Engine]:
    """A connection to the server itself, for making databases."""
    engine = create_engine(os.environ["EHC_TEST_SERVER_URL"], isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


@pytest.fixture
def database_url(server_engine: Engine, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database for this test alone: all tables, all keys, nobody in it."""
    name = f"ehc_{os.getpid()}_{abs(hash(request.node.nodeid)) % 10**12}"
    with server_engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} STRATEGY FILE_COPY"))
    yield _url(os.environ["EHC_TEST_SERVER_URL"], name)
    with server_engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def settings(database_url: str) -> Settings:
    """The service's settings on this test's database."""
    return Settings.from_env(dict(os.environ) | {"EHC_DATABASE_URL": database_url})


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    """The whole service in this process, with a clock that the test holds, an app and two terminals."""
    made = Service.start(settings)
    yield made
    made.stop()


def _url(server: str, database: str) -> str:
    return make_url(server).set(database=database).render_as_string(hide_password=False)
