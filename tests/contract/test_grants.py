"""An app sees the cards of the people it registered, and cannot tell the others from cards that do not exist."""

from typing import Any
from uuid import uuid4

import pytest

from tests.contract.helpers import problem, without_request_id
from tests.support.service import Api, Service
from tests.support.service import told as answered

Body = dict[str, Any] | None

CALLS: list[tuple[str, str, Body]] = [
    ("GET", "", None),
    ("GET", "/verifications", None),
    ("POST", "/suspend", {"reason": "r"}),
    ("POST", "/resume", {"reason": "r"}),
    ("POST", "/cancel", {"reason": "r"}),
    ("POST", "/codes", {}),
]
each_call = pytest.mark.parametrize(("method", "path", "body"), CALLS, ids=[f"{c[0]} {c[1]}" for c in CALLS])


def call(api: Api, card_id: str, method: str, path: str, body: Body) -> Any:
    address = f"/v1/cards/{card_id}{path}"
    return api.get(address) if method == "GET" else api.post(address, body)


@each_call
def test_a_foreign_card_is_answered_like_a_missing_one(
    shared: Service, newcomer: dict[str, Any], method: str, path: str, body: Body
) -> None:
    card_id = shared.app.register(**newcomer)["card_id"]
    foreign = call(shared.other_app, card_id, method, path, body)
    missing = call(shared.other_app, str(uuid4()), method, path, body)
    assert problem(foreign) == (404, "card-not-found")
    assert without_request_id(foreign) == without_request_id(missing)
    unlike = {"Date", "X-Request-Id", "RateLimit"}
    assert {k: v for k, v in foreign.headers if k not in unlike} == {
        k: v for k, v in missing.headers if k not in unlike
    }
    assert answered(call(shared.app, card_id, "GET", "", None))["status"] == "active"


@each_call
def test_who_registers_the_same_person_sees_the_card(
    shared: Service, newcomer: dict[str, Any], method: str, path: str, body: Body
) -> None:
    first = shared.app.register(**newcomer)
    assert shared.other_app.register(**newcomer) == first
    answer = call(shared.other_app, first["card_id"], method, path, body)
    assert answer.status_code == (409 if path == "/resume" else 201 if path == "/codes" else 200)


def test_a_grant_takes_nothing_from_the_app_that_was_first(shared: Service, newcomer: dict[str, Any]) -> None:
    card = shared.app.register(**newcomer)
    shared.other_app.register(**newcomer)
    assert answered(shared.app.get(f"/v1/cards/{card['card_id']}")) == card


@pytest.mark.parametrize(
    "card_id", ["1", "00000000", "not-a-uuid", "0190163d-8694-739b-aea5-966c26f8ad9", "%00", "a/b"]
)
def test_an_id_of_another_form_is_no_address(shared: Service, card_id: str) -> None:
    assert problem(shared.app.get(f"/v1/cards/{card_id}")) == (404, "not-found")


@each_call
def test_a_terminal_may_not_touch_cards(
    shared: Service, newcomer: dict[str, Any], method: str, path: str, body: Body
) -> None:
    card_id = shared.app.register(**newcomer)["card_id"]
    answer = call(shared.terminal, card_id, method, path, body)
    scope = "codes" if path == "/codes" else "cards"
    assert problem(answer) == (403, "insufficient-scope")
    assert answer.headers["WWW-Authenticate"] == f'Bearer error="insufficient_scope", scope="{scope}"'


def test_a_terminal_may_not_register(shared: Service, newcomer: dict[str, Any]) -> None:
    assert problem(shared.terminal.post("/v1/cards", newcomer)) == (403, "insufficient-scope")


def test_an_app_may_not_check_codes(shared: Service) -> None:
    answer = shared.app.post("/v1/verifications", {"code": "691", "step": "other"})
    assert problem(answer) == (403, "insufficient-scope")
