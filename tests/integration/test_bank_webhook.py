"""`POST /v1/bank-notices`, asked as the bank asks it: who is let in, what is taken once, and what our answer is signed with."""

import json
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from ehc.cards.bank_models import BankNoticeRow
from ehc.outside.signed_http import FRESH, PartyKey
from tests.integration.outside import asking, outside, simulators
from tests.support.service import Service

__all__ = ["asking", "outside", "simulators"]

PATH = "/v1/bank-notices"
NONCE = "0123456789abcdef" * 2


@pytest.fixture
def key(asking: Service) -> PartyKey:
    """The key that the bank shares with that service."""
    assert asking.settings.bank_key_file is not None
    return PartyKey.from_file(asking.settings.bank_key_file)


def notice(service: Service, **changes: Any) -> dict[str, Any]:
    made = {"notice_id": "B-1", "what": "lost", "start_request": str(uuid4())}
    return made | {"happened_at": service.clock.now().isoformat(), "single_limit": None, "day_limit": None} | changes


def tell(
    service: Service, key: PartyKey, told: object, *, age: int = 0, travels: bytes | None = None, path: str = PATH,
    headers: dict[str, str | None] | None = None,
) -> TestResponse:  # fmt: skip
    """What the service answers to a signed notice; `travels` is another body in place of the signed one."""
    body, at = json.dumps(told).encode(), int(service.clock.now().timestamp()) - age
    made: dict[str, str | None] = {
        "Content-Type": "application/json",
        "X-Ehc-Key": key.key_id,
        "X-Ehc-Time": str(at),
        "X-Ehc-Nonce": NONCE,
        "X-Ehc-Signature": key.sign_request(path, at, NONCE, body),
    }
    sent = {name: value for name, value in (made | (headers or {})).items() if value is not None}
    return service.client().post(PATH, data=body if travels is None else travels, headers=sent)


def taken(service: Service) -> list[str]:
    with service.session() as session:
        return sorted(session.scalars(select(BankNoticeRow.notice_id)))


def test_a_notice_is_taken_once_and_the_answer_is_signed_for_it(asking: Service, key: PartyKey) -> None:
    told = notice(asking)
    for _ in range(2):  # the second is the first, played back: nonce and all
        answer = tell(asking, key, told)
        assert answer.status_code == 200
        assert answer.json == {"result": "taken", "notice_id": "B-1"}
        at = int(answer.headers["X-Ehc-Time"])
        assert at == int(asking.clock.now().timestamp())
        assert (answer.headers["X-Ehc-Key"], answer.headers["X-Ehc-Nonce"]) == (key.key_id, NONCE)
        assert answer.headers["X-Ehc-Signature"] == key.sign_answer(200, PATH, at, NONCE, answer.data)
    assert taken(asking) == ["B-1"]


@pytest.mark.parametrize(("age", "status"), [(FRESH, 200), (-FRESH, 200), (FRESH + 1, 401), (-FRESH - 1, 401)])
def test_a_notice_is_taken_while_its_signature_is_fresh(asking: Service, key: PartyKey, age: int, status: int) -> None:
    assert tell(asking, key, notice(asking), age=age).status_code == status
    assert taken(asking) == (["B-1"] if status == 200 else [])


@pytest.mark.parametrize("name", ["X-Ehc-Key", "X-Ehc-Time", "X-Ehc-Nonce", "X-Ehc-Signature"])
@pytest.mark.parametrize("value", [None, "", "0", "é"])
def test_a_header_that_is_not_there_or_wrong_lets_nobody_in(
    asking: Service, key: PartyKey, name: str, value: str | None
) -> None:
    answer = tell(asking, key, notice(asking), headers={name: value})
    assert (answer.status_code, (answer.json or {})["code"]) == (401, "bank-signature")
    assert "X-Ehc-Signature" not in answer.headers
    assert taken(asking) == []


def test_another_key_body_or_path_lets_nobody_in(asking: Service, key: PartyKey) -> None:
    told = notice(asking)
    answers = [
        tell(asking, PartyKey(key.key_id, b"x" * 32), told),
        tell(asking, PartyKey("another", key.secret), told),
        tell(asking, key, told, travels=json.dumps(told | {"what": "ended"}).encode()),
        tell(asking, key, told, travels=b""),
        tell(asking, key, told, path="/v1/cards"),
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert taken(asking) == []


def test_the_key_of_another_party_lets_nobody_in(asking: Service) -> None:
    assert asking.settings.sms_key_file is not None
    assert tell(asking, PartyKey.from_file(asking.settings.sms_key_file), notice(asking)).status_code == 401


def test_without_a_bank_nobody_is_let_in(service: Service) -> None:
    assert tell(service, PartyKey("simulated-bank", b"x" * 32), notice(service)).status_code == 401


@pytest.mark.parametrize(
    "changes",
    [{"notice_id": ""}, {"what": "stolen"}, {"start_request": "1"}, {"happened_at": "0001-01-01T00:00:00+14:00"}],
    ids=str,
)
def test_what_is_no_notice_is_refused_without_saying_it_back(
    asking: Service, key: PartyKey, changes: dict[str, Any]
) -> None:
    answer = tell(asking, key, notice(asking, **changes))
    assert answer.status_code == 422
    assert "stolen" not in answer.text
    assert taken(asking) == []


@pytest.mark.parametrize("travels", ["[]", "null", "1", '"B-1"'])
def test_what_is_no_object_is_refused(asking: Service, key: PartyKey, travels: str) -> None:
    assert tell(asking, key, json.loads(travels)).status_code == 422
