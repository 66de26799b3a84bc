"""`ehc terminals …` on a database of its own, and the upkeep of what enrolments and assertions leave."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import func, select

from ehc.access.terminal_models import ClientAssertionRow, EnrolmentRow, TerminalRow
from ehc.audit import AuditRow
from ehc.commands import main
from ehc.place import Place
from ehc.worker import upkeep
from tests.support.service import Service
from tests.support.service import told as answered
from tests.support.terminals import KeyTerminal, enrolling, new_key

Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str) -> Run:
    """Runs `ehc terminals …` on the test's database; what it prints."""

    def command(*words: str) -> Result:
        return CliRunner().invoke(main, ["terminals", *words], env={"EHC_DATABASE_URL": database_url})

    return command


def enrolled(service: Service, code: str) -> KeyTerminal:
    key = new_key()
    service.clock.at = datetime.now(UTC)  # the command line goes by the real clock
    answer = service.client().post("/v1/terminals/enrol", json=enrolling(service, code, key))
    assert answer.status_code == 201, answer.text
    return KeyTerminal(service.client(), service, key, answered(answer))


def test_a_terminal_is_enrolled_blocked_unblocked_and_replaced(run: Run, service: Service, tmp_path: Path) -> None:
    picture = tmp_path / "code.svg"
    steps = ("--step", "registration", "--step", "payment")
    made = run(
        "enrol", "H1", "K-1", "自助机一号", "--kind", "kiosk", "--department", "0300", *steps, "--qr", str(picture)
    )
    assert made.exit_code == 0, made.output
    assert picture.read_bytes().startswith(b"<svg ")
    old = enrolled(service, made.stdout.strip())
    assert old.about["configuration"]["steps"] == ["registration", "payment"]
    client_id = old.about["client_id"]
    assert run("block", client_id, "--reason", "lost").exit_code == 0
    assert old.ask().status_code == 401
    assert "blocked" in next(line for line in run("list").stdout.splitlines() if line.startswith(client_id))
    assert run("unblock", client_id).exit_code == 0
    assert old.ask().status_code == 200
    new = enrolled(service, run("replace", client_id).stdout.strip())
    assert new.about["terminal_code"] == "K-1"
    assert old.ask().status_code == 401
    with service.session() as session:
        actions = set(session.scalars(select(AuditRow.action).where(AuditRow.subject == client_id)))
    assert {"terminal.enrolled", "terminal.blocked", "terminal.unblocked", "terminal.replaced"} <= actions


def test_the_report_lists_what_wants_looking_after(run: Run, service: Service) -> None:
    assert run("release", "window", "2.0").exit_code == 0
    lines = run("report", "--silent-minutes", "15").stdout.splitlines()
    assert {line.split()[0] for line in lines} == {"outdated"}
    assert len(lines) == 2
    assert run("release", "window", "two").exit_code == 2


def test_a_terminal_is_changed_by_what_is_named_and_nothing_else(run: Run, service: Service) -> None:
    terminal = enrolled(
        service, run("enrol", "H1", "K-2", "自助机", "--kind", "kiosk", "--step", "payment").stdout.strip()
    )
    client_id = terminal.about["client_id"]
    assert run("change", client_id, "--name", "二号机", "--step", "surgery").exit_code == 0
    told = answered(terminal.log_in().get("/v1/terminals/self"))["configuration"]
    assert (told["name"], told["kind"], told["steps"], told["revision"]) == ("二号机", "kiosk", ["surgery"], 2)
    assert run("change", client_id, "--all-steps", "--kind", "gate").exit_code == 0
    told = answered(terminal.get("/v1/terminals/self"))["configuration"]
    assert (told["name"], told["kind"], told["steps"]) == ("二号机", "gate", None)
    assert run("change", client_id).exit_code == 2
    assert run("change", client_id, "--all-steps", "--step", "surgery").exit_code == 2


def test_a_code_is_taken_back(run: Run, service: Service) -> None:
    code = run("enrol", "H1", "K-3", "窗口").stdout.strip()
    (line,) = run("enrolments").stdout.splitlines()
    assert line.split()[1:3] == ["waiting", "K-3"]
    assert code not in line
    assert run("take-back", line.split()[0]).exit_code == 0
    assert run("enrolments").stdout.split()[1] == "cancelled"
    service.clock.at = datetime.now(UTC)
    answer = service.client().post("/v1/terminals/enrol", json=enrolling(service, code, new_key()))
    assert answer.status_code == 403


def test_what_is_not_there_is_a_sentence(run: Run) -> None:
    for words in (("block", "terminal-0", "--reason", "lost"), ("unblock", "terminal-0"), ("replace", "terminal-0")):
        result = run(*words)
        assert result.exit_code == 1
        assert "There is no such terminal." in result.stderr
    assert run("enrol", "H0", "K-1", "窗口").exit_code == 1


def test_every_terminal_that_the_command_line_adds_has_its_row(service: Service) -> None:
    with service.session() as session:
        assert session.scalar(select(func.count()).select_from(TerminalRow)) == 2


def test_the_upkeep_forgets_what_is_out_of_date(service: Service) -> None:
    KeyTerminal.enrolled(service).log_in()
    service.clock.advance(timedelta(hours=1).total_seconds())
    place = Place(service.settings, clock=service.clock)
    upkeep(place)
    place.engine.dispose()
    with service.session() as session:
        assert session.scalar(select(func.count()).select_from(ClientAssertionRow)) == 0
        assert set(session.scalars(select(EnrolmentRow.code_index))) == {None}
