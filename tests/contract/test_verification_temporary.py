"""Temporary codes at the scanner: whoever holds one is a patient whose identity nobody has proved."""

from datetime import timedelta
from typing import Any

import pytest

from ehc.codes.temporary_text import make_temporary
from ehc.verify.reasons import TEMPORARY_ADVICE, Reason
from tests.contract.helpers import minted, serial_of
from tests.support.national import change
from tests.support.service import Service
from tests.support.service import told as answered

Card = dict[str, Any]


@pytest.fixture
def card(service: Service) -> Card:
    """A patient's, as the window has it made."""
    visit = {"name": "王小明", "sex": "male", "age": 40, "visit_at": service.clock.now().isoformat()}
    answer = service.app.post("/v1/temporary-cards", visit)
    assert answer.status_code == 201, answer.text
    return answered(answer)


@pytest.fixture
def code(card: Card) -> str:
    return str(card["code"])


def test_it_tells_who_the_patient_is_said_to_be(service: Service, card: Card, code: str) -> None:
    told = service.terminal.scan(code)
    assert told["card"] == {
        "card_id": card["card_id"],
        "status": "active",
        "level": "none",
        "kind": "temporary",
        "verified": False,
        "assurance": "unverified",
    }
    assert told["resident"] == {key: card["resident"][key] for key in ("name", "sex", "age")}
    (entry,) = history(service, card)
    assert (entry["assurance"], entry["disclosed"]) == ("unverified", ["name:masked", "sex", "age"])


def history(service: Service, card: Card) -> list[dict[str, Any]]:
    items = answered(service.app.get(f"/v1/cards/{card['card_id']}/verifications"))["items"]
    assert isinstance(items, list)
    return items


def advice(service: Service, code: str) -> str:
    body = {"code": code, "step": "registration"}
    return str(answered(service.terminal.post("/v1/verifications", body, Accept_Language="en"))["message"])


def test_it_pays_and_is_not_used_up(service: Service, card: Card, code: str) -> None:
    told = [service.terminal.scan(code, step) for step in ("payment", "payment", "medicine")]
    assert {answer["outcome"] for answer in told} == {"accepted"}
    assert len({answer["verification_id"] for answer in told}) == 3


def test_no_switch_of_static_codes_concerns_it(service: Service, card: Card, code: str) -> None:
    change(service, card, static_allowed=False)
    assert service.terminal.scan(code)["outcome"] == "accepted"
    assert service.second_terminal.scan(code)["outcome"] == "accepted"


def test_no_second_factor_verifies_it(service: Service, card: Card, code: str) -> None:
    for factor in ({"phone_last4": "8000"}, {"phone_last4": "9999"}, {"document_seen": True}):
        told = service.terminal.scan(code, second_factor=factor, operator="李")
        assert (told["card"]["verified"], told["card"]["assurance"]) == (False, "unverified")
        assert "second_factor" not in told


def test_it_ends_when_its_card_does(service: Service, card: Card, code: str) -> None:
    change(service, card, expires_at=service.clock.now() + timedelta(seconds=100))
    service.clock.advance(100)
    assert service.terminal.scan(code)["outcome"] == "accepted"
    service.clock.advance(0.001)
    assert service.terminal.scan(code)["reason"] == "expired"
    assert advice(service, code) == TEMPORARY_ADVICE[Reason.EXPIRED].en


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"status": "cancelled", "cause": "expired"}, "expired"),
        ({"status": "cancelled", "cause": "joined"}, "card-cancelled"),
        ({"status": "cancelled", "cause": "cancelled"}, "card-cancelled"),
        ({"status": "suspended"}, "card-suspended"),
        ({"status": "lost"}, "card-suspended"),
    ],
)
def test_the_state_of_its_card_decides(
    service: Service, card: Card, code: str, columns: dict[str, str], reason: str
) -> None:
    change(service, card, **columns)
    assert service.terminal.scan(code)["reason"] == reason
    assert [entry["reason"] for entry in history(service, card)] == [reason]
    wanted = TEMPORARY_ADVICE.get(Reason(reason))
    assert wanted is None or advice(service, code) == wanted.en


def test_where_sharing_has_ended_nothing_is_told(service: Service, card: Card, code: str) -> None:
    change(service, card, sharing=False)
    assert service.terminal.scan(code)["resident"] is None


def test_a_code_of_nobody_is_not_issued(service: Service, card: Card) -> None:
    assert service.terminal.scan(make_temporary())["reason"] == "not-issued"


def test_a_code_with_a_wrong_check_digit_is_malformed_and_asks_no_database(
    service: Service, card: Card, code: str
) -> None:
    service.terminal.scan(code)
    with service.statements() as seen:
        assert service.terminal.scan(f"{code[:-1]}{(int(code[-1]) + 1) % 10}")["reason"] == "malformed"
    assert seen == []


@pytest.mark.parametrize("around", [("", "\r\n"), (" ", ""), ("\t", " ")], ids=repr)
def test_white_space_that_a_scanner_adds_is_tolerated(
    service: Service, card: Card, code: str, around: tuple[str, str]
) -> None:
    assert service.terminal.scan(code.join(around))["outcome"] == "accepted"


def test_a_dynamic_code_of_such_a_card_proves_no_more(service: Service, card: Card) -> None:
    told = service.terminal.scan(minted(service, serial=serial_of(service, card["card_id"])))
    assert (told["card"]["verified"], told["card"]["assurance"]) == (False, "unverified")
