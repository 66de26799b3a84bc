"""The bank's adapter: what it sends, which answers make sense on both sides of each bound, what it tells of people."""

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from ehc.core.documents import Document
from ehc.errors import Unavailable
from ehc.outside.bank_gateway import (
    Agreement,
    AgreementPage,
    AtBank,
    BankAway,
    BankGateway,
    Factors,
    Notice,
    NoticeKind,
    Refusal,
    Refused,
    Started,
    Status,
    WrongCode,
)
from ehc.outside.bank_http import PAGE, HttpBankGateway, read_notice
from ehc.outside.signed_http import LIMIT, Misshapen, PartyKey, SetupError
from tests.support.loggers import forget_loggers
from tests.support.service import HeldClock
from tests.unit.test_outside_parties import echoed_as_a_length, echoed_as_an_answer, echoed_as_no_http, echoing, silent
from tests.unit.test_outside_signed_http import KEY, NOW, Asked, Peer, answer

ACCOUNT, NAME, NUMBER, PHONE, CODE = "6222021234567890128", "欧阳晓燕", "11010020171225006X", "13912345678", "493817"
TOKEN = "token-of-an-account-0001"
FACTORS = Factors(ACCOUNT, NAME, Document("01", NUMBER), PHONE)
START = UUID("01950000-0000-7000-8000-000000000001")
REQUEST = UUID("01950000-0000-7000-8000-000000000002")
OTHER = "01950000-0000-7000-8000-00000000000f"
AGREED: dict[str, Any] = {
    "start_request": str(START),
    "token": TOKEN,
    "bank": "ICBC",
    "kind": "debit",
    "last4": "0128",
    "single_limit": 500_000,
    "day_limit": None,
}
AGREEMENT = Agreement(START, TOKEN, "ICBC", "debit", "0128", 500_000, None)
TOLD: dict[str, Any] = {
    "notice_id": "B-1",
    "what": "ended",
    "start_request": str(START),
    "happened_at": "2026-03-01T11:59:00+08:00",
    "single_limit": None,
    "day_limit": None,
}
NOTICE = Notice("B-1", NoticeKind.ENDED, START, NOW - timedelta(minutes=1))


class _Left(StrEnum):
    """A member that is left out; with a name that is the same in every process."""

    OUT = "left out"


BOTTOM = _Left.OUT
"""Stands for a member that is not there."""
NO_ANSWER: list[Any] = [[], None, "bound", {}, {"result": None}, {"result": ["ended"]}]
NO_REASON: list[Any] = ["", "no", "FACTORS-MISMATCH", None, 1, ["account-state"], {}]
NO_STATE: list[Any] = ["", "BOUND", "bound", "refused", "started", None, []]
NO_LIMIT: list[Any] = [-1, 10**12 + 1, 1.0, "1", True, []]


class Bank(Peer):
    """A peer that signs whatever JSON `told` is."""

    def __init__(self) -> None:
        super().__init__(lambda asked: [answer(asked, json.dumps(self.told).encode())])
        self.told: object = None

    @property
    def gateway(self) -> BankGateway:
        return HttpBankGateway(self.url, KEY, clock=HeldClock(NOW))

    @property
    def question(self) -> Any:
        return json.loads(self.asked[-1].body)


@pytest.fixture
def bank() -> Iterator[Bank]:
    with Bank() as made:
        yield made


CALLS: dict[str, Callable[[BankGateway], object]] = {
    "/v1/bindings/start": lambda bank: bank.start(START, FACTORS),
    "/v1/bindings/confirm": lambda bank: bank.confirm(START, REQUEST, CODE),
    "/v1/bindings/end": lambda bank: bank.end(START, REQUEST),
    "/v1/bindings/status": lambda bank: bank.status(START),
    "/v1/notices": lambda bank: bank.notices(date(2026, 2, 28), "c-0"),
    "/v1/agreements": lambda bank: bank.agreements("c-0"),
}


def changed(told: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (told | changes).items() if value is not BOTTOM}


def refuses(bank: Bank, path: str, told: object) -> None:
    bank.told = told
    with pytest.raises(BankAway):
        CALLS[path](bank.gateway)


# --- what is asked


