"""The application's own database role: the whole service runs on it, and the audit log can only grow under it."""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from secrets import token_hex

import pytest
from click.testing import CliRunner, Result
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from ehc import jobs
from ehc.commands import main
from ehc.place import Place
from ehc.settings import Settings
from ehc.verify.partitions import ensure_partitions
from ehc.worker import drain
from tests.integration.audited import act, keyed, live, places, tie
from tests.support.service import Service


@pytest.fixture
def owner(database_url: str) -> Iterator[Engine]:
    """The database as its owner."""
    engine = create_engine(database_url, poolclass=NullPool)
    yield engine
    engine.dispose()


@pytest.fixture
def role(owner: Engine) -> Iterator[tuple[str, str]]:
    """A role without any right, and its password. Its name needs quoting."""
    name, password = f"ehc app-{os.getpid()}-{token_hex(4)}", token_hex(16)
    with owner.begin() as connection:
        connection.execute(text(f"CREATE ROLE \"{name}\" LOGIN PASSWORD '{password}'"))
    yield name, password
    with owner.begin() as connection:
        connection.execute(text(f'DROP OWNED BY "{name}"'))
        connection.execute(text(f'DROP ROLE "{name}"'))


def ehc(url: str, *words: str) -> Result:
    return CliRunner().invoke(main, words, env={"EHC_DATABASE_URL": url})


@pytest.fixture
def app_url(database_url: str, role: tuple[str, str]) -> str:
    """The database as the application's role, with what it needs."""
    result = ehc(database_url, "db", "app-role", role[0])
    assert result.exit_code == 0, result.output
    url = make_url(database_url).set(username=role[0], password=role[1])
    return url.render_as_string(hide_password=False)


@pytest.fixture
def confined(app_url: str, settings: Settings) -> Iterator[Service]:
    """The whole service on that role."""
    service = Service.start(replace(settings, database_url=app_url))
    yield service
    service.stop()


def carry_out(service: Service, *statements: str) -> None:
    with service.session() as session:
        for statement in statements:
            session.execute(text(statement))


def refused(service: Service, *statements: str) -> str:
    """The words in which the database refuses one of the statements."""
    with pytest.raises(ProgrammingError) as caught:
        carry_out(service, *statements)
    assert isinstance(caught.value.orig, InsufficientPrivilege)
    return str(caught.value.orig)


def test_the_whole_service_runs_on_it(confined: Service) -> None:
    live(confined, 1)
    card_id = confined.app.register(5)["card_id"]
    code = confined.app.code(card_id)
    assert confined.terminal.scan(code)["outcome"] == "accepted"
    assert confined.second_terminal.scan(code)["reason"] == "already-used"
    assert confined.app.get(f"/v1/cards/{card_id}/verifications").status_code == 200
    assert confined.client().get("/readyz").status_code == 200
    act(confined, "s", 2, keyed(confined))
    assert tie(confined)
    assert places(confined) == []


def test_background_work_runs_on_it(app_url: str, settings: Settings) -> None:
    place = Place(replace(settings, database_url=app_url))
    try:
        with place.work() as session:
            jobs.defer(session, "db.upkeep")
        drain(place)
        with place.work() as session:
            assert session.scalar(text("SELECT count(*) FROM procrastinate_jobs")) == 0
    finally:
        place.close()


@pytest.mark.parametrize("table", ["audit", "audit_tie"])
def test_the_log_can_only_grow_under_it(confined: Service, table: str) -> None:
    live(confined, 1)
    tie(confined)
    for statement in (
        f"UPDATE {table} SET seq = seq",
        f"UPDATE {table} SET at = at WHERE false",
        f"DELETE FROM {table}",
        f"TRUNCATE {table}",
    ):
        assert "permission denied" in refused(confined, statement)
    for statement in (
        f"DROP TABLE {table}",
        f"ALTER TABLE {table} DISABLE TRIGGER ALL",
        f"DROP TRIGGER {table}_only_grows ON {table}",
        f"ALTER TABLE {table} RENAME TO other",
        "CREATE TABLE other (id int)",
        "SET session_replication_role = replica",
        "DELETE FROM audit_head",
        "INSERT INTO audit_head VALUES (99, 0, '')",
        "TRUNCATE audit_head",
        "UPDATE secret_key SET version = 2",
        "DELETE FROM signing_key",
    ):
        refused(confined, statement)
    assert places(confined) == []


