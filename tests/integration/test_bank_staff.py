"""`ehc bindings bank …` for staff: what is bound, an end, a comparison and its reports."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from ehc.commands import main
from ehc.dev.simulators.controls import Controls
from ehc.dev.simulators.launcher import Simulators
from tests.integration.outside import asking, outside, simulators
from tests.support.bank import account_number, bound, rows, run_jobs, started, starts, states
from tests.support.service import Service

__all__ = ["asking", "outside", "simulators"]

Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str, simulators: Simulators) -> Run:
    """Runs `ehc bindings bank …` on the test's database, with the simulated bank."""
    env = {"EHC_DATABASE_URL": database_url} | simulators.environment()

    def command(*words: str, **changes: str) -> Result:
        return CliRunner().invoke(main, ["bindings", "bank", *words], env=env | changes)

    return command


@pytest.fixture
def card(asking: Service) -> str:
    return str(asking.app.register(1)["card_id"])


def test_staff_see_what_is_and_was_bound(asking: Service, outside: Controls, card: str, run: Run) -> None:
    account = bound(asking, outside, card)
    asking.clock.advance(1)
    started(asking.app, card, account_number(2))
    first, second = (line.split() for line in run("list", card).stdout.splitlines())
    assert first[:8] == [account, "ICBC", "debit", account_number()[-4:], "self", "bound", "-", "default"]
    assert second[5] == "started"
    assert account_number() not in run("list", card).output
    assert run("list", str(uuid4())).exit_code == 1


def test_staff_end_a_binding_and_say_why(asking: Service, outside: Controls, card: str, run: Run) -> None:
    account = bound(asking, outside, card)
    words = ("end", account, "--by", "007", "--reason", "盗用")
    for _ in range(2):
        done = run(*words)
        assert (done.exit_code, done.stdout.strip()) == (0, "ending"), done.output
    run_jobs(asking)
    assert run(*words).stdout.strip() == "ended"
    assert [(row["state"], row["ended_for"]) for row in rows(asking)] == [("ended", "staff")]
    assert list(outside.bank_bindings().values()) == ["ended"]
    with asking.session() as session:
        audited = session.scalars(text("SELECT entry::text FROM audit WHERE action = 'card.bank-account-ended'")).all()
        sealed = session.scalars(text("SELECT reason FROM binding_event WHERE party = 'staff'")).all()
    assert ["staff:007" in entry for entry in audited] == [True]
    assert "盗用" not in "".join(audited)
    assert [bool(reason) for reason in sealed] == [True]
    assert run("end", str(uuid4()), "--by", "007", "--reason", "盗用").exit_code == 1


def test_staff_compare_and_read_the_reports(asking: Service, outside: Controls, card: str, run: Run) -> None:
    bound(asking, outside, card)
    outside.set_bank_binding(starts(asking)[0], "forgotten")
    done = run("compare")
    assert done.exit_code == 0, done.output
    head, line = done.stdout.splitlines()
    assert head.endswith("0 agreements, 1 differences")
    assert line.split() == [starts(asking)[0], "only-here:", "ended", "here"]
    assert states(asking) == ["ended"]
    outside.set_mode("down", party="bank")
    broken = run("compare")
    assert (broken.exit_code, "Traceback" in broken.output) == (1, False)
    outside.set_mode("normal", party="bank")
    assert [line.rpartition(", ")[2] for line in run("reports").stdout.splitlines()] == ["broken off", "1 differences"]
    assert len(run("reports", "--whole").stdout.splitlines()) == 3
    assert len(run("reports", "--most", "1").stdout.splitlines()) == 1


def test_without_a_bank_there_is_nothing_to_compare_with(run: Run, asking: Service) -> None:
    done = run("compare", EHC_BANK_URL="", EHC_BANK_KEY_FILE="")
    assert (done.exit_code, "EHC_BANK_URL" in done.stderr) == (1, True)
