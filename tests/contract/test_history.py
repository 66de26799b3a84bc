"""`GET /v1/cards/{card_id}/verifications`: who checked a card, newest first, page by page."""

from base64 import urlsafe_b64encode
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from ehc.core.ids import uuid7
from ehc.verify.models import VerificationRow
from ehc.web.answers import instant
from tests.contract.helpers import problem, serial_of, wrong
from tests.support.national import change
from tests.support.service import Service
from tests.support.service import told as answered


@pytest.fixture
def card_id(shared: Service, newcomer: dict[str, Any]) -> str:
    return str(shared.app.register(**newcomer)["card_id"])


def checked(service: Service, card_id: str, times: int, *, apart: float = 1.0) -> list[str]:
    """Ids of checks written so many seconds apart, in the order of the list."""
    serial, now = serial_of(service, card_id), service.clock.now()
    made = []
    with service.session() as session:
        for number in range(times):
            at = now - timedelta(seconds=apart * number)
            made.append((at, uuid7(at)))
            row = {"card_serial": serial, "verified_at": at, "id": made[-1][1], "client_id": uuid4()}
            session.add(VerificationRow(step="other", disclosed=["sex"], **row))
    return [str(made_id) for _, made_id in sorted(made, reverse=True)]


def listed(service: Service, card_id: str, **query: Any) -> dict[str, Any]:
    address = f"/v1/cards/{card_id}/verifications"
    answer = service.app.http.get(address, query_string=query, headers=service.app.headers)
    assert answer.status_code == 200, answer.text
    return dict(answered(answer))


def refused(service: Service, card_id: str, **query: Any) -> list[tuple[str, str]]:
    address = f"/v1/cards/{card_id}/verifications"
    return wrong(service.app.http.get(address, query_string=query, headers=service.app.headers))


def ids(page: dict[str, Any]) -> list[str]:
    return [entry["verification_id"] for entry in page["items"]]


def test_a_card_that_nobody_checked_has_an_empty_list(shared: Service, card_id: str) -> None:
    assert listed(shared, card_id) == {"items": [], "next": None}


def test_a_check_tells_who_when_for_what_and_what_was_disclosed(shared: Service, card_id: str) -> None:
    told = shared.terminal.scan(shared.app.code(card_id), "medicine", channel="01", department="0301", operator="李")
    (entry,) = listed(shared, card_id)["items"]
    assert entry == {
        "verification_id": told["verification_id"],
        "verified_at": instant(shared.clock.now()),
        "outcome": "accepted",
        "reason": None,
        "institution": "第一医院",
        "step": "medicine",
        "channel": "window",
        "department": "0301",
        "assurance": "dynamic",
        "disclosed": ["name:masked", "sex", "age"],
    }


def test_a_refused_check_disclosed_nothing(shared: Service, card_id: str) -> None:
    code = shared.app.code(card_id)
    shared.terminal.scan(code)
    shared.second_terminal.scan(code)
    entries = {entry["outcome"]: entry for entry in listed(shared, card_id)["items"]}
    refusal = entries["rejected"]
    assert (refusal["reason"], refusal["institution"], refusal["disclosed"]) == ("already-used", "第二医院", [])