def test_every_question_travels_as_the_document_says(bank: Bank) -> None:
    document = (Path(__file__).resolve().parents[2] / "docs" / "bank-gateway.md").read_text(encoding="utf-8")
    questions = {}
    for path, call in CALLS.items():
        bank.told = None
        with pytest.raises(BankAway):
            call(bank.gateway)
        assert bank.asked[-1].line == f"POST {path} HTTP/1.1"
        assert f"`{path}`" in document
        questions[path] = bank.question
    start, request = str(START), str(REQUEST)
    assert questions == {
        "/v1/bindings/start": {
            "start_request": start,
            "account_number": ACCOUNT,
            "name": NAME,
            "document": {"type": "01", "number": NUMBER},
            "phone": PHONE,
        },
        "/v1/bindings/confirm": {"start_request": start, "request_id": request, "code": CODE},
        "/v1/bindings/end": {"start_request": start, "request_id": request},
        "/v1/bindings/status": {"start_request": start},
        "/v1/notices": {"day": "2026-02-28", "after": "c-0", "limit": 100},
        "/v1/agreements": {"after": "c-0", "limit": 100},
    }


# --- start, confirm, end, status


@pytest.mark.parametrize("seconds", [1, 3600])
def test_a_start_that_waits_for_its_code(bank: Bank, seconds: int) -> None:
    bank.told = {"result": "started", "seconds": seconds, "more": "is ignored"}
    assert bank.gateway.start(START, FACTORS) == Started(seconds)


@pytest.mark.parametrize("why", list(Refusal))
def test_every_refusal_is_told(bank: Bank, why: Refusal) -> None:
    bank.told = {"result": "refused", "reason": why.value}
    assert bank.gateway.start(START, FACTORS) == Refused(why)
    assert bank.gateway.confirm(START, REQUEST, CODE) == Refused(why)
    bank.told = {"state": "refused", "reason": why.value}
    assert bank.gateway.status(START) == Status(AtBank.REFUSED, why=why)


@pytest.mark.parametrize("left", [0, 99])
def test_a_confirmation_binds_or_says_how_many_tries_are_left(bank: Bank, left: int) -> None:
    bank.told = {"result": "wrong-code", "tries_left": left}
    assert bank.gateway.confirm(START, REQUEST, CODE) == WrongCode(left)
    bank.told = {"result": "bound", "agreement": AGREED}
    assert bank.gateway.confirm(START, REQUEST, CODE) == AGREEMENT


def test_a_binding_is_ended(bank: Bank) -> None:
    bank.told = {"result": "ended"}
    bank.gateway.end(START, REQUEST)


def test_every_state_is_told(bank: Bank) -> None:
    for state in (AtBank.NONE, AtBank.EXPIRED, AtBank.ENDED):
        bank.told = {"state": state.value, "agreement": AGREED, "seconds": 7, "reason": "phone-unreachable"}
        assert bank.gateway.status(START) == Status(state)
    bank.told = {"state": "bound", "agreement": AGREED}
    assert bank.gateway.status(START) == Status(AtBank.BOUND, agreement=AGREEMENT)
    for seconds in (0, 3600):
        bank.told = {"state": "started", "seconds": seconds}
        assert bank.gateway.status(START) == Status(AtBank.STARTED, seconds=seconds)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        *((path, told) for path in CALLS for told in NO_ANSWER),
        *(
            ("/v1/bindings/start", {"result": "started", "seconds": seconds})
            for seconds in (0, 3601, -1, 5.0, "5", True, None, [5], 10**20)
        ),
        ("/v1/bindings/start", {"result": "started"}),
        ("/v1/bindings/start", {"result": "bound", "agreement": AGREED}),
        ("/v1/bindings/start", {"result": "wrong-code", "tries_left": 1}),
        *(
            (path, {"result": "refused", "reason": reason})
            for path in ("/v1/bindings/start", "/v1/bindings/confirm")
            for reason in NO_REASON
        ),
        ("/v1/bindings/confirm", {"result": "refused"}),
        ("/v1/bindings/confirm", {"result": "started", "seconds": 5}),
        ("/v1/bindings/confirm", {"result": "bound"}),
        *(
            ("/v1/bindings/confirm", {"result": "wrong-code", "tries_left": left})
            for left in (-1, 100, 1.0, "1", True, None)
        ),
        *(("/v1/bindings/end", {"result": result}) for result in ("Ended", "bound", True)),
        *(("/v1/bindings/status", {"state": state}) for state in NO_STATE),
        *(("/v1/bindings/status", {"state": "started", "seconds": seconds}) for seconds in (-1, 3601, True)),
    ],
    ids=lambda told: str(told)[:70],
)
def test_an_answer_that_makes_no_sense_is_no_answer(bank: Bank, path: str, told: object) -> None:
    refuses(bank, path, told)