@pytest.mark.parametrize("table", ["audit", "audit_tie"])
def test_the_owner_cannot_change_the_log_either_while_the_triggers_stand(service: Service, table: str) -> None:
    tie(service)
    for before in ("SELECT 1", "SET LOCAL session_replication_role = replica"):
        for statement in (f"UPDATE {table} SET seq = seq", f"DELETE FROM {table} WHERE false", f"TRUNCATE {table}"):
            assert "only grows" in refused(service, before, statement)
    assert places(service) == []


def test_partitions_that_the_owner_makes_later_can_be_written(confined: Service, owner: Engine) -> None:
    later = confined.clock.now() + timedelta(days=400)
    with Session(owner) as session, session.begin():
        assert ensure_partitions(session, today=later.date())
    confined.clock.at = later
    for api in (confined.app, confined.terminal):
        api.__post_init__()  # a new token
    card_id = confined.app.register(1)["card_id"]
    assert confined.terminal.scan(confined.app.code(card_id))["outcome"] == "accepted"
    with owner.connect() as connection:
        home = connection.execute(text("SELECT tableoid::regclass::text FROM verification")).scalar_one()
    assert home == f"verification_y{later.year:04}m{later.month:02}"


def test_purges_and_upkeep_run_on_it_while_the_partitions_are_there(app_url: str, owner: Engine) -> None:
    assert ehc(app_url, "db", "purge").stdout.startswith("codes 0")
    assert ehc(app_url, "db", "upkeep").exit_code == 0
    with owner.begin() as connection:
        last = connection.execute(
            text("SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'verification'::regclass")
        ).scalar_one()
        connection.execute(text(f"DROP TABLE {last}"))
    result = ehc(app_url, "db", "partitions")
    assert (result.exit_code, result.stdout.strip()) == (0, last)


def test_what_it_had_beyond_is_taken(app_url: str, database_url: str, role: tuple[str, str], owner: Engine) -> None:
    with owner.begin() as connection:
        connection.execute(text(f'GRANT ALL ON audit, secret_key TO "{role[0]}"'))
        connection.execute(text(f'GRANT UPDATE (entry) ON audit TO "{role[0]}"'))
    assert ehc(database_url, "db", "app-role", role[0]).exit_code == 0
    with owner.connect() as connection:
        held = text(
            "SELECT privilege_type FROM information_schema.role_table_grants WHERE table_name = :t AND grantee = :r"
        )
        for table in ("audit", "secret_key"):
            assert set(connection.scalars(held, {"t": table, "r": role[0]})) == {"SELECT", "INSERT"}
    assert ehc(app_url, "db", "app-role", role[0]).exit_code == 1


@pytest.mark.parametrize(
    "strength",
    [
        'ALTER ROLE "{role}" SUPERUSER',
        'ALTER ROLE "{role}" CREATEROLE',
        'GRANT pg_write_all_data TO "{role}"',
        'GRANT "{owner}" TO "{role}"',
        "GRANT UPDATE (entry) ON audit TO PUBLIC",
        "GRANT TRUNCATE ON audit_tie TO PUBLIC",
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
    ],
)
def test_a_role_that_is_too_strong_is_refused(
    database_url: str, role: tuple[str, str], owner: Engine, strength: str
) -> None:
    with owner.begin() as connection:
        name = connection.scalar(text("SELECT current_user"))
        connection.execute(text(strength.format(role=role[0], owner=name)))
    result = ehc(database_url, "db", "app-role", role[0])
    assert (result.exit_code, "too strong" in result.stderr) == (1, True)
    with owner.connect() as connection:
        held = text("SELECT count(*) FROM information_schema.role_table_grants WHERE grantee = :r")
        assert connection.scalar(held, {"r": role[0]}) == 0


def test_a_role_that_is_not_there_is_told_so(database_url: str) -> None:
    result = ehc(database_url, "db", "app-role", 'nobody"; DROP TABLE audit; --')
    assert (result.exit_code, "no such database role" in result.stderr) == (1, True)
