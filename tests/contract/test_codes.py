"""`POST /v1/cards/{card_id}/codes`: what a code's answer says, who gets one, and how many in a minute."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ehc.codes.signed import open_envelope
from ehc.keystore import signing_keys
from ehc.keystore.ring import Purpose
from ehc.web.answers import instant
from tests.contract.conftest import ServiceMaker, WorkerMaker
from tests.contract.helpers import (
    at_once,
    counted,
    poster,
    problem,
    row_counts,
    secrets_of,
    serial_of,
    signer_of,
    wrong,
)
from tests.support.service import Service
from tests.support.service import told as answered


@pytest.fixture
def codes(shared: Service, newcomer: dict[str, Any]) -> str:
    """Where codes of a newcomer's card are issued."""
    return f"/v1/cards/{shared.app.register(**newcomer)['card_id']}/codes"


def test_a_code_is_told_with_its_times(shared: Service, codes: str) -> None:
    answer = shared.app.post(codes, {})
    assert answer.status_code == 201
    told, now = answered(answer), shared.clock.now()
    assert set(told) == {"code", "format", "kind", "issued_at", "refresh_at", "expires_at"}
    assert (told["format"], told["kind"]) == ("signed", "dynamic")
    assert told["issued_at"] == instant(now)
    assert told["refresh_at"] == instant(now + timedelta(seconds=30))
    assert told["expires_at"] == instant(now + timedelta(seconds=60))


def test_a_code_is_digits_that_say_what_the_answer_says(shared: Service, codes: str) -> None:
    told = answered(shared.app.post(codes, {}))
    code = told["code"]
    assert code.isascii()
    assert code.isdecimal()
    assert code.startswith("691")
    assert len(code) <= 283
    envelope = open_envelope(code)
    assert envelope.key_id == signer_of(shared).key_id
    assert instant(datetime.fromtimestamp(envelope.claims.issued_at, UTC)) == told["issued_at"]
    assert instant(datetime.fromtimestamp(envelope.claims.expires_at, UTC)) == told["expires_at"]


def test_a_code_names_its_card_to_the_platform_alone(shared: Service, codes: str) -> None:
    card_id = codes.split("/")[3]
    code = answered(shared.app.post(codes, {}))["code"]
    assert secrets_of(shared).cti.serial(open_envelope(code).claims.cti) == serial_of(shared, card_id)
    number = bytes.fromhex(f"{int(code[3:]):x}".rjust(len(f"{int(code[3:]):x}") + 1, "0"))
    assert serial_of(shared, card_id).to_bytes(8, "big") not in number


def test_parts_of_a_second_are_not_in_a_code(service: Service) -> None:
    service.clock.advance(0.75)
    told = answered(service.app.post(f"/v1/cards/{service.app.register()['card_id']}/codes", {}))
    assert told["issued_at"] == instant(service.clock.now().replace(microsecond=0))


def test_no_two_codes_are_equal(shared: Service, codes: str) -> None:
    answers = [shared.app.post(codes, {}) for _ in range(50)]
    texts = [answered(answer)["code"] for answer in answers]
    assert len(set(texts)) == 50
    assert len({open_envelope(text).claims.cti for text in texts}) == 50


def test_codes_asked_for_at_once_are_all_different(shared: Service, codes: str) -> None:
    answers = at_once(*(poster(shared, shared.app, codes, {}) for _ in range(8)))
    assert [answer.status_code for answer in answers] == [201] * 8
    assert len({answered(answer)["code"] for answer in answers}) == 8


def test_a_code_is_one_statement_and_no_row(shared: Service, codes: str) -> None:
    shared.app.post(codes, {})
    before = row_counts(shared)
    with shared.statements() as seen:
        assert shared.app.post(codes, {}).status_code == 201
    assert len(seen) == 1
    assert seen[0].lstrip().startswith("SELECT")
    assert row_counts(shared) == before


def test_a_code_is_counted(shared: Service, codes: str) -> None:
    with counted(shared, "ehc_codes_issued_total", 1):
        shared.app.post(codes, {})


@pytest.mark.parametrize(
    "body", [{}, {"format": "signed"}, {"kind": "dynamic"}, {"format": "signed", "kind": "dynamic"}]
)
def test_what_is_the_only_choice_may_be_left_out(shared: Service, codes: str, body: dict[str, str]) -> None:
    assert shared.app.post(codes, body).status_code == 201


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"format": "foreign"}, "/format", "choice"),
        ({"format": ""}, "/format", "choice"),
        ({"format": None}, "/format", "null"),
        ({"format": 7}, "/format", "type"),
        ({"kind": "fixed"}, "/kind", "choice"),
        ({"kind": None}, "/kind", "null"),
        ({"image": "gif"}, "/image", "choice"),
        ({"image": "SVG"}, "/image", "choice"),
        ({"image": None}, "/image", "null"),
        ({"image": True}, "/image", "type"),
        ({"image": "svg", "size": 119}, "/size", "range"),
        ({"image": "png", "size": 1025}, "/size", "range"),
        ({"size": 0}, "/size", "range"),
        ({"size": -320}, "/size", "range"),
        ({"size": 2**64 - 1}, "/size", "range"),
        ({"size": 320.5}, "/size", "type"),
        ({"size": 1e308}, "/size", "type"),
        ({"size": "320"}, "/size", "type"),
        ({"size": True}, "/size", "type"),
        ({"size": None}, "/size", "null"),
        ({"size": [320]}, "/size", "type"),
        ({"seconds": 600}, "/seconds", "unknown-member"),
    ],
    ids=repr,
)
def test_a_wrong_wish_is_refused(shared: Service, codes: str, body: dict[str, Any], pointer: str, code: str) -> None:
    assert wrong(shared.app.post(codes, body)) == [(pointer, code)]