# --- agreements


@pytest.mark.parametrize(
    "changes",
    [
        {"token": "!" * 16},
        {"token": "~" * 128},
        {"bank": "AB"},
        {"bank": "0123456789ABCDEF"},
        {"kind": "credit"},
        {"last4": "0000"},
        {"single_limit": 0, "day_limit": 10**12},
        {"single_limit": BOTTOM, "day_limit": BOTTOM},
        {"start_request": str(START).upper()},
    ],
    ids=str,
)
def test_an_agreement_at_its_bounds_is_read(bank: Bank, changes: dict[str, Any]) -> None:
    told = changed(AGREED, **changes)
    read = Agreement(
        START, told["token"], told["bank"], told["kind"], told["last4"], told.get("single_limit"), told.get("day_limit")
    )
    bank.told = {"result": "bound", "agreement": told}
    assert bank.gateway.confirm(START, REQUEST, CODE) == read
    bank.told = {"agreements": [told], "cursor": "c", "more": False}
    assert bank.gateway.agreements(None) == AgreementPage((read,), "c", more=False)


@pytest.mark.parametrize(
    "changes",
    [
        *({name: BOTTOM} for name in ("start_request", "token", "bank", "kind", "last4")),
        *({name: None} for name in ("start_request", "token", "bank", "kind", "last4")),
        *({"token": token} for token in ("t" * 15, "t" * 129, "t" * 15 + " ", "t" * 16 + "\n", "令" * 16, 10**17)),
        *({"bank": bank} for bank in ("A", "A" * 17, "icbc", "IC BC", "ICBC\n", "工商", 102)),
        *({"kind": kind} for kind in ("", "Debit", "prepaid", ["debit"], 1)),
        *({"last4": last4} for last4 in ("", "012", "00128", "01 2", "٠١٢٨", "0128\n", 1280, ACCOUNT)),
        *({name: fen} for name in ("single_limit", "day_limit") for fen in NO_LIMIT),
        *({"start_request": start} for start in ("", str(START)[:-1], START.hex, f"{{{START}}}", START.urn, 1)),
        *({"start_request": start} for start in (f" {START}", str(START).replace("0195", "٠195"))),
    ],
    ids=str,
)
def test_an_agreement_that_cannot_be_is_no_answer(bank: Bank, changes: dict[str, Any]) -> None:
    told = changed(AGREED, **changes)
    refuses(bank, "/v1/bindings/confirm", {"result": "bound", "agreement": told})
    refuses(bank, "/v1/bindings/status", {"state": "bound", "agreement": told})
    refuses(bank, "/v1/agreements", {"agreements": [told], "cursor": "c", "more": False})


def test_an_agreement_of_another_start_is_no_answer(bank: Bank) -> None:
    told = changed(AGREED, start_request=OTHER)
    refuses(bank, "/v1/bindings/confirm", {"result": "bound", "agreement": told})
    refuses(bank, "/v1/bindings/status", {"state": "bound", "agreement": told})


# --- pages


def page(name: str, *told: object, cursor: Any = "c-1", more: Any = False) -> dict[str, Any]:
    return {name: list(told), "cursor": cursor, "more": more}


