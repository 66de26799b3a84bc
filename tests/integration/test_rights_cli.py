"""`ehc cards …` for staff: moves of cards, the way back for a cancelled one, and corrections that people ask for."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from ehc.commands import main
from ehc.issuer import retention
from tests.contract.helpers import problem, secrets_of
from tests.contract.rights import close
from tests.support.service import Service
from tests.support.service import told as answered

Run = Callable[..., Result]
BY = ("--by", "S-7", "--reason", "独特的原因")


@pytest.fixture
def run(database_url: str) -> Run:
    """Runs `ehc cards …` on the test's database."""

    def command(*words: str) -> Result:
        return CliRunner().invoke(main, ["cards", *words], env={"EHC_DATABASE_URL": database_url})

    return command


def done(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return str(result.stdout).strip()


def failed(result: Result) -> str:
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return str(result.stderr)


def status(service: Service, card_id: str) -> str:
    return str(answered(service.app.get(f"/v1/cards/{card_id}"))["status"])


def test_staff_move_a_card_through_its_states(run: Run, service: Service) -> None:
    card_id = service.app.register()["card_id"]
    for how, end in (
        ("suspend", "suspended"),
        ("resume", "active"),
        ("report-loss", "lost"),
        ("recover", "active"),
        ("cancel", "cancelled"),
        ("restore", "active"),
    ):
        assert done(run(how, card_id, *BY)) == end
    with service.session() as session:
        rows = session.execute(
            text("SELECT action, actor, party, clerk IS NOT NULL FROM card_event WHERE party = 'staff'")
        )
        told = {row[0]: tuple(row[1:]) for row in rows}
        acts = "".join(session.scalars(text("SELECT entry FROM audit")))
    assert set(told) == {"suspended", "resumed", "loss-reported", "recovered", "cancelled", "restored"}
    assert {row[:2] for row in told.values()} == {("staff:S-7", "staff")}
    assert {action for action, row in told.items() if row[2]} == {"recovered", "restored"}  # who saw the document
    assert "独特" not in acts


def test_a_card_that_staff_suspended_is_resumed_by_staff_only(run: Run, service: Service) -> None:
    card_id = service.app.register()["card_id"]
    done(run("suspend", card_id, *BY))
    path = f"/v1/cards/{card_id}/resume"
    assert problem(service.app.post(path, {"reason": "r"})) == (409, "held-by-staff")
    assert done(run("resume", card_id, *BY)) == "active"


@pytest.mark.parametrize("how", ["resume", "recover", "restore"])
def test_a_move_that_the_state_does_not_allow_is_a_sentence(run: Run, service: Service, how: str) -> None:
    card_id = service.app.register()["card_id"]
    assert failed(run(how, card_id, *BY))
    assert status(service, card_id) == "active"


@pytest.mark.parametrize("how", ["suspend", "resume", "report-loss", "recover", "cancel", "restore"])
def test_every_move_wants_a_card_a_name_and_a_reason(run: Run, how: str) -> None:
    nobody = "0190163d-8694-739b-aea5-966c26f8ad91"
    assert "There is no such card" in failed(run(how, nobody, *BY))
    assert run(how, nobody, *BY[:2]).exit_code == 2
    assert run(how, nobody, *BY[2:]).exit_code == 2


def test_a_restored_card_is_seen_again_after_registering_again(run: Run, service: Service) -> None:
    card_id = service.app.register()["card_id"]
    close(service.app, card_id)
    assert done(run("restore", card_id, *BY)) == "active"
    with service.session() as session:
        assert session.scalars(text("SELECT erase_after FROM resident")).one() is None
    assert answered(service.app.get(f"/v1/cards/{card_id}"))["resident"]["name"] is None
    assert service.app.register()["card_id"] == card_id
    assert answered(service.app.get(f"/v1/cards/{card_id}"))["resident"]["name"] == "王**"


def test_staff_undo_a_death_notice_in_error(run: Run, service: Service) -> None:
    card_id = service.app.register()["card_id"]
    with service.session() as session:
        session.execute(text("UPDATE card SET status = 'cancelled', cause = 'deceased'"))
    assert done(run("restore", card_id, *BY)) == "active"


@pytest.mark.parametrize("cause", ["joined", "expired"])
def test_a_card_that_goes_on_elsewhere_is_not_restored(run: Run, service: Service, cause: str) -> None:
    card_id = service.app.register()["card_id"]
    with service.session() as session:
        session.execute(text("UPDATE card SET status = 'cancelled', cause = :cause"), {"cause": cause})
    assert "cancelled" in failed(run("restore", card_id, *BY))
    assert status(service, card_id) == "cancelled"


@pytest.mark.parametrize("how", ["close", "cancel"])
def test_an_erased_card_is_not_restored(run: Run, service: Service, how: str) -> None:
    card_id = service.app.register()["card_id"]
    service.app.post(f"/v1/cards/{card_id}/{how}", {"reason": "r"})
    with service.session() as session:
        session.execute(text("UPDATE resident SET erase_after = '2000-01-01'"))
        assert retention.erase(session, secrets=secrets_of(service), now=service.clock.now()) == 1
    assert failed(run("restore", card_id, *BY))


def ask(service: Service, card_id: str, **body: Any) -> str:
    asked = {"field": "address", "wanted": "独特路2号", "reason": "搬家独特"} | body
    return str(answered(service.app.post(f"/v1/cards/{card_id}/corrections", asked))["correction_id"])


def test_requests_are_listed_without_what_they_ask_for(run: Run, service: Service) -> None:
    assert done(run("corrections")) == ""
    card_id = service.app.register()["card_id"]
    first = ask(service, card_id)
    service.clock.advance(1)
    second = ask(service, card_id, field="other", wanted="独特")
    lines = done(run("corrections")).splitlines()
    assert [line.split()[0] for line in lines] == [first, second]
    assert [line.split()[1::2] for line in lines] == [[card_id, "address"], [card_id, "other"]]
    assert "独特" not in "".join(lines)


def test_reading_a_request_is_told_to_the_holder(run: Run, service: Service) -> None:
    card_id = service.app.register()["card_id"]
    made = ask(service, card_id)
    told = done(run("corrections", "--show", made))
    assert told.splitlines() == ["field  address", "wanted 独特路2号", "reason 搬家独特"]
    with service.session() as session:
        acts = session.scalars(text("SELECT entry FROM audit WHERE action = 'card.correction-read'")).all()
    assert len(acts) == 1
    assert "独特" not in acts[0]
    nobody = "0190163d-8694-739b-aea5-966c26f8ad91"
    assert "No request with this id waits" in failed(run("corrections", "--show", nobody))


@pytest.mark.parametrize(
    ("how", "word", "address"), [("--grant", "granted", "独特路2号"), ("--refuse", "refused", None)]
)
def test_a_request_is_decided_once(run: Run, service: Service, how: str, word: str, address: str | None) -> None:
    card_id = service.app.register()["card_id"]
    made = ask(service, card_id)
    assert done(run("correct", made, how, *BY)) == word
    assert answered(service.app.post(f"/v1/cards/{card_id}/export", {}))["holder"]["address"] == address
    assert done(run("corrections")) == ""
    assert "No request with this id waits" in failed(run("correct", made, how, *BY))


@pytest.mark.parametrize("words", [BY, ("--grant", *BY[:2]), ("--grant", *BY[2:])], ids=["decision", "reason", "who"])
def test_a_decision_says_what_it_lacks(run: Run, service: Service, words: tuple[str, ...]) -> None:
    made = ask(service, service.app.register()["card_id"])
    assert run("correct", made, *words).exit_code == 2
    assert len(done(run("corrections")).splitlines()) == 1


def test_the_commands_run_on_the_machines_own_clock(run: Run, service: Service) -> None:
    card_id = service.app.register()["card_id"]
    done(run("suspend", card_id, *BY))
    with service.session() as session:
        at = session.scalars(text("SELECT status_changed_at FROM card")).one()
    assert abs(at - service.clock.now()) < timedelta(minutes=5)
