"""The bank fails in each of its ways at each step: nothing is bound twice, nothing is lost, and every unknown is settled."""

import time
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text

from ehc.binding import bank_calls, bank_comparison, tasks
from ehc.cards.bank_models import OPEN, BankAccountRow
from ehc.cards.states import Party
from ehc.cards.store import Acting
from ehc.dev.simulators.controls import Controls
from ehc.dev.simulators.party import MODES
from ehc.outside.bank_gateway import Agreement, Refusal, Refused, Started, WrongCode
from tests.contract.helpers import at_once, elsewhere, problem, secrets_of
from tests.integration.outside import asking, outside, simulators
from tests.support.bank import (
    CONFIRMING,
    ENDING,
    STARTING,
    account_number,
    bound,
    confirm,
    delete,
    desk_of,
    rows,
    run_jobs,
    start,
    started,
    starts,
    state,
    states,
    worker_of,
)
from tests.support.service import Service, told

__all__ = ["asking", "outside", "simulators"]

NUMBER = account_number()
ASKING = "/v1/bindings/status"
LATE = 2.4
"""Seconds after which a slow bank acts: the caller has left by then."""
FAULTS = sorted(set(MODES) - {"normal"})
UNHEARD = {"down", "http-500"}
"""With these the bank does nothing."""


@pytest.fixture
def card(asking: Service) -> str:
    return str(asking.app.register(1)["card_id"])


def fail(bank: Controls, path: str, mode: str, *, seconds: float = LATE) -> None:
    """The next question to this path is answered so."""
    if mode != "normal":
        bank.set_mode(mode, party="bank", path=path, seconds=seconds, times=1)


