"""Temporary cards: made for somebody whom nobody can name, unverified everywhere, over by themselves, joined later."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from ehc.issuer import temporary
from tests.contract.helpers import at_once, poster, problem, row_counts, secrets_of, wrong
from tests.support.service import Api, Service
from tests.support.service import told as answered


def arrival(service: Service, **changes: Any) -> dict[str, Any]:
    return {"name": "unknown", "sex": "male", "age": 40, "visit_at": service.clock.now().isoformat()} | changes


def made(service: Service, **changes: Any) -> dict[str, Any]:
    answer = service.app.post("/v1/temporary-cards", arrival(service, **changes))
    assert answer.status_code == 201, answer.text
    return answered(answer)


def expire(service: Service) -> int:
    with service.session() as session:
        return temporary.expire(session, secrets=secrets_of(service), now=service.clock.now())


def later(service: Service, seconds: float) -> Service:
    """The clock moved, with new tokens where the old ones have passed."""
    service.clock.advance(seconds)
    for name in ("app", "terminal"):
        setattr(service, name, Api(service.client(), getattr(service, name).credentials))
    return service


def test_an_unknown_patient_has_a_card_at_once(service: Service) -> None:
    card = made(service)
    assert (card["kind"], card["level"], card["status"]) == ("temporary", "none", "active")
    assert (card["ehc_id"], card["index_id"]) == (None, None)
    assert card["resident"] == {
        "name": "未*",
        "id_type": None,
        "id_number": None,
        "phone": None,
        "sex": "1",
        "age": 40,
    }
    assert len(card["code"]) <= 20
    assert card["expires_at"].startswith(str((service.clock.now() + timedelta(days=7)).date()))


def test_a_check_says_that_nothing_is_verified(service: Service) -> None:
    card = made(service, name="张某")
    told = service.terminal.scan(card["code"])
    assert told["outcome"] == "accepted"
    assert (told["card"]["kind"], told["card"]["verified"], told["card"]["level"]) == ("temporary", False, "none")
    assert told["card"]["assurance"] == "unverified"
    assert told["resident"]["name"] == "张*"


def test_its_code_is_told_once_and_kept_hidden(service: Service) -> None:
    card = made(service)
    assert "code" not in answered(service.app.get(f"/v1/cards/{card['card_id']}"))
    with service.session() as session:
        index = session.scalar(text("SELECT temporary_index FROM card"))
    assert card["code"].encode() not in index


def test_it_has_no_other_codes(service: Service) -> None:
    card = made(service)
    for body in ({}, {"format": "national"}, {"kind": "static"}, {"format": "national", "kind": "static"}):
        assert problem(service.app.post(f"/v1/cards/{card['card_id']}/codes", body)) == (409, "card-not-active")


@pytest.mark.parametrize(("seconds", "outcome"), [(7 * 86400 - 1, "accepted"), (7 * 86400 + 1, "rejected")])
def test_it_is_over_by_itself(service: Service, seconds: int, outcome: str) -> None:
    card = made(service)
    later(service, seconds)
    told = service.terminal.scan(card["code"])
    assert told["outcome"] == outcome
    assert told["reason"] in {None, "expired"}
    assert expire(service) == (outcome == "rejected")
    assert expire(service) == 0
    assert service.terminal.scan(card["code"])["outcome"] == outcome


def test_a_formal_card_goes_on_with_its_history(service: Service) -> None:
    card, formal = made(service), service.app.register(1)["card_id"]
    service.terminal.scan(card["code"], step="diagnosis")
    service.clock.advance(1)
    path, body = f"/v1/temporary-cards/{card['card_id']}/join", {"card_id": formal, "reason": "家属认出"}
    answer = service.app.post(path, body)
    assert (answer.status_code, answered(answer)["card_id"]) == (200, formal)
    assert service.terminal.scan(card["code"])["reason"] == "card-cancelled"
    service.terminal.scan(service.app.code(formal))
    told = answered(service.app.get(f"/v1/cards/{formal}/verifications"))["items"]
    assert {(entry["step"], entry["reason"]) for entry in told} >= {("diagnosis", None), ("registration", None)}
    assert problem(service.app.post(path, body))[1] in {"card-state", "card-not-found"}


def test_only_a_temporary_card_joins_a_formal_one(service: Service) -> None:
    card, formal, other = made(service), service.app.register(1)["card_id"], service.app.register(2)["card_id"]
    body = {"card_id": formal, "reason": "r"}
    assert problem(service.app.post(f"/v1/temporary-cards/{other}/join", body)) == (409, "card-state")
    wrong_way = {"card_id": made(service)["card_id"], "reason": "r"}
    assert problem(service.app.post(f"/v1/temporary-cards/{card['card_id']}/join", wrong_way)) == (409, "card-state")
    path = f"/v1/temporary-cards/{card['card_id']}/join"
    assert problem(service.other_app.post(path, body)) == (404, "card-not-found")
    service.app.post(f"/v1/cards/{formal}/cancel", {"reason": "r"})
    assert problem(service.app.post(path, body)) == (404, "card-not-found")


def test_two_who_recognise_a_patient_at_once_do_not_both_win(service: Service) -> None:
    for n in range(8):
        card = made(service)["card_id"]
        formals = [service.app.register(10 + 2 * n + k)["card_id"] for k in (0, 1)]
        calls = [
            poster(service, service.app, f"/v1/temporary-cards/{card}/join", {"card_id": formal, "reason": "r"})
            for formal in formals
        ]
        statuses = sorted(answer.status_code for answer in at_once(*calls))
        assert statuses[0] == 200
        assert statuses[1] in {404, 409}


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"name": ""}, [("/name", "length")]),
        ({"name": "@#%"}, [("/name", "name-character")]),
        ({"sex": "robot"}, [("/sex", "choice")]),
        ({"age": -1}, [("/age", "range")]),
        ({"age": 151}, [("/age", "range")]),
        ({"visit_at": "2026-01-09 16:00"}, [("/visit_at", "datetime")]),
        ({"id_number": "1"}, [("/id_number", "unknown-member")]),
    ],
)
def test_a_wrong_arrival_is_refused(service: Service, changes: Any, errors: Any) -> None:
    before = row_counts(service)
    assert wrong(service.app.post("/v1/temporary-cards", arrival(service, **changes))) == errors
    assert row_counts(service) == before


@pytest.mark.parametrize(("seconds", "status"), [(-7 * 86400, 201), (-7 * 86400 - 1, 422), (300, 201), (301, 422)])
def test_a_visit_is_recent(service: Service, seconds: int, status: int) -> None:
    visit_at = (service.clock.now() + timedelta(seconds=seconds)).isoformat()
    assert service.app.post("/v1/temporary-cards", arrival(service, visit_at=visit_at)).status_code == status


@pytest.mark.parametrize("age", [0, 150, None])
def test_an_age_comes_back_as_told(service: Service, age: int | None) -> None:
    body = {name: value for name, value in arrival(service, age=age).items() if value is not None}
    assert answered(service.app.post("/v1/temporary-cards", body))["resident"]["age"] == age


def test_a_temporary_card_is_made_once_for_a_key(service: Service) -> None:
    post = partial(service.app.post, "/v1/temporary-cards", arrival(service), Idempotency_Key="k1")
    assert answered(post())["code"] == answered(post())["code"]
    assert row_counts(service)["card"] == 1