@pytest.mark.parametrize(("name", "one"), [("notices", TOLD), ("agreements", AGREED)])
@pytest.mark.parametrize(
    "changes",
    [
        *({"cursor": cursor} for cursor in ("", "c" * 201, "c 1", "c\n", 1, None)),
        *({"more": more} for more in ("no", None, 1)),
        {"cursor": "c-0", "more": True},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_a_page_that_makes_no_sense_is_no_answer(
    bank: Bank, name: str, one: dict[str, Any], changes: dict[str, Any]
) -> None:
    refuses(bank, f"/v1/{name}", page(name, one, **changes))


@pytest.mark.parametrize(("name", "one"), [("notices", TOLD), ("agreements", AGREED)])
def test_a_page_is_read_up_to_its_bounds(bank: Bank, name: str, one: dict[str, Any]) -> None:
    def found() -> Any:
        return CALLS[f"/v1/{name}"](bank.gateway)

    bank.told = page(name, *[one] * PAGE, cursor="~" * 200, more=True)
    assert (len(getattr(found(), name)), found().cursor, found().more) == (PAGE, "~" * 200, True)
    bank.told = page(name, cursor="c-0")
    assert (getattr(found(), name), found().cursor, found().more) == ((), "c-0", False)
    refuses(bank, f"/v1/{name}", page(name, *[one] * (PAGE + 1)))
    refuses(bank, f"/v1/{name}", page(name, more=True))  # an empty page with another behind it, for ever
    refuses(bank, f"/v1/{name}", {name: {}, "cursor": "c", "more": False})
    refuses(bank, f"/v1/{name}", {"cursor": "c", "more": False})
    refuses(bank, f"/v1/{name}", page(name, "one"))


def test_the_largest_page_fits_in_an_answer() -> None:
    longest = changed(AGREED, token="~" * 128, bank="A" * 16, kind="credit", single_limit=10**12, day_limit=10**12)
    assert len(json.dumps(page("agreements", *[longest] * PAGE, cursor="~" * 200))) < LIMIT * 2 / 3
    told = changed(TOLD, notice_id="n" * 64, what="limits", happened_at="2026-03-01T04:00:00.123456+08:00")
    told |= {"single_limit": 10**12, "day_limit": 10**12}
    assert len(json.dumps(page("notices", *[told] * PAGE, cursor="~" * 200))) < LIMIT * 2 / 3


# --- notices


@pytest.mark.parametrize("what", list(NoticeKind))
def test_only_a_notice_of_limits_has_limits(bank: Bank, what: NoticeKind) -> None:
    bank.told = page("notices", changed(TOLD, what=what.value, single_limit=0, day_limit=10**12))
    limits = (0, 10**12) if what is NoticeKind.LIMITS else (None, None)
    assert bank.gateway.notices(date(2026, 3, 1), None).notices == (
        Notice("B-1", what, START, NOTICE.happened_at, *limits),
    )


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2026-03-01T04:05:00Z", NOW + timedelta(minutes=5)),
        ("2026-03-01T12:05:00.000000+08:00", NOW + timedelta(minutes=5)),
        ("2000-01-01T00:00:00Z", datetime(2000, 1, 1, tzinfo=UTC)),
        ("2026-02-28T23:00:00.5-05:00", datetime(2026, 3, 1, 4, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_a_time_of_a_notice_is_an_instant_up_to_five_minutes_ahead(text: str, read: datetime) -> None:
    assert read_notice(changed(TOLD, happened_at=text), now=NOW).happened_at == read


NO_NOTICE: list[dict[str, Any]] = [
    *({name: BOTTOM} for name in ("what", "start_request", "happened_at")),
    *({"what": what} for what in ("", "ENDED", "opened", None, 1, ["ended"])),
    *({"start_request": start} for start in ("", START.hex, f"{{{START}}}", None, 1)),
    *(
        {"happened_at": at}
        for at in (
            "",
            "2026-03-01T04:05:00.000001Z",
            "2026-03-01T04:00:00",
            "2026-03-01 04:00:00Z",
            "2026-03-01",
            "20260301T040000Z",
            "2026-W09-7T04:00:00Z",
            "2026-02-30T04:00:00Z",
            "2026-03-01T24:00:00Z",
            "2026-03-01T04:00:00+25:00",
            "1999-12-31T23:59:59Z",
            "0001-01-01T00:00:00+14:00",
            "2026-03-01T04:00:00Z\n",
            1772337600,
            None,
        )
    ),
    *({"what": "limits", name: fen} for name in ("single_limit", "day_limit") for fen in NO_LIMIT),
]


@pytest.mark.parametrize("changes", NO_NOTICE, ids=str)
def test_one_notice_that_cannot_be_does_not_stop_the_others(bank: Bank, changes: dict[str, Any]) -> None:
    wrong = changed(TOLD, **({"notice_id": "B-2"} | changes))
    with pytest.raises(Misshapen):
        read_notice(wrong, now=NOW)
    bank.told = page("notices", TOLD, wrong, changed(TOLD, notice_id="B-3"))
    with capture_logs() as lines:
        found = bank.gateway.notices(date(2026, 3, 1), None)
    assert [one.notice_id for one in found.notices] == ["B-1", "B-3"]
    assert found.unreadable == ("B-2",)
    assert [(line["event"], line["count"]) for line in lines] == [("bank notices cannot be read", 1)]


@pytest.mark.parametrize("notice_id", ["n", "n" * 64, "B-1_a.b:c"])
def test_an_id_of_a_notice(notice_id: str) -> None:
    assert read_notice(changed(TOLD, notice_id=notice_id), now=NOW).notice_id == notice_id


@pytest.mark.parametrize("notice_id", ["", "n" * 65, "B 1", "B-1\n", "通知", 1, None, BOTTOM], ids=str)
def test_a_notice_without_an_id_is_no_notice_and_its_page_no_page(bank: Bank, notice_id: object) -> None:
    told = changed(TOLD, notice_id=notice_id)
    with pytest.raises(Misshapen):
        read_notice(told, now=NOW)
    refuses(bank, "/v1/notices", page("notices", TOLD, told))


@pytest.mark.parametrize("told", [None, [], [TOLD], "B-1", 1])
def test_what_is_no_object_is_no_notice(told: object) -> None:
    with pytest.raises(Misshapen):
        read_notice(told, now=NOW)


# --- what is told of people


@pytest.mark.parametrize("script", [silent, echoing, echoed_as_an_answer, echoed_as_no_http, echoed_as_a_length])
def test_nothing_of_a_person_is_in_errors_or_logs(
    bank: Bank, script: Callable[[Asked], list[bytes | float]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    forget_loggers()
    bank.script = script
    errors: list[BaseException] = []
    with capture_logs() as lines:
        for path in ("/v1/bindings/start", "/v1/bindings/confirm"):
            with pytest.raises(BankAway) as away:
                CALLS[path](bank.gateway)
            errors.append(away.value)
    told = [json.dumps(line, ensure_ascii=False, default=repr) for line in lines]
    told += [record.getMessage() for record in caplog.records if record.name.startswith("urllib3")]
    for error in errors:
        told += [*traceback.format_exception(error), repr(error), repr(vars(error))]
    assert len(lines) == 2
    for secret in (ACCOUNT, NAME, NUMBER, PHONE, CODE, ascii(NAME)[1:-1]):
        assert not any(secret in text for text in told)


def test_a_token_of_an_answer_that_is_refused_is_told_nowhere(bank: Bank) -> None:
    bank.told = {"result": "bound", "agreement": changed(AGREED, kind="prepaid")}
    with capture_logs() as lines, pytest.raises(BankAway) as away:
        bank.gateway.confirm(START, REQUEST, CODE)
    told = repr(lines) + "".join(traceback.format_exception(away.value)) + repr(vars(away.value))
    assert TOKEN not in told


def test_what_prints_itself_holds_no_factor_and_no_token() -> None:
    printed = repr(
        [FACTORS, AGREEMENT, Status(AtBank.BOUND, AGREEMENT), AgreementPage((AGREEMENT,), "c", more=False), NOTICE]
    )
    for secret in (ACCOUNT, ACCOUNT[:6], NAME, NUMBER, PHONE, TOKEN):
        assert secret not in printed


def test_the_error_says_what_to_do_in_both_languages_and_when(bank: Bank) -> None:
    bank.script = silent
    with pytest.raises(Unavailable) as away:
        bank.gateway.status(START)
    assert (away.value.code, away.value.retry_after) == ("bank-away", 5)
    assert away.value.detail.zh
    assert away.value.detail.en.isascii()


def test_the_key_may_be_given_as_its_file(tmp_path: Path) -> None:
    PartyKey.make_file(tmp_path / "key", "a-key")
    HttpBankGateway("https://bank.example", tmp_path / "key", clock=HeldClock(NOW))
    with pytest.raises(SetupError):
        HttpBankGateway("https://bank.example", tmp_path / "none", clock=HeldClock(NOW))
    with pytest.raises(SetupError):
        HttpBankGateway("http://bank.example", tmp_path / "key", clock=HeldClock(NOW))
