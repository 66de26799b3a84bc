"""Sites that end with their test."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine, make_url, text

from tests.e2e.sites import Site

Found = Callable[..., Site]


@pytest.fixture(autouse=True)
def one_at_a_time(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No two heavy tests of a run at once, also where the plug-in that spreads tests takes no notice of their group."""
    if request.node.get_closest_marker("xdist_group") is None:
        yield
        return
    base = tmp_path_factory.getbasetemp()
    with (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base).joinpath("heavy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def found(tmp_path: Path) -> Iterator[Found]:
    """Founds sites: `found(database_url)`."""
    with ExitStack() as stack:

        def begin(database_url: str, **options: int) -> Site:
            site = Site.found(database_url, tmp_path, **options)
            stack.callback(site.close)
            return site

        yield begin


@pytest.fixture(scope="module")
def shared_database_url(server_engine: Engine, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database for all tests of a module: all tables, all keys, nobody in it."""
    template = make_url(os.environ["EHC_DATABASE_URL"])
    name = f"ehc_{os.getpid()}_{request.node.path.stem}"
    with server_engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template.database} STRATEGY FILE_COPY"))
    yield template.set(database=name).render_as_string(hide_password=False)
    with server_engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def site(found: Found, database_url: str) -> Site:
    """A site on this test's database, without servers yet."""
    return found(database_url)
