"""Bank accounts, asked for as an app asks, of a simulated bank: bound, refused, chosen, ended, and told to whom."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from ehc.app import create_app, database
from ehc.binding import tasks
from ehc.dev.simulators.controls import Controls
from ehc.issuer import tasks as issuer_tasks
from ehc.place import Place
from ehc.settings import SettingsError
from tests.contract.helpers import at_once, elsewhere, problem, wrong
from tests.integration.outside import asking, outside, place, simulators
from tests.support import families
from tests.support.bank import (
    PHONE,
    account_number,
    bound,
    confirm,
    delete,
    expire_code,
    factors,
    other,
    path,
    rows,
    run_jobs,
    start,
    started,
    starts,
    state,
    states,
)
from tests.support.service import Service, citizen_number, told

__all__ = ["asking", "outside", "place", "simulators"]

NUMBER, SECOND = account_number(1), account_number(2)


@pytest.fixture
def card(asking: Service) -> str:
    """The card of `person(1)`."""
    return str(asking.app.register(1)["card_id"])


def payable(service: Service) -> list[dict[str, Any]]:
    with service.session() as session:
        return [dict(row) for row in session.execute(text("SELECT * FROM payable")).mappings()]


def actions(service: Service) -> list[str]:
    with service.session() as session:
        wanted = "SELECT action FROM binding_event WHERE kind = 'bank-account' ORDER BY ctid"
        return list(session.scalars(text(wanted)))


# --- two steps


def test_an_account_is_bound_in_two_steps(asking: Service, outside: Controls, card: str) -> None:
    answer = start(asking.app, card)
    assert answer.status_code == 201, answer.text
    begun = told(answer)
    assert {name: begun[name] for name in ("state", "bank", "bank_name", "kind", "last4", "payer", "default")} == {
        "state": "started",
        "bank": "ICBC",
        "bank_name": "中国工商银行",
        "kind": "debit",
        "last4": NUMBER[-4:],
        "payer": "self",
        "default": False,
    }
    assert begun["expires_at"] > asking.clock.now().isoformat()[:19]
    answer = confirm(asking.app, card, begun["account_id"], outside.bank_code(NUMBER[-4:]))
    assert answer.status_code == 200, answer.text
    made = told(answer)
    assert (made["state"], made["default"]) == ("bound", True)
    assert (made["single_limit"], made["day_limit"]) == (500_000, 2_000_000)
    assert "expires_at" not in made
    assert outside.bank_bindings() == {starts(asking)[0]: "bound"}
    assert actions(asking) == ["started", "bound"]
    assert told(asking.app.get(path(card)))["items"] == [made]
    assert told(asking.app.get(f"/v1/cards/{card}/bindings"))["bank_accounts"] == [made]


def test_a_number_may_be_written_in_groups(asking: Service, outside: Controls, card: str) -> None:
    grouped = f"{NUMBER[:4]} {NUMBER[4:8]}-{NUMBER[8:]}"
    assert start(asking.app, card, grouped).status_code == 201
    assert outside.bank_code(NUMBER[-4:])


def test_a_wrong_code_leaves_tries_and_the_last_one_ends_the_start(
    asking: Service, outside: Controls, card: str
) -> None:
    account_id = started(asking.app, card)
    code = outside.bank_code(NUMBER[-4:])
    for left in (2, 1, 0):
        answer = confirm(asking.app, card, account_id, other(code))
        assert problem(answer) == (409, "wrong-bank-code")
        assert f" {left} " in told(answer)["detail"]
    assert state(asking.app, card, account_id)["failed_for"] == "code-expired"
    assert problem(confirm(asking.app, card, account_id, code)) == (409, "account-state")
    assert started(asking.app, card) != account_id  # a new start, at once


def test_after_a_wrong_code_the_right_one_binds(asking: Service, outside: Controls, card: str) -> None:
    account_id = started(asking.app, card)
    code = outside.bank_code(NUMBER[-4:])
    assert problem(confirm(asking.app, card, account_id, other(code))) == (409, "wrong-bank-code")
    assert told(confirm(asking.app, card, account_id, code))["state"] == "bound"
    assert told(confirm(asking.app, card, account_id, code))["state"] == "bound"  # and stays so
    assert actions(asking) == ["started", "code-refused", "bound"]


@pytest.mark.parametrize(
    ("ending", "why"),
    [
        (1111, "factors-mismatch"),
        (2222, "account-state"),
        (3333, "account-class"),
        (4444, "phone-unreachable"),
    ],
)
def test_what_the_bank_refuses_is_told_and_leaves_nothing(
    asking: Service, outside: Controls, card: str, ending: int, why: str
) -> None:
    answer = start(asking.app, card, account_number(ending))
    assert problem(answer) == (409, "bank-refused")
    (row,) = rows(asking)
    assert (row["state"], row["failed_for"], row["number_index"]) == ("failed", why, None)
    assert told(asking.app.get(path(card)))["items"] == []
    assert state(asking.app, card, str(row["id"]))["failed_for"] == why


def test_an_account_that_the_bank_knows_has_to_fit_in_all_four(asking: Service, outside: Controls, card: str) -> None:
    outside.add_account(number=NUMBER, name="王小明", id_type="01", id_number=citizen_number(1), phone=PHONE)
    outside.add_account(number=SECOND, name="李四", id_type="01", id_number=citizen_number(1), phone=PHONE)
    body = factors() | {"phone": "13912345679"}
    assert problem(asking.app.post(path(card), body)) == (409, "bank-refused")
    assert problem(start(asking.app, card, SECOND)) == (409, "bank-refused")
    assert start(asking.app, card).status_code == 201


def test_a_start_that_waits_is_the_same_start(asking: Service, outside: Controls, card: str) -> None:
    first, again = start(asking.app, card), start(asking.app, card)
    assert (first.status_code, again.status_code) == (201, 200)
    assert told(first) == told(again)
    assert len(outside.bank_bindings()) == 1


def test_of_two_starts_at_once_the_bank_hears_one(asking: Service, outside: Controls, card: str) -> None:
    apis = [elsewhere(asking.app, asking.flask) for _ in range(4)]
    answers = at_once(*(lambda api=api: start(api, card) for api in apis))
    assert {answer.status_code for answer in answers} <= {200, 201, 409}
    assert {problem(answer) for answer in answers if answer.status_code == 409} <= {(409, "bank-pending")}
    assert [answer.status_code for answer in answers].count(201) == 1
    assert len(outside.bank_bindings()) == len(rows(asking)) == 1


def test_a_code_that_ran_out_is_taken_back_at_the_bank(asking: Service, outside: Controls, card: str) -> None:
    account_id = started(asking.app, card)
    code = outside.bank_code(NUMBER[-4:])
    with asking.session() as session:
        due = session.scalars(text("SELECT scheduled_at FROM procrastinate_jobs ORDER BY scheduled_at DESC")).first()
    assert due is not None
    assert 300 <= (due - asking.clock.now()).total_seconds() <= 302  # a job that frees the number
    expire_code(asking)
    assert problem(confirm(asking.app, card, account_id, code)) == (409, "account-state")
    assert problem(start(asking.app, card)) == (409, "bank-pending")
    with asking.session() as session:
        session.execute(text("UPDATE procrastinate_jobs SET scheduled_at = now()"))
    run_jobs(asking)
    assert states(asking) == ["failed"]
    assert list(outside.bank_bindings().values()) == ["ended"]
    assert start(asking.app, card).status_code == 201


# --- Idempotency-Key


def test_one_key_is_one_start_whatever_became_of_it(asking: Service, outside: Controls, card: str) -> None:
    first, again = (start(asking.app, card, key="k-1") for _ in range(2))
    assert (first.status_code, again.status_code, again.headers["Idempotency-Replayed"]) == (201, 200, "true")
    account_id = told(first)["account_id"]
    confirm(asking.app, card, account_id, outside.bank_code(NUMBER[-4:]))
    assert told(start(asking.app, card, key="k-1"))["state"] == "bound"
    delete(asking.app, card, account_id)
    assert start(asking.app, card, key="k-1").status_code == 202
    run_jobs(asking)
    assert told(start(asking.app, card, key="k-1"))["state"] == "ended"
    assert len(rows(asking)) == 1


def test_one_key_for_two_accounts_is_refused(asking: Service, card: str) -> None:
    start(asking.app, card, key="k-1")
    # the last four are the same
    assert (
        problem(start(asking.app, card, account_number(1, prefix="621226"), key="k-1"))[1] == "idempotency-key-reused"
    )
    assert problem(start(asking.app, card, SECOND, key="k-1"))[1] == "idempotency-key-reused"
    other_card = asking.app.register(2)["card_id"]
    assert start(asking.app, other_card, SECOND, serial=2, key="k-1").status_code == 201  # another card's own


def test_a_refused_start_is_refused_again_under_its_key(asking: Service, outside: Controls, card: str) -> None:
    for _ in range(2):
        assert problem(start(asking.app, card, account_number(2222), key="k-1")) == (409, "bank-refused")
    assert len(outside.bank_bindings()) == 1


# --- whose account, which card


@pytest.mark.parametrize(
    "changes",
    [{"name": "王小红"}, {"id_number": citizen_number(2)}, {"id_type": "03", "id_number": "E12345678"}],
    ids=["name", "number", "document"],
)
def test_another_persons_account_is_refused_before_the_bank_is_asked(
    asking: Service, outside: Controls, card: str, changes: dict[str, str]
) -> None:
    asking.app.register(2)  # the other number is somebody's
    assert problem(start(asking.app, card, **changes)) == (409, "holder-mismatch")
    assert (rows(asking), outside.bank_bindings()) == ([], {})


@pytest.mark.parametrize(
    ("move", "code"), [("suspend", "card-suspended"), ("report-loss", "card-suspended"), ("cancel", "card-not-active")]
)
def test_nothing_is_started_for_a_card_that_is_not_active(
    asking: Service, outside: Controls, card: str, move: str, code: str
) -> None:
    asking.app.post(f"/v1/cards/{card}/{move}", {"reason": "遗失"})
    assert problem(start(asking.app, card)) in {(409, code), (404, "card-not-found")}
    assert outside.bank_bindings() == {}


def test_nothing_is_confirmed_for_a_card_that_was_suspended_meanwhile(
    asking: Service, outside: Controls, card: str
) -> None:
    account_id = started(asking.app, card)
    code = outside.bank_code(NUMBER[-4:])
    asking.app.post(f"/v1/cards/{card}/suspend", {"reason": "暂停"})
    assert problem(confirm(asking.app, card, account_id, code)) == (409, "card-suspended")
    asking.app.post(f"/v1/cards/{card}/resume", {"reason": "恢复"})
    assert told(confirm(asking.app, card, account_id, code))["state"] == "bound"


def test_death_ends_all_and_nothing_is_bound_after_it(
    asking: Service, outside: Controls, place: Place, card: str
) -> None:
    bound(asking, outside, card)
    outside.mark_dead(id_type="01", id_number=citizen_number(1), death_date=date(2026, 11, 1))
    issuer_tasks.pull_deaths(place)
    assert payable(asking) == []
    run_jobs(asking)
    assert list(outside.bank_bindings().values()) == ["ended"]
    (row,) = rows(asking)
    assert (row["state"], row["ended_for"], row["token"], row["number_index"]) == ("ended", "deceased", None, None)


def test_the_card_of_somebody_who_died_has_a_reason_of_its_own(asking: Service, outside: Controls, card: str) -> None:
    with asking.session() as session:
        session.execute(text("UPDATE card SET status = 'cancelled', cause = 'deceased'"))
    assert problem(start(asking.app, card)) == (409, "holder-deceased")
    assert outside.bank_bindings() == {}


@pytest.mark.parametrize("move", ["cancel", "close"])
def test_the_end_of_the_card_ends_all_and_the_bank_is_told(
    asking: Service, outside: Controls, card: str, move: str
) -> None:
    bound(asking, outside, card)
    started(asking.app, card, SECOND)
    body = {"reason": "不再使用"}
    if move == "close":
        body["phone_proof"] = families.proved_phone(asking, asking.app)
    answer = asking.app.post(f"/v1/cards/{card}/{move}", body)
    assert answer.status_code == 200, answer.text
    assert states(asking) == ["ending", "ending"]
    assert payable(asking) == []
    run_jobs(asking)
    assert states(asking) == ["ended", "ended"]
    assert set(outside.bank_bindings().values()) == {"ended"}


def test_an_account_leads_to_one_card(asking: Service, outside: Controls, card: str) -> None:
    bound(asking, outside, card)
    second = asking.app.register(2)["card_id"]
    assert problem(start(asking.app, second, NUMBER, serial=2)) == (409, "already-bound")
    assert problem(start(asking.app, card)) == (409, "already-bound")
    assert len(outside.bank_bindings()) == 1


def test_nobody_elses_app_sees_or_ends_it(asking: Service, outside: Controls, card: str) -> None:
    account_id = bound(asking, outside, card)
    other_card = asking.app.register(2)["card_id"]
    assert problem(asking.other_app.get(path(card))) == (404, "card-not-found")
    assert problem(delete(asking.other_app, card, account_id)) == (404, "card-not-found")
    for answer in (
        asking.app.get(path(other_card, account_id)),
        delete(asking.app, other_card, account_id),
        asking.app.post(path(other_card, account_id, "default")),
        confirm(asking.app, other_card, account_id, "123456"),
        asking.app.get(path(card, str(uuid4()))),
    ):
        assert problem(answer) == (404, "binding-not-found")
    assert problem(asking.terminal.get(path(card)))[0] in {403, 404}
    assert told(asking.terminal.get(f"/v1/cards/{card}/bindings")).get("bank_accounts") in ([], None)


# --- a child, and the guardian's account


@pytest.fixture
def child(asking: Service, card: str) -> dict[str, Any]:
    """A child of `person(1)`, and the link."""
    return families.add(asking.app, card, families.wanted())


def test_a_guardians_account_serves_the_child_as_such(
    asking: Service, outside: Controls, card: str, child: dict[str, Any]
) -> None:
    childs_card = child["card"]["card_id"]
    bound(asking, outside, childs_card)
    bound(asking, outside, card)  # and the guardian's own card, with the same account
    assert [row["payer"] for row in rows(asking)] == ["guardian", "self"]
    payers = {str(row["card_id"]): (row["payer"], row["payer_id"]) for row in payable(asking)}
    assert (payers[childs_card][0], payers[card][0]) == ("guardian", "self")
    assert payers[childs_card][1] == payers[card][1]


def test_an_account_of_anybody_else_does_not_serve_the_child(
    asking: Service, outside: Controls, card: str, child: dict[str, Any]
) -> None:
    asking.app.register(2)
    assert problem(start(asking.app, child["card"]["card_id"], serial=2)) == (409, "holder-mismatch")
    assert problem(start(asking.app, card, name="王小宝", id_number=families.member()["id_number"])) == (
        409,
        "holder-mismatch",
    )


def test_a_childs_own_account_is_its_own(asking: Service, outside: Controls, child: dict[str, Any]) -> None:
    member = families.member()
    own = {name: member[name] for name in ("name", "id_type", "id_number")}
    answer = start(asking.app, child["card"]["card_id"], **own)
    assert (answer.status_code, told(answer)["payer"]) == (201, "self")


def test_when_the_guardian_no_longer_acts_the_account_pays_no_more(
    asking: Service, outside: Controls, card: str, child: dict[str, Any]
) -> None:
    bound(asking, outside, child["card"]["card_id"])
    bound(asking, outside, card, SECOND)
    assert families.end(asking.app, card, child["link_id"]).status_code == 200
    assert [row["payer"] for row in payable(asking)] == ["self"]
    run_jobs(asking)
    assert [(row["state"], row["ended_for"]) for row in rows(asking)] == [("ended", "guardian-gone"), ("bound", None)]
    assert sorted(outside.bank_bindings().values()) == ["bound", "ended"]


# --- how many, and which pays


def test_a_card_has_five_accounts_and_no_sixth(asking: Service, outside: Controls, card: str) -> None:
    accounts = [bound(asking, outside, card, account_number(serial)) for serial in range(1, 5)]
    waiting = started(asking.app, card, account_number(5))  # one that waits counts
    assert problem(start(asking.app, card, account_number(6))) == (409, "too-many-accounts")
    assert start(asking.app, card, account_number(5)).status_code == 200  # the same one is no sixth
    delete(asking.app, card, waiting)
    run_jobs(asking)
    assert start(asking.app, card, account_number(6)).status_code == 201
    assert len(accounts) == 4


def test_the_first_is_the_default_and_another_may_be_chosen(asking: Service, outside: Controls, card: str) -> None:
    first, second = bound(asking, outside, card), bound(asking, outside, card, SECOND)
    assert [state(asking.app, card, one)["default"] for one in (first, second)] == [True, False]
    for _ in range(2):
        assert told(asking.app.post(path(card, second, "default")))["default"] is True
    assert [state(asking.app, card, one)["default"] for one in (first, second)] == [False, True]
    (paying,) = payable(asking)
    assert (str(paying["account_id"]), paying["bank"], paying["kind"]) == (second, "ICBC", "debit")
    assert (paying["single_limit"], paying["day_limit"]) == (500_000, 2_000_000)
    assert paying["token"]
    waiting = started(asking.app, card, account_number(3))
    assert problem(asking.app.post(path(card, waiting, "default"))) == (409, "account-state")
    delete(asking.app, card, second)
    assert payable(asking) == []  # no other becomes it by itself
    assert actions(asking).count("made-default") == 1


def test_what_is_suspended_pays_nothing(asking: Service, outside: Controls, card: str) -> None:
    bound(asking, outside, card)
    assert len(payable(asking)) == 1
    asking.app.post(f"/v1/cards/{card}/suspend", {"reason": "暂停"})
    assert payable(asking) == []
    asking.app.post(f"/v1/cards/{card}/resume", {"reason": "恢复"})
    assert len(payable(asking)) == 1


def test_of_choices_at_once_one_is_the_default(asking: Service, outside: Controls, card: str) -> None:
    accounts = [bound(asking, outside, card, account_number(serial)) for serial in range(1, 4)]
    for _ in range(10):
        apis = [(elsewhere(asking.app, asking.flask), one) for one in accounts]
        answers = at_once(*(lambda api=api, one=one: api.post(path(card, one, "default")) for api, one in apis))
        assert {answer.status_code for answer in answers} == {200}
        assert len(payable(asking)) == 1


# --- its end


def test_an_end_is_told_to_the_bank_by_a_job(asking: Service, outside: Controls, card: str) -> None:
    account_id = bound(asking, outside, card)
    first, again = (delete(asking.app, card, account_id) for _ in range(2))
    assert told(first) == told(again)
    assert (told(first)["state"], told(first)["default"]) == ("ending", False)
    assert payable(asking) == []
    assert problem(start(asking.app, card)) == (409, "bank-pending")
    run_jobs(asking)
    assert state(asking.app, card, account_id)["state"] == "ended"
    assert told(delete(asking.app, card, account_id))["state"] == "ended"
    assert outside.bank_bindings() == {starts(asking)[0]: "ended"}
    assert actions(asking) == ["started", "bound", "ended", "ended-at-bank"]
    (row,) = rows(asking)
    assert (row["token"], row["number_index"]) == (None, None)
    bound(asking, outside, card)  # and may be bound anew


def test_an_end_is_possible_whatever_the_state_of_the_card(asking: Service, outside: Controls, card: str) -> None:
    account_id = bound(asking, outside, card)
    asking.app.post(f"/v1/cards/{card}/suspend", {"reason": "暂停"})
    assert told(delete(asking.app, card, account_id))["state"] == "ending"


def test_a_start_that_waits_may_be_ended(asking: Service, outside: Controls, card: str) -> None:
    account_id = started(asking.app, card)
    code = outside.bank_code(NUMBER[-4:])
    delete(asking.app, card, account_id)
    assert problem(confirm(asking.app, card, account_id, code)) == (409, "account-state")
    run_jobs(asking)
    assert (states(asking), list(outside.bank_bindings().values())) == (["ended"], ["ended"])


# --- what is no account


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (NUMBER[:-1] + str((int(NUMBER[-1]) + 1) % 10), "account-check"),
        (NUMBER[:-1], "account-length"),
        ("9999990000000000", "account-bank-unknown"),
        ("62220200000000000x1", "account-form"),
        ("6222 0200 000", "account-form"),
    ],
)
def test_what_a_number_shows_by_itself_is_told_before_anybody_is_asked(
    asking: Service, outside: Controls, card: str, number: str, code: str
) -> None:
    answer = start(asking.app, card, number)
    assert wrong(answer) == [("/account_number", code)]
    assert number not in answer.text
    assert outside.bank_bindings() == {}


@pytest.mark.parametrize("phone", ["", "1391234567", "139123456789", "23912345678", "12912345678", "1391234567x"])
def test_a_phone_is_a_mainland_mobile(asking: Service, card: str, phone: str) -> None:
    assert [pointer for pointer, _ in wrong(asking.app.post(path(card), factors() | {"phone": phone}))] == ["/phone"]


@pytest.mark.parametrize("code", ["", "123", "123456789", "12345a", "12 345"])
def test_a_code_has_four_to_eight_digits(asking: Service, card: str, code: str) -> None:
    account_id = started(asking.app, card)
    assert [pointer for pointer, _ in wrong(confirm(asking.app, card, account_id, code))] == ["/code"]


@pytest.mark.parametrize("member", ["pin", "cvn2", "expiry", "track2"])
def test_what_nobody_may_send_is_refused(asking: Service, card: str, member: str) -> None:
    answer = asking.app.post(path(card), factors() | {member: "123"})
    assert [pointer for pointer, _ in wrong(answer)] == [f"/{member}"]


def test_without_a_bank_nothing_is_bound(service: Service) -> None:
    card = service.app.register(1)["card_id"]
    assert problem(start(service.app, card)) == (409, "bank-not-configured")
    assert told(service.app.get(path(card)))["items"] == []
    place = Place(service.settings, clock=service.clock)
    for task in (tasks.sweep_bank, tasks.read_bank_days, tasks.compare_with_bank):
        task(place)
    tasks.settle_at_bank(place, str(uuid4()))
    place.close()


def test_an_operators_own_table_of_banks_counts(asking: Service, outside: Controls, card: str, tmp_path: Path) -> None:
    outside.add_account(number="999900000007", name="王小明", id_type="01", id_number=citizen_number(1), phone=PHONE)
    table = tmp_path / "bins.csv"
    table.write_text("prefix,length,bank,bank_zh,kind,luhn\n9999,12,OURS,本地银行,debit,no\n", encoding="utf-8")
    flask = create_app(replace(asking.settings, bank_bins_file=table), clock=asking.clock)
    api = elsewhere(asking.app, flask)
    answer = start(api, card, "999900000007")
    assert (answer.status_code, told(answer)["bank_name"]) == (201, "本地银行")
    assert wrong(start(api, card)) == [("/account_number", "account-bank-unknown")]
    with flask.app_context():
        database.engine.dispose()


def test_a_table_of_banks_that_cannot_be_used_stops_the_service_at_its_start(asking: Service, tmp_path: Path) -> None:
    table = tmp_path / "bins.csv"
    table.write_text("prefix,length,bank,bank_zh,kind,luhn\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="EHC_BANK_BINS_FILE"):
        create_app(replace(asking.settings, bank_bins_file=table), clock=asking.clock)