def test_checks_come_newest_first(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    made = []
    for _ in range(3):
        made.append(service.terminal.scan(service.app.code(card_id))["verification_id"])
        service.clock.advance(1)
    assert ids(listed(service, card_id)) == made[::-1]


def test_checks_of_another_card_are_not_in_the_list(shared: Service, card_id: str, newcomer: dict[str, Any]) -> None:
    other = shared.app.register(id_type="99", id_number=newcomer["id_number"])["card_id"]
    checked(shared, other, 3)
    assert listed(shared, card_id)["items"] == []


@pytest.mark.parametrize("apart", [1.0, 0.0, 86400.0], ids=["seconds", "one moment", "days"])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_pages_hold_every_check_once_and_in_order(shared: Service, card_id: str, apart: float, limit: int) -> None:
    expected = checked(shared, card_id, 7, apart=apart)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": limit}
    while True:
        page = listed(shared, card_id, **query)
        seen += ids(page)
        if page["next"] is None:
            break
        assert len(page["items"]) == limit
        query["cursor"] = page["next"]
    assert seen == expected


def test_a_page_begun_is_not_moved_by_newer_checks(shared: Service, card_id: str) -> None:
    expected = checked(shared, card_id, 4)
    page = listed(shared, card_id, limit=2)
    shared.terminal.scan(shared.app.code(card_id))
    assert ids(page) + ids(listed(shared, card_id, limit=2, cursor=page["next"])) == expected


def test_a_page_has_20_checks_unless_asked(shared: Service, card_id: str) -> None:
    checked(shared, card_id, 21)
    page = listed(shared, card_id)
    assert len(page["items"]) == 20
    assert len(listed(shared, card_id, cursor=page["next"])["items"]) == 1


def test_a_last_page_that_is_full_has_no_next(shared: Service, card_id: str) -> None:
    checked(shared, card_id, 4)
    page = listed(shared, card_id, limit=2)
    assert listed(shared, card_id, limit=2, cursor=page["next"])["next"] is None


@pytest.mark.parametrize("limit", [1, 100])
def test_a_limit_is_taken_up_to_its_bounds(shared: Service, card_id: str, limit: int) -> None:
    checked(shared, card_id, 101)
    assert len(listed(shared, card_id, limit=limit)["items"]) == limit


@pytest.mark.parametrize(
    ("limit", "code"),
    [("0", "range"), ("101", "range"), ("-1", "range"), ("x", "type"), ("", "type"), ("1.5", "type"), ("1_0", "type")],
)
def test_another_limit_is_refused(shared: Service, card_id: str, limit: str, code: str) -> None:
    assert refused(shared, card_id, limit=limit) == [("/limit", code)]


def b64(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode()


CURSORS = {
    "empty": "",
    "word": "x",
    "not base64": "!!!",
    "chinese": "游标",
    "NUL": "\x00",
    "no id": b64("2026-01-01T00:00:00+00:00"),
    "no time": b64("|0190163d-8694-739b-aea5-966c26f8ad91"),
    "no offset": b64("2026-01-01T00:00:00|0190163d-8694-739b-aea5-966c26f8ad91"),
    "no such day": b64("2026-02-30T00:00:00+00:00|0190163d-8694-739b-aea5-966c26f8ad91"),
    "three parts": b64("2026-01-01T00:00:00+00:00|0190163d-8694-739b-aea5-966c26f8ad91|x"),
    "SQL": b64("2026-01-01T00:00:00+00:00|' OR 1=1 --"),
    "not UTF-8": "_w==",
    "long": "A" * 5000,
}


@pytest.mark.parametrize("cursor", CURSORS.values(), ids=CURSORS.keys())
def test_what_is_not_a_cursor_is_refused(shared: Service, card_id: str, cursor: str) -> None:
    assert refused(shared, card_id, cursor=cursor) == [("/cursor", "cursor")]


@pytest.mark.parametrize(
    "when",
    [
        "0001-01-01T00:00:00+00:00",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59.999999-23:59",
        "2026-01-01T00:00:00+00:00:00.000001",
        "2026-01-01T00:00:00+23:59:59.999999",
    ],
)
def test_a_cursor_at_the_end_of_time_is_answered(shared: Service, card_id: str, when: str) -> None:
    """No cursor of ours says so, but whoever makes one must not reach the database's own errors."""
    cursor = b64(f"{when}|0190163d-8694-739b-aea5-966c26f8ad91")
    address = f"/v1/cards/{card_id}/verifications"
    answer = shared.app.http.get(address, query_string={"cursor": cursor}, headers=shared.app.headers)
    assert answer.status_code in {200, 422}


@pytest.mark.parametrize("name", ["page", "offset", "Limit"])
def test_an_unknown_parameter_is_refused(shared: Service, card_id: str, name: str) -> None:
    ((_, code),) = refused(shared, card_id, **{name: "1"})
    assert code == "unknown-member"


def test_the_list_of_another_apps_card_is_not_told(shared: Service, card_id: str) -> None:
    checked(shared, card_id, 1)
    assert problem(shared.other_app.get(f"/v1/cards/{card_id}/verifications")) == (404, "card-not-found")


def test_the_list_of_a_cancelled_card_is_no_longer_told(shared: Service, card_id: str) -> None:
    """Cancelling ends what the app may see (`ehc/issuer/lifecycle.py`); the record stays."""
    shared.terminal.scan(shared.app.code(card_id))
    shared.app.post(f"/v1/cards/{card_id}/cancel", {"reason": "r"})
    assert problem(shared.app.get(f"/v1/cards/{card_id}/verifications")) == (404, "card-not-found")


def joined(service: Service, card_id: str, into: str) -> None:
    serial = serial_of(service, into)
    change(service, {"card_id": card_id}, status="cancelled", cause="joined", joined_to=serial)


def test_checks_of_joined_cards_go_on_in_the_list(service: Service) -> None:
    """Through two joins, in one order, page by page."""
    cards = [service.app.register(number)["card_id"] for number in (1, 2, 3, 4)]
    made: list[str] = []
    for _ in range(4):
        for card_id in cards:
            made.append(service.terminal.scan(service.app.code(card_id))["verification_id"])
            service.clock.advance(1)
    mine, first, second, other = cards
    others = {scan for number, scan in enumerate(made) if number % 4 == cards.index(other)}
    joined(service, first, mine)
    joined(service, second, first)
    expected = [scan for scan in reversed(made) if scan not in others]
    assert ids(listed(service, mine, limit=100)) == expected
    seen: list[str] = []
    page: dict[str, Any] = {"next": ""}
    while page["next"] is not None:
        page = listed(service, mine, limit=5, **({"cursor": page["next"]} if page["next"] else {}))
        seen += ids(page)
    assert seen == expected
    assert set(ids(listed(service, other))) == others
    assert len(ids(listed(service, second))) == 4


def test_a_page_is_one_statement_besides_the_look_at_the_card_and_the_names(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    service.terminal.scan(service.app.code(card_id))
    with service.statements() as seen:
        listed(service, card_id)
    assert len([sent for sent in seen if "verification" in sent]) == 1
