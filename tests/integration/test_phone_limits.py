"""How many one-time codes leave: for a number in a day, and for a client in an hour, also for many at once."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from ehc.dev.simulators.controls import Controls
from ehc.issuer import phone_proofs
from tests.contract.helpers import at_once, poster, problem
from tests.integration.outside import asking, outside, simulators
from tests.support.service import Service

__all__ = ["asking", "outside", "simulators"]

PHONE, OTHER = "13800138000", "13900139000"


def sent_ago(service: Service, phone: str, seconds: float) -> None:
    """A code was sent that long ago."""
    answer = service.app.post("/v1/phone-proofs", {"phone": phone})
    assert answer.status_code == 201, answer.text
    now = service.clock.now()
    with service.session() as session:
        moved = text("UPDATE phone_proof SET sent_at = :at WHERE sent_at = :now")
        session.execute(moved, {"at": now - timedelta(seconds=seconds), "now": now})


def test_a_number_gets_ten_a_day(asking: Service, outside: Controls) -> None:
    day = 24 * 3600
    for number in range(9):
        sent_ago(asking, PHONE, day - 1 - 3700 * number)
    sent_ago(asking, PHONE, 3700)
    refused = asking.other_app.post("/v1/phone-proofs", {"phone": PHONE})
    assert problem(refused) == (429, "too-many-messages")
    assert 1 <= int(refused.headers["Retry-After"]) <= 2
    asking.clock.advance(1)
    assert asking.app.post("/v1/phone-proofs", {"phone": PHONE}).status_code == 201


def test_a_client_gets_its_number_an_hour(asking: Service, outside: Controls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phone_proofs, "PER_CLIENT", (timedelta(hours=1), 3))
    for number in range(3):
        sent_ago(asking, f"1380013800{number}", 3599 - number)
    assert problem(asking.app.post("/v1/phone-proofs", {"phone": OTHER})) == (429, "too-many-messages")
    assert asking.other_app.post("/v1/phone-proofs", {"phone": OTHER}).status_code == 201
    asking.clock.advance(1)
    assert asking.app.post("/v1/phone-proofs", {"phone": "13700137000"}).status_code == 201
    assert problem(asking.app.post("/v1/phone-proofs", {"phone": "13700137001"})) == (429, "too-many-messages")


def test_a_client_that_asks_for_many_numbers_at_once_gets_no_more(
    asking: Service, outside: Controls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phone_proofs, "PER_CLIENT", (timedelta(hours=1), 3))
    numbers = [f"1380013800{number}" for number in range(8)]
    calls = [poster(asking, asking.app, "/v1/phone-proofs", {"phone": number}) for number in numbers]
    assert sorted(answer.status_code for answer in at_once(*calls)) == [201] * 3 + [429] * 5
    assert sum(len(outside.messages(number)) for number in numbers) == 3