def quiet(bank: Controls) -> None:
    """Wait until the bank has done all that it was asked."""
    deadline = time.monotonic() + 10
    while bank.state()["parties"]["bank"]["waiting"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def settle(service: Service) -> None:
    """The jobs find out what came of it."""
    service.clock.advance(21)
    run_jobs(service)


def agree(service: Service, bank: Controls) -> None:
    """Both ends know the same, nothing is open, one agreement at most stands, and a comparison finds no difference."""
    quiet(bank)
    there, here = bank.bank_bindings(), rows(service)
    assert [row["state"] for row in here if row["state"] in OPEN] == []
    for row in here:
        assert (row["state"] == "bound") == (there.get(str(row["start_request"])) == "bound"), (row["state"], there)
        assert (row["number_index"] is None) == (row["state"] != "bound")
    assert set(there) <= {str(row["start_request"]) for row in here}
    assert list(there.values()).count("bound") <= 1
    with desk_of(service) as desk:
        assert bank_comparison.compare(desk, now=service.clock.now()).differences == []
    with service.session() as session:
        failed = session.scalars(text("SELECT task_name FROM procrastinate_jobs WHERE status = 'failed'")).all()
    assert failed == []


# --- start x confirm x fault


@pytest.mark.parametrize("second", ["normal", *FAULTS])
@pytest.mark.parametrize("first", ["normal", *FAULTS])
def test_whatever_fails_at_either_step_the_account_is_bound_once(
    asking: Service, outside: Controls, card: str, first: str, second: str
) -> None:
    fail(outside, STARTING, first)
    answer = start(asking.app, card)
    assert answer.status_code == (201 if first == "normal" else 202), answer.text
    quiet(outside)
    settle(asking)
    if first in UNHEARD:
        assert [row["failed_for"] for row in rows(asking)] == ["not-received"]
        answer = start(asking.app, card)
        assert answer.status_code == 201, answer.text
    account_id = told(answer)["account_id"]
    assert state(asking.app, card, account_id)["state"] == "started"

    fail(outside, CONFIRMING, second)
    code = outside.bank_code(NUMBER[-4:])
    answer = confirm(asking.app, card, account_id, code)
    assert answer.status_code == (200 if second == "normal" else 202), answer.text
    if second != "normal":
        assert problem(confirm(asking.app, card, account_id, code)) == (409, "bank-pending")
        assert problem(start(asking.app, card)) == (409, "bank-pending")
    quiet(outside)
    settle(asking)
    if second in UNHEARD:
        assert told(confirm(asking.app, card, account_id, code))["state"] == "bound"
    assert state(asking.app, card, account_id)["state"] == "bound"
    assert list(outside.bank_bindings().values()).count("bound") == 1
    agree(asking, outside)


@pytest.mark.parametrize("mode", FAULTS)
@pytest.mark.parametrize("waiting", [True, False], ids=["started", "bound"])
def test_whatever_fails_at_the_end_it_ends_at_both_ends(
    asking: Service, outside: Controls, card: str, mode: str, waiting: bool
) -> None:
    account_id = started(asking.app, card) if waiting else bound(asking, outside, card)
    fail(outside, ENDING, mode)
    assert told(delete(asking.app, card, account_id))["state"] == "ending"
    run_jobs(asking, rounds=1)
    assert states(asking) == ["ending"]
    run_jobs(asking)
    assert states(asking) == ["ended"]
    agree(asking, outside)


@pytest.mark.parametrize("mode", FAULTS)
@pytest.mark.parametrize("step", [STARTING, CONFIRMING])
def test_whatever_fails_while_it_is_asked_about_it_is_asked_again(
    asking: Service, outside: Controls, card: str, step: str, mode: str
) -> None:
    account_id = None if step == STARTING else started(asking.app, card)
    with asking.session() as session:
        session.execute(text("DELETE FROM procrastinate_jobs"))  # of the start, which would ask too
    fail(outside, step, "lost-answer")
    answer = (
        start(asking.app, card)
        if account_id is None
        else confirm(asking.app, card, account_id, outside.bank_code(NUMBER[-4:]))
    )
    assert answer.status_code == 202
    before = states(asking)
    fail(outside, ASKING, mode)
    asking.clock.advance(21)
    run_jobs(asking, rounds=1)
    assert states(asking) == before
    run_jobs(asking)
    assert states(asking) == [{"starting": "started", "confirming": "bound"}[before[0]]]
    if step == STARTING:
        confirm(asking.app, card, told(answer)["account_id"], outside.bank_code(NUMBER[-4:]))
    agree(asking, outside)


@pytest.mark.parametrize("mode", FAULTS)
def test_a_start_that_never_came_is_not_given_up_before_the_bank_was_told(
    asking: Service, outside: Controls, card: str, mode: str
) -> None:
    fail(outside, STARTING, "down")
    start(asking.app, card)
    fail(outside, ENDING, mode)
    asking.clock.advance(21)
    run_jobs(asking, rounds=1)
    assert states(asking) == ["starting"]
    run_jobs(asking)
    assert states(asking) == ["failed"]
    agree(asking, outside)


# --- what arrives late


def test_a_start_that_arrives_after_it_was_given_up_binds_nothing(
    asking: Service, outside: Controls, card: str
) -> None:
    fail(outside, STARTING, "slow", seconds=7)
    assert start(asking.app, card).status_code == 202
    settle(asking)  # before the bank reads it
    assert states(asking) == ["failed"]
    quiet(outside)
    assert list(outside.bank_bindings().values()) == ["ended"]
    bound(asking, outside, card)
    agree(asking, outside)


def test_a_confirmation_that_arrives_after_it_was_asked_about_is_found_when_the_code_is_sent_again(
    asking: Service, outside: Controls, card: str
) -> None:
    account_id = started(asking.app, card)
    code = outside.bank_code(NUMBER[-4:])
    fail(outside, CONFIRMING, "slow", seconds=7)
    assert confirm(asking.app, card, account_id, code).status_code == 202
    settle(asking)
    assert states(asking) == ["started"]
    quiet(outside)
    assert list(outside.bank_bindings().values()) == ["bound"]
    assert told(confirm(asking.app, card, account_id, code))["state"] == "bound"
    agree(asking, outside)


@pytest.mark.parametrize("who", ["comparison", "job", "holder"])
def test_a_confirmation_that_arrived_late_is_found_by_itself_too(
    asking: Service, outside: Controls, card: str, who: str
) -> None:
    account_id = started(asking.app, card)
    outside.set_bank_binding(starts(asking)[0], "bound")  # it arrived, when we believed that it waits for its code
    if who == "comparison":
        with desk_of(asking) as desk:
            report = bank_comparison.compare(desk, now=asking.clock.now())
        assert [(one["what"], one["done"]) for one in report.differences] == [("unsettled-started", "bound here")]
    elif who == "job":
        with asking.session() as session:
            session.execute(text("UPDATE bank_account SET expires_at = :now"), {"now": asking.clock.now()})
        with worker_of(asking) as place:
            tasks.settle_at_bank(place, account_id)
    else:
        delete(asking.app, card, account_id)
        run_jobs(asking)
    assert states(asking) == ["ended" if who == "holder" else "bound"]
    agree(asking, outside)


AFTER = {
    (STARTING, "down"): "failed",
    (STARTING, "lost-answer"): "started",
    (CONFIRMING, "down"): "started",
    (CONFIRMING, "lost-answer"): "bound",
    (ENDING, "down"): "ended",
    (ENDING, "lost-answer"): "ended",
}
"""What is settled after which fault at which step."""


@pytest.mark.parametrize("case", AFTER, ids=str)
@pytest.mark.parametrize("who", ["sweep", "comparison"])
def test_a_job_that_is_gone_is_made_up_for(
    asking: Service, outside: Controls, card: str, who: str, case: tuple[str, str]
) -> None:
    step, mode = case
    if step == STARTING:
        fail(outside, step, mode)
        start(asking.app, card)
    else:
        account_id = started(asking.app, card)
        code = outside.bank_code(NUMBER[-4:])
        fail(outside, step, mode)
        confirm(asking.app, card, account_id, code)
        if step == ENDING:
            delete(asking.app, card, account_id)
            run_jobs(asking, rounds=1)
    with asking.session() as session:
        session.execute(text("DELETE FROM procrastinate_jobs"))
    asking.clock.advance(121)
    with worker_of(asking) as place:
        if who == "sweep":
            tasks.sweep_bank(place)
            tasks.sweep_bank(place)
        else:
            tasks.compare_with_bank(place)
    run_jobs(asking)
    assert states(asking) == [AFTER[case]]
    if states(asking) == ["started"]:
        delete(asking.app, card, str(rows(asking)[0]["id"]))
        run_jobs(asking)
    agree(asking, outside)


def test_one_that_is_fresh_is_left_alone_by_the_sweep(asking: Service, outside: Controls, card: str) -> None:
    fail(outside, STARTING, "down")
    start(asking.app, card)
    with asking.session() as session:
        session.execute(text("DELETE FROM procrastinate_jobs"))
    for seconds, jobs in ((119, 0), (1, 1), (0, 1)):
        asking.clock.advance(seconds)
        with worker_of(asking) as place:
            tasks.sweep_bank(place)
        with asking.session() as session:
            assert session.scalar(text("SELECT count(*) FROM procrastinate_jobs")) == jobs


def test_a_bank_that_is_away_for_long_loses_nothing(asking: Service, outside: Controls, card: str) -> None:
    account_id = started(asking.app, card)
    code = outside.bank_code(NUMBER[-4:])
    outside.set_mode("lost-answer", party="bank")
    assert confirm(asking.app, card, account_id, code).status_code == 202
    outside.set_mode("down", party="bank")
    for _ in range(4):
        asking.clock.advance(21)
        run_jobs(asking, rounds=1)
    assert states(asking) == ["confirming"]
    outside.set_mode("normal", party="bank")
    run_jobs(asking)
    assert states(asking) == ["bound"]
    agree(asking, outside)


# --- answers that come twice, or behind another word


def held(service: Service) -> BankAccountRow:
    """The one account, as somebody remembers it who asked the bank."""
    with service.session() as session:
        row = session.scalars(select(BankAccountRow)).one()
        session.expunge(row)
        return row


def agreement(row: BankAccountRow) -> Agreement:
    return Agreement(row.start_request, "t" * 24, row.bank, row.kind, NUMBER[-4:])


BY = Acting("app:test", Party.RESIDENT)


@pytest.mark.parametrize("answer", ["agreement", "refused", "wrong-code"])
@pytest.mark.parametrize("settled", ["started", "bound", "failed", "ended"])
def test_an_answer_to_a_confirmation_that_was_settled_changes_nothing(
    asking: Service, outside: Controls, card: str, settled: str, answer: str
) -> None:
    account_id = started(asking.app, card)
    code = outside.bank_code(NUMBER[-4:])
    fail(outside, CONFIRMING, "lost-answer" if settled in {"bound", "ended"} else "down")
    assert confirm(asking.app, card, account_id, code).status_code == 202
    stale = held(asking)
    if settled == "failed":
        outside.set_bank_binding(str(stale.start_request), "expired")
    settle(asking)
    if settled == "ended":
        delete(asking.app, card, account_id)
        run_jobs(asking)
    before = rows(asking)
    assert before[0]["state"] == settled
    said = {"agreement": agreement(stale), "refused": Refused(Refusal.ACCOUNT_STATE), "wrong-code": WrongCode(1)}[
        answer
    ]
    with asking.session() as session:
        secrets, now = secrets_of(asking), asking.clock.now()
        bank_calls.confirmed(session, stale, said, acting=BY, secrets=secrets, now=now)  # type: ignore[arg-type]  # one of
    assert rows(asking) == before


@pytest.mark.parametrize("said", [Started(300), Refused(Refusal.FACTORS)], ids=["started", "refused"])
@pytest.mark.parametrize("settled", ["started", "failed", "bound", "ended"])
def test_an_answer_to_a_start_that_was_settled_changes_nothing(
    asking: Service, outside: Controls, card: str, settled: str, said: Started | Refused
) -> None:
    fail(outside, STARTING, "down" if settled == "failed" else "lost-answer")
    account_id = told(start(asking.app, card))["account_id"]
    stale = held(asking)
    settle(asking)
    if settled in {"bound", "ended"}:
        confirm(asking.app, card, account_id, outside.bank_code(NUMBER[-4:]))
    if settled == "ended":
        delete(asking.app, card, account_id)
        run_jobs(asking)
    before = rows(asking)
    assert before[0]["state"] == settled
    with asking.session() as session:
        bank_calls.started(session, stale, said, now=asking.clock.now())
    assert rows(asking) == before


def test_an_answer_to_an_earlier_confirmation_is_not_taken_for_the_later_ones(
    asking: Service, outside: Controls, card: str
) -> None:
    account_id = started(asking.app, card)
    code = outside.bank_code(NUMBER[-4:])
    fail(outside, CONFIRMING, "down")
    confirm(asking.app, card, account_id, code)
    stale = held(asking)
    settle(asking)
    fail(outside, CONFIRMING, "down")
    confirm(asking.app, card, account_id, code)
    before = rows(asking)
    with asking.session() as session:
        secrets, now = secrets_of(asking), asking.clock.now()
        bank_calls.confirmed(session, stale, WrongCode(0), acting=BY, secrets=secrets, now=now)
    assert rows(asking) == before
    settle(asking)
    assert told(confirm(asking.app, card, account_id, code))["state"] == "bound"
    agree(asking, outside)


def test_a_job_that_runs_twice_settles_once(asking: Service, outside: Controls, card: str) -> None:
    account_id = started(asking.app, card)
    fail(outside, CONFIRMING, "lost-answer")
    confirm(asking.app, card, account_id, outside.bank_code(NUMBER[-4:]))
    asking.clock.advance(21)
    with desk_of(asking) as desk:
        now = asking.clock.now()
        at_once(*(lambda: bank_calls.settle(desk, UUID(account_id), now=now) for _ in range(4)))
    with asking.session() as session:
        actions = session.scalars(text("SELECT action FROM binding_event ORDER BY ctid")).all()
    assert actions == ["started", "bound"]
    agree(asking, outside)


def test_of_confirmations_at_once_the_bank_hears_one(asking: Service, outside: Controls, card: str) -> None:
    account_id = started(asking.app, card)
    code = outside.bank_code(NUMBER[-4:])
    asked = outside.state()["parties"]["bank"]["asked"]
    apis = [elsewhere(asking.app, asking.flask) for _ in range(4)]
    answers = at_once(*(lambda api=api: confirm(api, card, account_id, code) for api in apis))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert {problem(answer) for answer in answers if answer.status_code == 409} <= {(409, "bank-pending")}
    assert outside.state()["parties"]["bank"]["asked"] == asked + 1
    agree(asking, outside)


def test_a_service_that_dies_before_it_asked_leaves_a_start_that_is_given_up(
    asking: Service, outside: Controls, card: str
) -> None:
    account_id = started(asking.app, card)
    with asking.session() as session:  # as a start is committed before the bank is asked
        session.execute(text("UPDATE bank_account SET state = 'starting', start_request = :new"), {"new": uuid4()})
    asking.clock.advance(21)
    with worker_of(asking) as place:
        tasks.settle_at_bank(place, account_id)
    assert [row["failed_for"] for row in rows(asking)] == ["not-received"]


# --- the bank binds another account


def test_an_agreement_about_another_account_is_refused_and_ended_at_the_bank(
    asking: Service, outside: Controls, card: str
) -> None:
    account_id = started(asking.app, card)
    outside.set_bank_binding(starts(asking)[0], "started", last4="9999")
    code = outside.bank_code("9999")
    assert problem(confirm(asking.app, card, account_id, code)) == (409, "bank-refused")
    (row,) = rows(asking)
    assert (row["state"], row["ended_for"], row["last4"]) == ("ending", "bank-other-account", NUMBER[-4:])
    assert (row["token"], row["bound_at"], row["is_default"]) == (None, None, False)
    run_jobs(asking)
    assert states(asking) == ["ended"]
    assert list(outside.bank_bindings().values()) == ["ended"]
    agree(asking, outside)


def test_an_agreement_about_another_account_is_found_out_where_its_answer_was_lost(
    asking: Service, outside: Controls, card: str
) -> None:
    account_id = started(asking.app, card)
    fail(outside, CONFIRMING, "lost-answer")
    assert confirm(asking.app, card, account_id, outside.bank_code(NUMBER[-4:])).status_code == 202
    quiet(outside)
    outside.set_bank_binding(starts(asking)[0], "bound", last4="9999")
    settle(asking)
    run_jobs(asking)
    assert [(row["state"], row["ended_for"]) for row in rows(asking)] == [("ended", "bank-other-account")]
    assert list(outside.bank_bindings().values()) == ["ended"]


def test_after_an_agreement_about_another_account_the_right_one_may_be_bound(
    asking: Service, outside: Controls, card: str
) -> None:
    account_id = started(asking.app, card)
    outside.set_bank_binding(starts(asking)[0], "started", last4="9999")
    code = outside.bank_code("9999")
    confirm(asking.app, card, account_id, code)
    run_jobs(asking)
    bound(asking, outside, card)
    assert sorted(states(asking)) == ["bound", "ended"]
