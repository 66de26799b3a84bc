"""One-time codes for phones, through the SMS gateway's simulator."""

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from ehc.dev.simulators.controls import Controls
from ehc.issuer import phone_proofs
from ehc.place import Place
from tests.contract.helpers import at_once, poster, problem, wrong
from tests.integration.outside import asking, outside, place, simulators
from tests.support.service import Service, person
from tests.support.service import told as answered

__all__ = ["asking", "outside", "place", "simulators"]

PHONE = "13800138000"


def sent(service: Service, outside: Controls, phone: str = PHONE) -> tuple[str, str]:
    """The id of a new proof, and the code that arrived."""
    answer = service.app.post("/v1/phone-proofs", {"phone": phone})
    assert answer.status_code == 201, answer.text
    (message,) = outside.messages(phone)[-1:]
    (code,) = re.findall(r"\b\d{6}\b", str(message["values"]))
    return answered(answer)["proof_id"], code


def confirm(service: Service, proof_id: str, code: str) -> Any:
    return service.app.post(f"/v1/phone-proofs/{proof_id}/confirm", {"code": code})


def other_than(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


def test_the_code_that_arrived_proves_the_phone(asking: Service, outside: Controls) -> None:
    proof_id, code = sent(asking, outside)
    assert confirm(asking, proof_id, code).status_code == 200
    card = asking.app.register(1, phone="+86 138 0013 8000", phone_proof=proof_id)
    with asking.session() as session:
        wanted = text("SELECT phone_proved_at FROM resident JOIN card ON resident.id = resident_id WHERE card.id = :id")
        assert session.scalar(wanted, {"id": card["card_id"]}) == asking.clock.now()


def test_a_proof_is_good_once_and_for_its_phone(asking: Service, outside: Controls) -> None:
    proof_id, code = sent(asking, outside)
    unproved = asking.app.post("/v1/cards", person(1, phone_proof=proof_id))
    assert wrong(unproved) == [("/phone_proof", "phone-proof")]
    confirm(asking, proof_id, code)
    for body in (person(1, phone="13900139000", phone_proof=proof_id),):
        assert wrong(asking.app.post("/v1/cards", body)) == [("/phone_proof", "phone-proof")]
    assert wrong(asking.other_app.post("/v1/cards", person(1, phone_proof=proof_id))) == [
        ("/phone_proof", "phone-proof")
    ]
    assert asking.app.post("/v1/cards", person(1, phone_proof=proof_id)).status_code == 201
    assert wrong(asking.app.post("/v1/cards", person(2, phone_proof=proof_id))) == [("/phone_proof", "phone-proof")]


@pytest.mark.parametrize(("seconds", "right"), [(29 * 60, True), (30 * 60, False)])
def test_a_proof_waits_half_an_hour(asking: Service, outside: Controls, seconds: int, right: bool) -> None:
    proof_id, code = sent(asking, outside)
    confirm(asking, proof_id, code)
    asking.clock.advance(seconds)
    api = type(asking.app)(asking.client(), asking.app.credentials)  # tokens live ten minutes
    status = api.post("/v1/cards", person(1, phone_proof=proof_id)).status_code
    assert status == (201 if right else 422)


@pytest.mark.parametrize(("seconds", "status"), [(299, 200), (300, 409)])
def test_a_code_lives_five_minutes(asking: Service, outside: Controls, seconds: int, status: int) -> None:
    proof_id, code = sent(asking, outside)
    asking.clock.advance(seconds)
    assert confirm(asking, proof_id, code).status_code == status


def test_a_code_has_five_tries(asking: Service, outside: Controls) -> None:
    proof_id, code = sent(asking, outside)
    for left in (4, 3, 2, 1, 0):
        answer = confirm(asking, proof_id, other_than(code))
        assert problem(answer) == (409, "wrong-code")
        assert str(left) in answered(answer)["detail"]
    assert problem(confirm(asking, proof_id, code)) == (409, "code-expired")


def test_the_fifth_try_may_be_right(asking: Service, outside: Controls) -> None:
    proof_id, code = sent(asking, outside)
    for _ in range(4):
        confirm(asking, proof_id, other_than(code))
    assert confirm(asking, proof_id, code).status_code == 200
    assert problem(confirm(asking, proof_id, code)) == (409, "code-expired")


def test_many_at_once_have_five_tries_between_them(asking: Service, outside: Controls) -> None:
    proof_id, code = sent(asking, outside)
    path, body = f"/v1/phone-proofs/{proof_id}/confirm", {"code": other_than(code)}
    answers = at_once(*(poster(asking, asking.app, path, body) for _ in range(12)))
    codes = sorted(problem(answer)[1] for answer in answers)
    assert codes == ["code-expired"] * 7 + ["wrong-code"] * 5


def test_another_app_cannot_try(asking: Service, outside: Controls) -> None:
    proof_id, code = sent(asking, outside)
    answer = asking.other_app.post(f"/v1/phone-proofs/{proof_id}/confirm", {"code": code})
    assert problem(answer) == (409, "code-expired")
    assert confirm(asking, proof_id, code).status_code == 200


def test_an_unknown_proof_is_one_that_can_no_longer_be_tried(asking: Service) -> None:
    """As another app's is, so that nobody learns which there are; only what is no id at all is not found."""
    unknown = "0190163d-8694-739b-aea5-966c26f8ad91"
    assert problem(confirm(asking, unknown, "123456")) == (409, "code-expired")
    assert problem(confirm(asking, "7", "123456"))[0] == 404


def test_a_number_gets_one_a_minute_whoever_asks(asking: Service, outside: Controls) -> None:
    sent(asking, outside)
    refused = asking.other_app.post("/v1/phone-proofs", {"phone": PHONE})
    assert problem(refused) == (429, "too-many-messages")
    assert 1 <= int(refused.headers["Retry-After"]) <= 61
    sent(asking, outside, "13900139000")
    asking.clock.advance(60)
    sent(asking, outside)
    assert len(outside.messages(PHONE)) == 2


def test_a_number_gets_five_an_hour(asking: Service, outside: Controls) -> None:
    for ago in (62, 800, 1600, 2400, 3599):  # the gateway's clock goes on by itself, so the past is moved instead
        sent(asking, outside)
        with asking.session() as session:
            session.execute(
                text("UPDATE phone_proof SET sent_at = :at WHERE sent_at = :now"),
                {"at": asking.clock.now() - timedelta(seconds=ago), "now": asking.clock.now()},
            )
    assert problem(asking.app.post("/v1/phone-proofs", {"phone": PHONE})) == (429, "too-many-messages")
    asking.clock.advance(2)
    assert asking.app.post("/v1/phone-proofs", {"phone": PHONE}).status_code == 201


def test_of_eight_requests_at_once_one_message_leaves(asking: Service, outside: Controls) -> None:
    calls = [poster(asking, asking.app, "/v1/phone-proofs", {"phone": PHONE}) for _ in range(8)]
    assert sorted(answer.status_code for answer in at_once(*calls)) == [201] + [429] * 7
    assert len(outside.messages(PHONE)) == 1


@pytest.mark.parametrize("mode", ["down", "http-500", "lost-answer"])
def test_a_gateway_that_fails_is_told_and_counted(asking: Service, outside: Controls, mode: str) -> None:
    outside.set_mode(mode)
    assert problem(asking.app.post("/v1/phone-proofs", {"phone": PHONE})) == (503, "sms-away")
    outside.set_mode("normal")
    assert problem(asking.app.post("/v1/phone-proofs", {"phone": PHONE})) == (429, "too-many-messages")


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"phone": "010-88886666"}, [("/phone", "phone-not-mobile")]),
        ({"phone": "1380013800"}, [("/phone", "phone-form")]),
        ({}, [("/phone", "required")]),
    ],
)
def test_what_cannot_receive_a_message_is_refused(asking: Service, body: Any, errors: Any) -> None:
    assert wrong(asking.app.post("/v1/phone-proofs", body)) == errors


@pytest.mark.parametrize("code", ["12345", "1234567", "12345a", "１２３４５６", ""])
def test_a_code_is_six_digits(asking: Service, outside: Controls, code: str) -> None:
    proof_id, _ = sent(asking, outside)
    assert wrong(confirm(asking, proof_id, code)) == [("/code", "characters")]


def test_without_a_gateway_it_is_said(service: Service) -> None:
    assert problem(service.app.post("/v1/phone-proofs", {"phone": PHONE})) == (409, "sms-not-configured")


def test_phone_and_code_rest_hidden_and_go_after_a_day(asking: Service, outside: Controls, place: Place) -> None:
    _, code = sent(asking, outside)
    with asking.session() as session:
        row = session.execute(text("SELECT * FROM phone_proof")).one()
    assert not any(
        secret.encode() in bytes(value) for secret in (PHONE, code) for value in row if isinstance(value, bytes)
    )
    for seconds, left in ((24 * 3600 - 1, 1), (2, 0)):
        asking.clock.advance(seconds)
        with place.work() as session:
            phone_proofs.purge(session, now=asking.clock.now())
            assert session.scalar(text("SELECT count(*) FROM phone_proof")) == left
