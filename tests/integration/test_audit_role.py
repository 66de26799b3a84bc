"""The application's own database role: the whole service runs on it, and the audit log can only grow under it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from secrets import token_hex

import pytest
from click.testing import CliRunner, Result
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool
from structlog.testing import capture_logs

from ehc import jobs
from ehc.access import clients
from ehc.callers import Scope
from ehc.commands import main
from ehc.place import Place
from ehc.settings import Settings
from ehc.verify.partitions import ensure_partitions
from ehc.worker import TASKS, drain
from tests.integration.audited import act, keyed, live, places, tie
from tests.integration.test_rights_retention import after, erase
from tests.integration.test_rights_retention import live as live_and_close
from tests.support.imports import Imports, csv_bytes, row, written
from tests.support.institutions import PATH, admin
from tests.support.institutions import made as institution_made
from tests.support.loggers import forget_loggers
from tests.support.service import Api, Service, told


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


def test_background_work_runs_on_it(confined: Service) -> None:
    """Every task of the service, an import among them, whose file came over the API."""
    with confined.session() as session:
        scopes = frozenset({Scope.CARDS, Scope.BATCH})
        sender = clients.add_app(session, name="批量", scopes=scopes, now=confined.clock.now())
    api = Api(confined.client(), sender)
    headers = api.headers | {"Content-Type": "text/csv"}
    confined.app.register(2)
    answer = api.http.post("/v1/imports", data=csv_bytes([row(1), row(2), row(3, phone="x")]), headers=headers)
    assert answer.status_code == 202, answer.text
    place = Place(confined.settings, clock=confined.clock)
    try:
        with place.work() as session:
            for task in TASKS:
                if task.every is not None:
                    jobs.defer(session, task.name)
        drain(place)
        with place.work() as session:
            assert [(job.task, job.status) for job in jobs.listing(session)] == []
            assert session.scalar(text("SELECT count(*) FROM audit_tie")) == 1
    finally:
        place.close()
    run = told(api.get(answer.headers["Location"]))
    assert (run["state"], run["made"], run["known"], run["bad"]) == ("done", 1, 1, 1)
    assert places(confined) == []


def test_institutions_are_kept_on_it(confined: Service) -> None:
    who = admin(confined)
    found = institution_made(who)
    path = f"{PATH}/{found['institution_id']}"
    department = told(who.post(f"{path}/departments", {"name": "内科"}))["department_id"]
    assert who.call("DELETE", f"{path}/departments/{department}").status_code == 204
    assert who.post(f"{path}/codes/{found['codes'][0]['code_id']}/end").status_code == 200
    assert who.post(f"{path}/suspend", {"reason": "检查"}).status_code == 200
    file = "name,kind,region,local_code\n医院,hospital,370102,A1\n医院,zoo,370102,A2\n".encode()
    sent = who.http.post(f"{PATH}/imports", data=file, headers=who.headers, content_type="text/csv")
    assert (told(sent)["added"], told(sent)["bad"]) == (1, 1)
    assert "region" in refused(confined, "UPDATE region SET name = 'x'")
    assert "institution_code" in refused(confined, "DELETE FROM institution_code")
    assert "institution_code" in refused(confined, "UPDATE institution_code SET code = 'x'")


def test_whole_provinces_come_and_go_on_it(app_url: str, tmp_path: Path) -> None:
    imports = Imports(app_url)
    path = written(tmp_path, [row(1), row(2), row(3, phone="x")])
    assert imports.take(path, "--dry-run") == {"rows": 3, "made": 2, "known": 0, "bad": 1}
    assert imports.take(path) == {"rows": 3, "made": 2, "known": 0, "bad": 1}
    assert imports.take(path, "--again") == {"rows": 3, "made": 0, "known": 2, "bad": 1}
    assert imports.run("export", str(tmp_path / "out.csv")).stdout == "cards 2\n"


def test_people_are_erased_on_it(confined: Service) -> None:
    live_and_close(confined)
    assert erase(confined, after(confined)) == 1
    with confined.session() as session:
        assert set(session.scalars(text("SELECT operator FROM verification"))) == {None}
    assert places(confined) == []


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


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM verification",
        "DELETE FROM verification_default",
        "TRUNCATE verification",
        "UPDATE verification SET disclosed = '{}'",
        "UPDATE verification SET institution_id = NULL",
        "UPDATE verification_default SET operator = NULL",
        "DELETE FROM card_event",
        "UPDATE card_event SET actor = 'system'",
        "DELETE FROM consent",
        "UPDATE consent SET given_at = now()",
        "UPDATE card_alias SET closed_at = now()",
        "UPDATE audit_head SET chain = chain",
        "DELETE FROM card",
        "DELETE FROM resident",
        "DELETE FROM printed_code",
        "DELETE FROM import_piece",
        "UPDATE import_error SET code = ''",
    ],
)
def test_history_can_only_grow_under_it(confined: Service, statement: str) -> None:
    assert "permission denied" in refused(confined, statement)


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


def test_checks_that_had_no_partition_are_moved_into_theirs_under_it(confined: Service) -> None:
    """By the owner's function: the role itself may delete no check, be it to write it elsewhere."""
    later = confined.clock.now() + timedelta(days=400)
    confined.clock.at = later
    for api in (confined.app, confined.terminal):
        api.__post_init__()  # a new token
    card_id = confined.app.register(1)["card_id"]
    check = confined.terminal.scan(confined.app.code(card_id))["verification_id"]
    home = text("SELECT tableoid::regclass::text FROM verification WHERE id = :id")
    seen = []
    for _ in range(2):
        with confined.session() as session:
            seen.append(session.scalars(home, {"id": check}).one())
            ensure_partitions(session, today=later.date())
    assert seen == ["verification_default", f"verification_y{later.year:04}m{later.month:02}"]


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
        "GRANT DELETE ON verification TO PUBLIC",
        "GRANT UPDATE ON verification_default TO PUBLIC",
        "GRANT DELETE ON card_event TO PUBLIC",
        'GRANT pg_write_server_files TO "{role}"',
        'ALTER ROLE "{role}" NOINHERIT; GRANT pg_write_all_data TO "{role}"',
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


