"""A plastic card at the scanner: the same account, the same disclosure, the same record, a lower assurance."""

from typing import Any

import pytest
from sqlalchemy import text

from tests.contract.helpers import wrong
from tests.support.plastic import ATR, bound, checked, delete, later, path, read
from tests.support.service import Service, told

DAY = 86_400
RIGHT, WRONG = {"phone_last4": "8000"}, {"phone_last4": "8001"}
SEEN = {"document_seen": True}


@pytest.fixture
def card(service: Service) -> dict[str, Any]:
    made = checked(service)
    bound(service, made)
    service.clock.advance(1)
    return made


def entries(service: Service, card: dict[str, Any]) -> list[dict[str, Any]]:
    return list(told(service.app.get(f"/v1/cards/{card['card_id']}/verifications"))["items"])


def test_it_tells_what_a_dynamic_code_tells_and_is_recorded_alike(service: Service, card: dict[str, Any]) -> None:
    code = service.terminal.scan(service.app.code(card["card_id"]))
    service.clock.advance(1)
    plastic = read(service)
    assert plastic["resident"] == code["resident"]
    assert plastic["card"] == code["card"] | {"assurance": "plastic"}
    assert set(plastic) == set(code)
    first, second = entries(service, card)[:2]
    told_of = ("outcome", "reason", "institution", "step", "channel", "disclosed")
    assert [first[name] for name in told_of] == [second[name] for name in told_of]
    assert [first["assurance"], second["assurance"]] == ["plastic", "dynamic"]


def test_a_scan_is_one_statement(service: Service, card: dict[str, Any]) -> None:
    read(service)
    with service.statements() as seen:
        read(service)
    asked = [sql for sql in seen if sql.strip().upper() not in {"BEGIN", "COMMIT"}]
    assert len(asked) == 1
    assert "plastic_card" in asked[0]


@pytest.mark.parametrize("factor", [RIGHT, SEEN])
def test_a_second_factor_raises_the_assurance(service: Service, card: dict[str, Any], factor: dict[str, Any]) -> None:
    scan = read(service, second_factor=factor, operator="李")
    assert (scan["card"]["assurance"], scan["second_factor"]) == ("plastic-confirmed", {"state": "confirmed"})
    assert entries(service, card)[0]["assurance"] == "plastic-confirmed"


def test_five_wrong_phones_lock_digits_out_for_a_day_and_nothing_else(service: Service, card: dict[str, Any]) -> None:
    left = [read(service, second_factor=WRONG)["second_factor"]["tries_left"] for _ in range(5)]
    assert left == [4, 3, 2, 1, 0]
    for seconds in (0, DAY - 0.001):
        later(service, seconds)
        assert read(service, second_factor=RIGHT)["reason"] == "static-not-allowed"
        assert read(service, at=service.second_terminal, second_factor=WRONG)["reason"] == "static-not-allowed"
        assert read(service)["card"]["assurance"] == "plastic"
        assert read(service, second_factor=SEEN, operator="李")["card"]["assurance"] == "plastic-confirmed"
    service.clock.advance(0.001)
    assert read(service, second_factor=WRONG)["second_factor"]["tries_left"] == 4
    assert read(service, second_factor=RIGHT)["second_factor"] == {"state": "confirmed"}
    assert read(service, second_factor=WRONG)["second_factor"]["tries_left"] == 4


def test_twenty_wrong_phones_lock_digits_out_until_a_document_is_seen(service: Service, card: dict[str, Any]) -> None:
    for _ in range(4):
        for _ in range(5):
            assert "second_factor" in read(service, second_factor=WRONG)
        later(service, DAY)
    assert read(service, second_factor=RIGHT)["reason"] == "static-not-allowed"
    read(service, second_factor=SEEN, operator="李")
    assert read(service, second_factor=RIGHT)["second_factor"] == {"state": "confirmed"}


def test_a_number_that_leads_nowhere(service: Service, card: dict[str, Any]) -> None:
    scan = read(service, 99)
    assert (scan["outcome"], scan["reason"]) == ("rejected", "not-issued")
    assert not {"card", "resident", "second_factor"} & set(scan)


@pytest.mark.parametrize(
    ("move", "reason"),
    [("suspend", "card-suspended"), ("report-loss", "card-suspended"), ("cancel", "card-cancelled")],
)
def test_the_account_s_state_counts(service: Service, card: dict[str, Any], move: str, reason: str) -> None:
    service.app.post(f"/v1/cards/{card['card_id']}/{move}", {"reason": "r"})
    assert read(service)["reason"] == reason


def test_refused_scans_are_in_the_holder_s_list(service: Service, card: dict[str, Any]) -> None:
    (one,) = told(service.app.get(path(card)))["items"]
    service.app.post(path(card, one["binding_id"], "report-loss"), {"reason": "r"})
    read(service)
    assert (entries(service, card)[0]["reason"], entries(service, card)[0]["assurance"]) == (
        "card-suspended",
        "plastic",
    )


def test_exactly_one_of_code_and_card(service: Service, card: dict[str, Any]) -> None:
    number, kind = {"card_number": ATR.format(1)}, {"kind": "resident-health-card"}
    for body, fault in (
        ({}, [("/code", "required")]),
        (number, [("/kind", "required")]),
        (kind, [("/card_number", "required")]),
        ({"code": "691"} | kind, [("/kind", "unknown-member")]),
        ({"code": "691"} | number, [("/card_number", "unknown-member")]),
        (number | {"kind": "bus-card"}, [("/kind", "choice")]),
    ):
        assert wrong(service.terminal.post("/v1/verifications", {"step": "registration"} | body)) == fault


def test_where_sharing_has_ended_nothing_is_told(service: Service, card: dict[str, Any]) -> None:
    with service.session() as session:
        session.execute(text("UPDATE card SET sharing = false"))
    scan = read(service)
    assert (scan["outcome"], scan["resident"]) == ("accepted", None)
    assert entries(service, card)[0]["disclosed"] == []


def test_an_answer_kept_for_a_key_does_not_outlive_the_plastic_card(service: Service, card: dict[str, Any]) -> None:
    body = {"card_number": ATR.format(1), "kind": "resident-health-card", "step": "registration"}

    def scan() -> dict[str, Any]:
        return told(service.terminal.post("/v1/verifications", body, Idempotency_Key="k"))

    first = scan()
    assert scan() == first
    (one,) = told(service.app.get(path(card)))["items"]
    service.app.post(path(card, one["binding_id"], "report-loss"), {"reason": "r"})
    assert scan()["reason"] == "card-suspended"


def test_an_answer_kept_for_a_key_does_not_outlive_the_plastic_card_s_going_to_somebody_else(
    service: Service, card: dict[str, Any]
) -> None:
    body = {"card_number": ATR.format(1), "kind": "resident-health-card", "step": "registration"}

    def scan() -> dict[str, Any]:
        return told(service.terminal.post("/v1/verifications", body, Idempotency_Key="k"))

    assert scan()["card"]["card_id"] == card["card_id"]
    (one,) = told(service.app.get(path(card)))["items"]
    delete(service.app, path(card, one["binding_id"]))
    other = checked(service, 2)
    bound(service, other)
    assert scan()["card"]["card_id"] == other["card_id"]