@pytest.mark.parametrize("how", ["suspend", "cancel"])
def test_a_stopped_card_gets_no_code(shared: Service, codes: str, how: str) -> None:
    shared.app.post(codes.replace("codes", how), {"reason": "r"})
    assert problem(shared.app.post(codes, {})) == (409, "card-not-active")


def test_a_resumed_card_gets_codes_again(shared: Service, codes: str) -> None:
    for how in ("suspend", "resume"):
        shared.app.post(codes.replace("codes", how), {"reason": "r"})
    assert shared.app.post(codes, {}).status_code == 201


def test_a_waiting_card_gets_no_code(shared: Service, newcomer: dict[str, Any]) -> None:
    card = shared.app.register(**newcomer | {"verification": {"method": "self-declared"}})
    assert problem(shared.app.post(f"/v1/cards/{card['card_id']}/codes", {})) == (409, "card-not-active")


def test_another_app_gets_no_code(shared: Service, codes: str) -> None:
    assert problem(shared.other_app.post(codes, {})) == (404, "card-not-found")


def test_a_card_is_given_so_many_codes_a_minute(start: ServiceMaker) -> None:
    service = start(codes_per_minute=3)
    service.clock.at = service.clock.at.replace(second=20) + timedelta(minutes=1)
    codes = f"/v1/cards/{service.app.register()['card_id']}/codes"
    assert [service.app.post(codes, {}).status_code for _ in range(3)] == [201] * 3
    answer = service.app.post(codes, {})
    assert problem(answer) == (429, "too-many-codes")
    assert answer.headers["Retry-After"] == "40"
    service.clock.advance(39)
    assert service.app.post(codes, {}).headers["Retry-After"] == "1"
    service.clock.advance(1)
    assert service.app.post(codes, {}).status_code == 201


def test_the_codes_of_one_card_leave_those_of_another_alone(start: ServiceMaker) -> None:
    service = start(codes_per_minute=1)
    for serial in (1, 2):
        assert service.app.code(service.app.register(serial)["card_id"])


def test_two_apps_share_the_codes_of_a_card(start: ServiceMaker) -> None:
    service = start(codes_per_minute=1)
    codes = f"/v1/cards/{service.app.register()['card_id']}/codes"
    service.other_app.register()
    assert service.app.post(codes, {}).status_code == 201
    assert problem(service.other_app.post(codes, {})) == (429, "too-many-codes")


def test_a_refused_wish_spends_nothing(start: ServiceMaker) -> None:
    service = start(codes_per_minute=1)
    codes = f"/v1/cards/{service.app.register()['card_id']}/codes"
    assert service.other_app.post(codes, {}).status_code == 404
    assert service.app.post(codes, {"size": 0}).status_code == 422
    assert service.app.post(codes, {}).status_code == 201


def test_two_workers_share_the_codes_of_a_card(start: ServiceMaker, worker: WorkerMaker) -> None:
    service = start(codes_per_minute=2)
    codes = f"/v1/cards/{service.app.register()['card_id']}/codes"
    other = worker(service)
    assert [each.app.post(codes, {}).status_code for each in (service, other)] == [201, 201]
    assert [each.app.post(codes, {}).status_code for each in (service, other)] == [429, 429]


@pytest.mark.parametrize("redis_url", [None, "redis://127.0.0.1:1/0"], ids=["none", "away"])
def test_without_redis_every_worker_counts_for_itself(
    start: ServiceMaker, worker: WorkerMaker, redis_url: str | None
) -> None:
    service = start(codes_per_minute=1, redis_url=redis_url)
    codes = f"/v1/cards/{service.app.register()['card_id']}/codes"
    assert [service.app.post(codes, {}).status_code for _ in range(2)] == [201, 429]
    assert worker(service).app.post(codes, {}).status_code == 201


def test_a_revoked_key_signs_no_more_codes(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    old = open_envelope(service.app.code(card_id)).key_id
    with service.session() as session:
        new = signing_keys.revoke(session, service.settings.key_encrypting_key(), old, now=service.clock.now())
    assert open_envelope(service.app.code(card_id)).key_id == new


def test_a_new_key_takes_over_when_its_time_has_come(service: Service, worker: WorkerMaker) -> None:
    card_id = service.app.register()["card_id"]
    old = signer_of(service).key_id
    with service.session() as session:
        kek = service.settings.key_encrypting_key()
        new = signing_keys.rotate(session, kek, Purpose.CODE, now=service.clock.now())
    informed = worker(service)
    service.clock.advance(59)
    assert open_envelope(informed.app.code(card_id)).key_id == old
    service.clock.advance(1)
    assert open_envelope(informed.app.code(card_id)).key_id == new


def test_without_a_key_no_code_is_issued(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    service.clock.at -= timedelta(days=1)
    answer = service.app.post(f"/v1/cards/{card_id}/codes", {})
    assert problem(answer) == (503, "no-active-key")
    assert answer.headers["Retry-After"] == "5"
