"""The simulated bank, asked through the real adapter: every operation, sent again, at once, lost, and told to fail."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from ehc.clock import SystemClock, local_day
from ehc.core.documents import Document
from ehc.dev.simulators.bank import ACCOUNT_STATES, BY_NUMBER, TRIES
from ehc.dev.simulators.controls import Controls, OrderError
from ehc.dev.simulators.launcher import Simulators, bank_key_file
from ehc.dev.simulators.party import MODES
from ehc.outside.bank_gateway import (
    Agreement,
    AtBank,
    BankAway,
    BankGateway,
    Factors,
    NoticeKind,
    Refusal,
    Refused,
    Started,
    Status,
    WrongCode,
)
from ehc.outside.bank_http import HttpBankGateway
from ehc.outside.signed_http import PartyKey
from ehc.parties import bank_gateway, bank_key
from ehc.settings import Settings, SettingsError

ACCOUNT, LAST4 = "6222021234567890128", "0128"
NAME, DOCUMENT, PHONE = "欧阳晓燕", Document("01", "11010020171225006X"), "13912345678"
FACTORS = Factors(ACCOUNT, NAME, DOCUMENT, PHONE)
EXPIRED = Refused(Refusal.CODE_EXPIRED)
PATHS = {
    "start": "/v1/bindings/start",
    "confirm": "/v1/bindings/confirm",
    "end": "/v1/bindings/end",
    "status": "/v1/bindings/status",
    "notices": "/v1/notices",
    "agreements": "/v1/agreements",
}
FAULTS = sorted(set(MODES) - {"normal"})
IN_TIME = 3.6


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    with Simulators(tmp_path_factory.mktemp("bank") / "simulators") as made:
        yield made


@pytest.fixture
def controls(running: Simulators) -> Controls:
    """Of simulators that know nobody."""
    running.controls.clear()
    return running.controls


@pytest.fixture
def bank(running: Simulators, controls: Controls) -> BankGateway:
    return HttpBankGateway(running.url, bank_key_file(running.data_dir), clock=SystemClock())


@pytest.fixture
def start(bank: BankGateway) -> UUID:
    """A start that waits for its code."""
    made = uuid4()
    assert isinstance(bank.start(made, FACTORS), Started)
    return made


@pytest.fixture
def bound(bank: BankGateway, controls: Controls, start: UUID) -> Agreement:
    made = bank.confirm(start, uuid4(), controls.bank_code(LAST4))
    assert isinstance(made, Agreement)
    return made


def other(code: str) -> str:
    """A code that is not this one."""
    return f"{(int(code) + 1) % 10**6:06}"


def agreements(bank: BankGateway) -> list[Agreement]:
    found: list[Agreement] = []
    after, more = None, True
    while more:
        page = bank.agreements(after)
        found, after, more = [*found, *page.agreements], page.cursor, page.more
    return found


# --- a binding, from its start to its end


def test_a_binding_is_started_confirmed_and_ended(bank: BankGateway, controls: Controls) -> None:
    start = uuid4()
    assert bank.status(start) == Status(AtBank.NONE)
    started = bank.start(start, FACTORS)
    assert isinstance(started, Started)
    assert 295 <= started.seconds <= 300
    waiting = bank.status(start)
    assert (waiting.state, 295 <= (waiting.seconds or 0) <= 300) == (AtBank.STARTED, True)
    agreement = bank.confirm(start, uuid4(), controls.bank_code(LAST4))
    assert isinstance(agreement, Agreement)
    assert (agreement.start_request, agreement.last4) == (start, LAST4)
    assert (agreement.bank, agreement.kind) == ("ICBC", "debit")
    assert (agreement.single_limit, agreement.day_limit) == (500_000, 2_000_000)
    assert bank.status(start) == Status(AtBank.BOUND, agreement)
    assert agreements(bank) == [agreement]
    bank.end(start, uuid4())
    assert bank.status(start) == Status(AtBank.ENDED)
    assert agreements(bank) == []


@pytest.mark.parametrize(("ending", "why"), BY_NUMBER.items())
def test_how_a_number_ends_decides(bank: BankGateway, ending: str, why: str) -> None:
    start, numbers = uuid4(), [f"62220200000000{ending}{digit}" for digit in range(10)]
    answers = [bank.start(uuid4(), replace(FACTORS, number=number)) for number in numbers]
    assert answers.count(Refused(Refusal(why))) >= 1
    assert set(answers) <= {Refused(Refusal(why)), Refused(Refusal.FACTORS)}  # nine of ten fail to check
    number = numbers[answers.index(Refused(Refusal(why)))]
    assert bank.start(start, replace(FACTORS, number=number)) == Refused(Refusal(why))
    assert bank.status(start) == Status(AtBank.REFUSED, why=Refusal(why))
    assert bank.confirm(start, uuid4(), "000000") == EXPIRED


def test_a_number_whose_last_digit_fails_is_no_account(bank: BankGateway) -> None:
    answers = [bank.start(uuid4(), replace(FACTORS, number=ACCOUNT[:-1] + digit)) for digit in "0123456789"]
    assert [isinstance(answer, Started) for answer in answers] == [digit == "8" for digit in "0123456789"]
    assert answers[0] == Refused(Refusal.FACTORS)


def hold(controls: Controls, **changes: Any) -> None:
    told = {"number": ACCOUNT, "name": NAME, "id_type": "01", "id_number": DOCUMENT.number, "phone": PHONE}
    controls.add_account(**(told | changes))


@pytest.mark.parametrize(
    "wrong",
    [
        replace(FACTORS, name="王小明"),
        replace(FACTORS, document=Document("03", "E12345678")),
        replace(FACTORS, phone="13800138000"),
    ],
    ids=["name", "document", "phone"],
)
def test_an_account_that_is_held_has_to_fit_in_all_four(bank: BankGateway, controls: Controls, wrong: Factors) -> None:
    hold(controls, state="frozen")
    assert bank.start(uuid4(), wrong) == Refused(Refusal.FACTORS)
    hold(controls)
    assert bank.start(uuid4(), wrong) == Refused(Refusal.FACTORS)
    assert isinstance(bank.start(uuid4(), FACTORS), Started)


@pytest.mark.parametrize("state", ACCOUNT_STATES)
def test_the_state_of_an_account_that_is_held_decides(bank: BankGateway, controls: Controls, state: str) -> None:
    hold(controls, state=state)
    answer = bank.start(uuid4(), FACTORS)
    assert isinstance(answer, Started) if state == "normal" else answer == Refused(Refusal.ACCOUNT_STATE)


def test_an_account_that_is_held_has_its_kind_and_limits(bank: BankGateway, controls: Controls) -> None:
    hold(controls, kind="credit", single_limit=None, day_limit=7)
    start = uuid4()
    bank.start(start, FACTORS)
    made = bank.confirm(start, uuid4(), controls.bank_code(LAST4))
    assert isinstance(made, Agreement)
    assert (made.kind, made.single_limit, made.day_limit) == ("credit", None, 7)


# --- once, however often it is sent


def test_a_start_that_is_sent_again_is_one_start(bank: BankGateway, controls: Controls, start: UUID) -> None:
    code = controls.bank_code(LAST4)
    assert isinstance(bank.start(start, replace(FACTORS, number="6222020000000022228")), Started)
    assert controls.bank_bindings() == {str(start): "started"}
    assert controls.bank_code(LAST4) == code
    refused = uuid4()
    for number in ("6222020000000022228", ACCOUNT):
        assert bank.start(refused, replace(FACTORS, number=number)) == Refused(Refusal.ACCOUNT_STATE)


def test_a_start_that_is_sent_again_behind_its_confirmation_or_end_begins_nothing(
    bank: BankGateway, bound: Agreement
) -> None:
    assert isinstance(bank.start(bound.start_request, FACTORS), Started)
    assert bank.status(bound.start_request) == Status(AtBank.BOUND, bound)
    bank.end(bound.start_request, uuid4())
    assert isinstance(bank.start(bound.start_request, FACTORS), Started)
    assert bank.status(bound.start_request) == Status(AtBank.ENDED)


def test_a_confirmation_is_one_try_for_each_request(bank: BankGateway, controls: Controls, start: UUID) -> None:
    code, request = controls.bank_code(LAST4), uuid4()
    for _ in range(5):
        assert bank.confirm(start, request, other(code)) == WrongCode(TRIES - 1)
    assert bank.confirm(start, request, code) == WrongCode(TRIES - 1)  # what it was asked first
    assert bank.confirm(start, uuid4(), other(code)) == WrongCode(TRIES - 2)
    assert isinstance(bank.confirm(start, uuid4(), code), Agreement)


def test_the_last_wrong_code_is_the_last(bank: BankGateway, controls: Controls, start: UUID) -> None:
    code = controls.bank_code(LAST4)
    assert [bank.confirm(start, uuid4(), other(code)) for _ in range(TRIES)] == [
        WrongCode(2),
        WrongCode(1),
        WrongCode(0),
    ]
    assert bank.confirm(start, uuid4(), code) == EXPIRED
    assert bank.status(start) == Status(AtBank.EXPIRED)


def test_a_confirmation_that_is_sent_twice_is_one_agreement(bank: BankGateway, controls: Controls, start: UUID) -> None:
    code, request = controls.bank_code(LAST4), uuid4()
    first = bank.confirm(start, request, code)
    assert isinstance(first, Agreement)
    assert bank.confirm(start, request, code) == first
    assert bank.confirm(start, uuid4(), code) == first
    assert agreements(bank) == [first]


def test_confirmations_at_one_time_are_one_agreement(bank: BankGateway, controls: Controls, start: UUID) -> None:
    code, same = controls.bank_code(LAST4), uuid4()
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda request: bank.confirm(start, request, code), [uuid4(), uuid4()]))
        found += threads.map(lambda request: bank.confirm(start, request, code), [same, same])
    assert isinstance(found[0], Agreement)
    assert found == [found[0]] * 4
    assert agreements(bank) == [found[0]]


def test_a_confirmation_and_an_end_at_one_time_leave_nothing(
    bank: BankGateway, controls: Controls, start: UUID
) -> None:
    code = controls.bank_code(LAST4)
    with ThreadPoolExecutor(2) as threads:
        confirmed = threads.submit(bank.confirm, start, uuid4(), code)
        threads.submit(bank.end, start, uuid4()).result()
        assert isinstance(confirmed.result(), Agreement | Refused)
    assert bank.status(start) == Status(AtBank.ENDED)
    assert agreements(bank) == []


def test_ending_twice_is_ending_once(bank: BankGateway, bound: Agreement) -> None:
    request = uuid4()
    for one in (request, request, uuid4()):
        bank.end(bound.start_request, one)
    assert bank.status(bound.start_request) == Status(AtBank.ENDED)


def test_a_start_that_waits_is_ended_and_takes_no_code(bank: BankGateway, controls: Controls, start: UUID) -> None:
    code = controls.bank_code(LAST4)
    bank.end(start, uuid4())
    assert bank.confirm(start, uuid4(), code) == EXPIRED


def test_a_start_that_arrives_behind_its_end_begins_nothing(bank: BankGateway, controls: Controls) -> None:
    start = uuid4()
    bank.end(start, uuid4())
    assert bank.start(start, FACTORS) == EXPIRED
    assert bank.status(start) == Status(AtBank.ENDED)
    with pytest.raises(IndexError):
        controls.bank_code(LAST4)


def test_what_was_refused_stays_refused_when_it_is_ended(bank: BankGateway) -> None:
    start = uuid4()
    bank.start(start, replace(FACTORS, number="6222020000000022228"))
    bank.end(start, uuid4())
    assert bank.status(start) == Status(AtBank.REFUSED, why=Refusal.ACCOUNT_STATE)


def test_a_confirmation_of_a_start_that_never_came_binds_nothing(bank: BankGateway) -> None:
    start = uuid4()
    assert bank.confirm(start, uuid4(), "000000") == EXPIRED
    assert bank.status(start) == Status(AtBank.NONE)


# --- lost, and found out


def test_an_answer_to_a_confirmation_that_is_lost_is_found_out(
    bank: BankGateway, controls: Controls, start: UUID
) -> None:
    controls.set_mode("lost-answer", path=PATHS["confirm"], times=1)
    request, code = uuid4(), controls.bank_code(LAST4)
    with pytest.raises(BankAway):
        bank.confirm(start, request, code)
    found = bank.status(start)
    assert found.state is AtBank.BOUND
    assert bank.confirm(start, request, code) == found.agreement  # the mode was for one question
    assert agreements(bank) == [found.agreement]


@pytest.mark.parametrize(
    ("mode", "state"), [("lost-answer", AtBank.STARTED), ("http-500", AtBank.NONE), ("down", AtBank.NONE)]
)
def test_a_start_that_is_lost_came_or_came_not(bank: BankGateway, controls: Controls, mode: str, state: AtBank) -> None:
    start = uuid4()
    controls.set_mode(mode, path=PATHS["start"], times=1)
    with pytest.raises(BankAway):
        bank.start(start, FACTORS)
    assert bank.status(start).state is state


def test_an_answer_to_an_end_that_is_lost_has_ended_it(bank: BankGateway, controls: Controls, bound: Agreement) -> None:
    controls.set_mode("lost-answer", path=PATHS["end"], times=1)
    with pytest.raises(BankAway):
        bank.end(bound.start_request, uuid4())
    assert bank.status(bound.start_request) == Status(AtBank.ENDED)


# --- modes


def calls(bank: BankGateway, start: UUID) -> dict[str, Callable[[], object]]:
    return {
        "start": lambda: bank.start(uuid4(), FACTORS),
        "confirm": lambda: bank.confirm(start, uuid4(), "000000"),
        "end": lambda: bank.end(uuid4(), uuid4()),
        "status": lambda: bank.status(start),
        "notices": lambda: bank.notices(date(2026, 3, 1), None),
        "agreements": lambda: bank.agreements(None),
    }


@pytest.mark.parametrize("mode", sorted(set(FAULTS) - {"slow"}))
def test_every_fault_of_one_call_is_an_absent_bank_for_that_call_alone(
    bank: BankGateway, controls: Controls, start: UUID, mode: str
) -> None:
    for faulty, path in PATHS.items():
        controls.set_mode("normal", party="bank")
        controls.set_mode(mode, path=path)
        for name, ask in calls(bank, start).items():
            if name == faulty:
                began = time.monotonic()
                with pytest.raises(BankAway):
                    ask()
                assert time.monotonic() - began < IN_TIME
            else:
                ask()


def test_a_slow_bank_is_an_absent_one_in_time(bank: BankGateway, controls: Controls, start: UUID) -> None:
    controls.set_mode("slow", seconds=4, path=PATHS["status"], times=1)
    began = time.monotonic()
    with pytest.raises(BankAway):
        bank.status(start)
    assert time.monotonic() - began < IN_TIME
    controls.set_mode("slow", seconds=1, path=PATHS["status"], times=1)
    assert bank.status(start).state is AtBank.STARTED


@pytest.mark.parametrize("mode", sorted(set(FAULTS) - {"slow"}))
def test_every_fault_of_the_bank_is_of_all_its_calls_until_it_comes_back(
    running: Simulators, controls: Controls, start: UUID, mode: str
) -> None:
    controls.set_mode(mode, party="bank")
    for name in PATHS:
        one = HttpBankGateway(running.url, bank_key_file(running.data_dir), clock=SystemClock())  # has no pause yet
        with pytest.raises(BankAway):
            calls(one, start)[name]()
    controls.set_mode("normal")
    assert one.status(start).state is not AtBank.NONE


def test_a_mode_is_for_so_many_questions(bank: BankGateway, controls: Controls, start: UUID) -> None:
    controls.set_mode("http-500", path=PATHS["status"], times=2)
    for _ in range(2):
        with pytest.raises(BankAway):
            bank.status(start)
    bank.status(start)


def test_a_mode_of_the_bank_replaces_those_of_single_calls(bank: BankGateway, controls: Controls, start: UUID) -> None:
    controls.set_mode("http-500", path=PATHS["status"])
    controls.set_mode("normal", party="identity")
    with pytest.raises(BankAway):
        bank.status(start)
    controls.set_mode("normal", party="bank")
    bank.status(start)


def test_a_stranger_is_not_answered(running: Simulators, controls: Controls, start: UUID) -> None:
    stranger = HttpBankGateway(running.url, PartyKey("simulated-bank", b"x" * 32), clock=SystemClock())
    with pytest.raises(BankAway):
        stranger.end(start, uuid4())
    assert controls.bank_bindings() == {str(start): "started"}


def test_they_log_nothing_of_people(running: Simulators, controls: Controls, bound: Agreement) -> None:
    told = running.log.read_text(encoding="utf-8")
    assert not any(secret in told for secret in (ACCOUNT, NAME, DOCUMENT.number, PHONE, bound.token))
    assert bound.token not in str(controls.bank_bindings())


# --- notices and agreements


@pytest.mark.parametrize("what", list(NoticeKind))
def test_a_notice_is_in_the_file_of_its_day(bank: BankGateway, controls: Controls, bound: Agreement, what: str) -> None:
    made = controls.bank_notice(str(bound.start_request), what, single_limit=1, day_limit=None)
    (found,) = bank.notices(local_day(SystemClock().now()), None).notices
    limits = (1, None) if what == "limits" else (None, None)
    assert (found.notice_id, found.what, found.start_request) == (made["notice_id"], what, bound.start_request)
    assert (found.single_limit, found.day_limit) == limits
    assert controls.bank_notices() == [made]
    if what in ("ended", "closed"):
        assert bank.status(bound.start_request) == Status(AtBank.ENDED)
    else:
        changed = replace(bound, single_limit=1, day_limit=None) if what == "limits" else bound
        assert agreements(bank) == [changed]


def test_a_day_is_a_day_of_china_and_comes_in_pages(bank: BankGateway, controls: Controls) -> None:
    start = str(uuid4())
    for number in range(101):
        controls.bank_notice(start, "lost", happened_at="2026-03-01T00:00:00+08:00", notice_id=f"N-{number}")
    controls.bank_notice(start, "lost", happened_at="2026-02-28T15:59:59+00:00", notice_id="of-the-day-before")
    first = bank.notices(date(2026, 3, 1), None)
    second = bank.notices(date(2026, 3, 1), first.cursor)
    assert (len(first.notices), first.more, len(second.notices), second.more) == (100, True, 1, False)
    assert len({notice.notice_id for notice in first.notices + second.notices}) == 101
    assert first.notices[0].happened_at == datetime(2026, 2, 28, 16, tzinfo=UTC)
    assert bank.notices(date(2026, 3, 1), second.cursor).notices == ()
    (before,) = bank.notices(date(2026, 2, 28), None).notices
    assert before.notice_id == "of-the-day-before"


def test_a_notice_that_makes_no_sense_can_be_made(bank: BankGateway, controls: Controls) -> None:
    controls.bank_notice(str(uuid4()), "stolen", notice_id="odd")
    page = bank.notices(local_day(SystemClock().now()), None)
    assert (page.notices, page.unreadable) == ((), ("odd",))


def test_a_service_that_is_not_there_is_told(controls: Controls) -> None:
    made = controls.bank_notice(str(uuid4()), "ended", deliver_to="http://127.0.0.1:9/v1/bank-notices")
    assert made["answered"] == {"status": None, "body": None, "signed": False}
    assert len(controls.bank_notices()) == 1


def test_what_answers_without_our_signature_is_told(running: Simulators, controls: Controls) -> None:
    made = controls.bank_notice(str(uuid4()), "ended", deliver_to=f"{running.url}/simulator/clear")
    assert (made["answered"]["status"], made["answered"]["signed"]) == (200, False)


def test_a_binding_can_appear_change_and_vanish_at_the_bank_alone(
    bank: BankGateway, controls: Controls, bound: Agreement
) -> None:
    alone = uuid4()
    controls.set_bank_binding(str(alone), "bound", last4="4321")
    assert {one.start_request for one in agreements(bank)} == {alone, bound.start_request}
    assert bank.status(alone).state is AtBank.BOUND
    controls.set_bank_binding(str(bound.start_request), "bound", day_limit=5)
    assert bank.status(bound.start_request) == Status(AtBank.BOUND, replace(bound, day_limit=5))
    controls.set_bank_binding(str(bound.start_request), "ended")
    controls.set_bank_binding(str(alone), "forgotten")
    assert bank.status(alone) == Status(AtBank.NONE)
    assert agreements(bank) == []
    for state in AtBank:
        if state is not AtBank.NONE:
            controls.set_bank_binding(str(alone), state)
            assert bank.status(alone).state is state


def test_agreements_come_in_pages(bank: BankGateway, controls: Controls) -> None:
    starts = [uuid4() for _ in range(101)]
    for start in starts:
        controls.set_bank_binding(str(start), "bound")
    first = bank.agreements(None)
    assert (len(first.agreements), first.more) == (100, True)
    assert [one.start_request for one in agreements(bank)] == starts


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/simulator/bank/accounts", {"number": ACCOUNT}),
        ("/simulator/bank/accounts", {"number": "x", "name": NAME, "id_type": "01", "id_number": "1", "phone": PHONE}),
        ("/simulator/bank/bindings", {"start_request": str(UUID(int=7)), "state": "none"}),
        ("/simulator/bank/bindings", {"start_request": "x", "state": "bound"}),
        ("/simulator/bank/notices", {"start_request": str(UUID(int=7))}),
        ("/simulator/bank/notices", {"start_request": str(UUID(int=7)), "what": "lost", "happened_at": "someday"}),
        (
            "/simulator/bank/notices",
            {"start_request": str(UUID(int=7)), "what": "lost", "deliver_to": "http://192.0.2.1/"},
        ),
        ("/simulator/mode", {"mode": "down", "path": "/v1/nothing"}),
        ("/simulator/mode", {"mode": "down", "path": PATHS["start"], "party": "sms"}),
        ("/simulator/mode", {"mode": "down", "path": PATHS["start"], "times": -1}),
        ("/simulator/mode", {"mode": "down", "party": "bank", "times": 1}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_an_order_that_makes_no_sense_is_refused(controls: Controls, path: str, body: dict[str, Any]) -> None:
    with pytest.raises(OrderError):
        controls._send(path, body)
    assert controls.bank_bindings() == {}
    assert controls.state()["parties"]["bank"]["mode"] == "normal"


# --- settings


def test_the_simulators_key_is_refused_outside_the_demo(running: Simulators, tmp_path: Path) -> None:
    told = running.environment()
    file = Path(told["EHC_BANK_KEY_FILE"])
    settings = Settings(
        "postgresql://nowhere", tmp_path / "kek", demo=True, bank_url=told["EHC_BANK_URL"], bank_key_file=file
    )
    assert bank_gateway(settings, SystemClock()) is not None
    assert bank_key(settings) == PartyKey.from_file(file)
    for wrong, why in (
        (replace(settings, demo=False), "simulator"),
        (replace(settings, bank_key_file=None), "key file"),
    ):
        with pytest.raises(SettingsError, match=why):
            bank_gateway(wrong, SystemClock())
        with pytest.raises(SettingsError, match=why):
            bank_key(wrong)
    none = replace(settings, bank_url=None)
    assert (bank_gateway(none, SystemClock()), bank_key(none)) == (None, None)
