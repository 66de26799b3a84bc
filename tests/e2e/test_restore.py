"""A dump of a running system, restored into a new one: the audit log is whole, and codes end as they should."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import ProgrammingError

from ehc.app import create_app, database
from ehc.commands import main
from ehc.dev.postgres import find_postgres
from ehc.dev.process import DevServerError
from ehc.keystore import audit_keys
from ehc.settings import Settings
from tests.contract.helpers import elsewhere
from tests.e2e.sites import eventually
from tests.support.service import Api, Service

pytestmark = pytest.mark.xdist_group("heavy")


@pytest.fixture
def programs(server_engine: Engine) -> Path:
    """The folder with `pg_dump` and `pg_restore` of the server's own version."""
    with server_engine.connect() as connection:
        server = int(connection.execute(text("SHOW server_version_num")).scalar_one()) // 10_000
    found = [Path(path).parent for path in [shutil.which("pg_dump")] if path]
    with suppress(DevServerError):
        found.insert(0, find_postgres() / "bin")
    for folder in found:
        told = subprocess.run([folder / "pg_dump", "--version"], capture_output=True, text=True, check=True).stdout
        if (number := re.search(r"\d+", told)) and int(number.group()) == server:
            return folder
    pytest.skip("no pg_dump of the server's version")


def pg(programs: Path, program: str, url: str, *words: str) -> None:
    """Run one of PostgreSQL's programs on a database."""
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    command = [str(programs / program), f"--dbname={address}", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def new_url(server_engine: Engine) -> Iterator[str]:
    """An empty database."""
    name = f"ehc_restored_{os.getpid()}"
    with server_engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template0"))
    yield make_url(os.environ["EHC_TEST_SERVER_URL"]).set(database=name).render_as_string(hide_password=False)
    with server_engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@dataclass
class Traffic:
    """Somebody who registers, fetches a code and presents it, over and over. `answered` grows with every answer."""

    service: Service
    answered: list[dict[str, Any]]
    enough: Event

    def run(self) -> None:
        app, terminal = (elsewhere(api, self.service.flask) for api in (self.service.app, self.service.terminal))
        for serial in count(100):
            if self.enough.is_set():
                return
            card_id = app.register(serial % 900 + 100)["card_id"]
            self.answered.append(terminal.scan(app.code(card_id)))
            if serial % 10 == 0:
                with self.service.session() as session:
                    audit_keys.tie(session, self.service.settings.key_encrypting_key(), now=self.service.clock.now())


def again(service: Service, settings: Settings) -> Service:
    """The same clients and the same moment on another database."""
    flask = create_app(settings, clock=service.clock)
    with flask.app_context():
        engine = database.engine
    roles = ("app", "other_app", "terminal", "second_terminal")
    apis = {role: Api(flask.test_client(), getattr(service, role).credentials) for role in roles}
    return Service(flask, engine, service.clock, settings, **apis)


def verify(url: str) -> Result:
    return CliRunner().invoke(main, ["audit", "verify"], env={"EHC_DATABASE_URL": url})


def test_a_dump_taken_under_traffic_is_a_whole_system(
    service: Service, programs: Path, new_url: str, tmp_path: Path
) -> None:
    cards = [service.app.register(serial)["card_id"] for serial in range(4)]
    used, unused, suspended, spent_later = (service.app.code(card_id) for card_id in cards)
    accepted = service.terminal.scan(used)
    assert accepted["outcome"] == "accepted"
    assert service.app.post(f"/v1/cards/{cards[2]}/suspend", {"reason": "私事"}).status_code == 200
    traffic = Traffic(service, [], Event())
    dump = tmp_path / "dump"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(traffic.run)
        try:
            assert eventually(lambda: len(traffic.answered) >= 15 or running.done(), seconds=60)
            before = list(traffic.answered)
            pg(programs, "pg_dump", service.settings.database_url, "--format=custom", f"--file={dump}")
            during = len(traffic.answered)
            assert during > len(before), "the dump was taken of a system at rest"
        finally:
            traffic.enough.set()
        running.result(timeout=60)
    assert service.terminal.scan(spent_later)["outcome"] == "accepted"

    pg(programs, "pg_restore", new_url, "--exit-on-error", "--no-owner", str(dump))
    restored = again(service, replace(service.settings, database_url=new_url))
    try:
        result = verify(new_url)
        assert (result.exit_code, "The audit log is whole" in result.stdout) == (0, True), result.output
        with restored.session() as session:
            known = {str(found) for found in session.scalars(text("SELECT id FROM verification"))}
            assert session.scalars(text("SELECT count(*) FROM audit_tie")).one() > 0
        assert {answer["verification_id"] for answer in [accepted, *before]} <= known
        assert restored.second_terminal.scan(used)["reason"] == "already-used"
        assert restored.terminal.scan(used)["verification_id"] == accepted["verification_id"]
        assert restored.terminal.scan(unused)["outcome"] == "accepted"
        assert restored.second_terminal.scan(unused)["reason"] == "already-used"
        assert restored.terminal.scan(suspended)["reason"] == "card-suspended"
        # what the dump cannot know: `docs/operations.md` says how long this lasts
        assert restored.second_terminal.scan(spent_later)["outcome"] == "accepted"
        service.clock.advance(66)
        assert restored.terminal.scan(spent_later)["reason"] == "expired"
        assert verify(new_url).exit_code == 0
        with pytest.raises(ProgrammingError, match="only grows"), restored.session() as session:
            session.execute(text("DELETE FROM audit"))
    finally:
        restored.stop()