@pytest.mark.parametrize("right", ["UPDATE (entry) ON audit", "DELETE ON audit_tie", "UPDATE ON verification"])
def test_a_role_that_may_take_the_part_of_a_strong_one_is_refused(
    database_url: str, app_url: str, role: tuple[str, str], owner: Engine, right: str
) -> None:
    """By `SET ROLE`: it inherits nothing, so it seems to have no right at all."""
    assert ehc(app_url, "db", "app-role", "--check").exit_code == 0
    other = f"{role[0]} clerks"
    with owner.begin() as connection:
        connection.execute(text(f'CREATE ROLE "{other}" NOLOGIN; GRANT {right} TO "{other}"'))
        connection.execute(text(f'ALTER ROLE "{role[0]}" NOINHERIT; GRANT "{other}" TO "{role[0]}"'))
    try:
        for url, words in ((database_url, [role[0]]), (database_url, ["--check", role[0]]), (app_url, ["--check"])):
            result = ehc(url, "db", "app-role", *words)
            assert (result.exit_code, "too strong" in result.stderr) == (1, True)
    finally:
        with owner.begin() as connection:
            connection.execute(text(f'DROP OWNED BY "{other}"'))
            connection.execute(text(f'DROP ROLE "{other}"'))


def test_the_role_of_this_deployment_can_be_checked(database_url: str, app_url: str) -> None:
    assert ehc(app_url, "db", "app-role", "--check").exit_code == 0
    result = ehc(database_url, "db", "app-role", "--check")
    assert (result.exit_code, "too strong" in result.stderr) == (1, True)
    assert ehc(database_url, "db", "app-role").exit_code == 2


SURROUNDINGS = [((True, False), 1), ((False, False), 0), ((True, True), 0)]


def ours(settings: Settings, app_url: str, folder: Path, how: tuple[bool, bool]) -> Settings:
    """Settings on the owner's role (`how` is strong, demo) or the application's; outside a demo the key says so."""
    strong, demo = how
    kek = folder / "kek"
    kek.touch(0o600)
    kek.write_text(settings.kek_file.read_text().replace("ehc-demo-kek", "ehc-kek"))
    chosen = settings if strong else replace(settings, database_url=app_url)
    return chosen if demo else replace(chosen, kek_file=kek, demo=False)


@pytest.mark.parametrize(("how", "warnings"), SURROUNDINGS)
def test_a_service_on_a_role_that_is_too_strong_says_so_once(
    settings: Settings, app_url: str, tmp_path: Path, how: tuple[bool, bool], warnings: int
) -> None:
    service = Service.start(ours(settings, app_url, tmp_path, how))
    forget_loggers()
    try:
        with capture_logs() as logged:
            assert [service.client().get("/readyz").status_code for _ in range(2)] == [200, 200]
            service.app.register()
        assert [line["event"] for line in logged].count("database role too strong") == warnings
    finally:
        service.stop()
        forget_loggers()


@pytest.mark.parametrize(("how", "warnings"), SURROUNDINGS)
def test_a_worker_on_a_role_that_is_too_strong_says_so_once(
    settings: Settings, app_url: str, tmp_path: Path, how: tuple[bool, bool], warnings: int
) -> None:
    wanted = ours(settings, app_url, tmp_path, how)
    env = dict(os.environ) | {"EHC_DATABASE_URL": wanted.database_url, "EHC_KEK_FILE": str(wanted.kek_file)}
    env |= {"EHC_DEMO": "1" if wanted.demo else ""}
    command = [sys.executable, "-c", "from ehc.commands import main; main()", "worker", "--drain"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("database role too strong") == warnings


def test_a_role_that_is_not_there_is_told_so(database_url: str) -> None:
    result = ehc(database_url, "db", "app-role", 'nobody"; DROP TABLE audit; --')
    assert (result.exit_code, "no such database role" in result.stderr) == (1, True)
