"""National codes as the issuer makes them: what they say, what is remembered, how one follows another."""

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from ehc.codes import national
from ehc.codes.national_text import NationalKind, read_national
from ehc.issuer import national_codes
from ehc.web.answers import instant
from ehc.web.idempotency import Once
from tests.contract.conftest import ServiceMaker
from tests.contract.helpers import at_once, poster, problem, row_counts, secrets_of, wrong
from tests.support.service import Api, Service
from tests.support.service import told as answered

DYNAMIC = {"format": "national"}
STATIC = {"format": "national", "kind": "static"}


def issued(service: Service, card_id: str, body: Any = DYNAMIC) -> dict[str, Any]:
    answer = service.app.post(f"/v1/cards/{card_id}/codes", body)
    assert answer.status_code == 201, answer.text
    return answered(answer)


def allow(service: Service, card_id: str) -> None:
    headers = service.app.headers | {"If-Match": "*"}
    answer = service.app.http.patch(f"/v1/cards/{card_id}", json={"static_codes": True}, headers=headers)
    assert answer.status_code == 200


def test_a_code_says_its_card_and_its_end(service: Service) -> None:
    card = service.app.register(1)
    told = issued(service, card["card_id"])
    said = read_national(told["code"])
    assert (said.kind, said.card_id.hex().upper()) == (NationalKind.DYNAMIC, card["ehc_id"])
    assert said.validity is not None
    end = national.read_validity(max(secrets_of(service).protection_keys.items())[1], said.validity)
    now = service.clock.now()
    assert now + timedelta(seconds=90) <= end <= now + timedelta(seconds=105)
    assert told["expires_at"].startswith(f"{end:%Y-%m-%dT%H:%M:%S}")
    assert (told["format"], told["kind"]) == ("national", "dynamic")


def test_two_codes_of_one_second_never_say_the_same(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    codes = [issued(service, card_id)["code"] for _ in range(12)]
    assert len(set(codes)) == 12


def test_a_code_is_remembered_hidden(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    code = issued(service, card_id)["code"]
    with service.session() as session:
        row = session.execute(text("SELECT * FROM national_code")).one()
    assert row.text_index == secrets_of(service).blind_index.of("national-code", code)
    assert (row.uses, row.max_uses) == (0, 3)
    assert code.encode() not in b"".join(value for value in row if isinstance(value, bytes))


def test_one_look_and_one_row_for_a_code(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    issued(service, card_id)
    service.clock.advance(20)  # no validity of the first can come again: that would be drawn, and written, once more
    with service.statements() as statements:
        issued(service, card_id)
    assert len(statements) == 2


def test_where_a_code_will_be_shown_is_kept_with_it_in_the_same_row(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    issued(service, card_id)
    service.clock.advance(20)
    with service.statements() as statements:
        issued(service, card_id, DYNAMIC | {"channel": "0402", "device": "wx:oYx-3.1_A"})
    assert len(statements) == 2
    with service.session() as session:
        rows = session.execute(text("SELECT channel, device_index FROM national_code ORDER BY seq")).all()
    assert rows == [(None, None), ("mini-program", secrets_of(service).blind_index.of("device", "wx:oYx-3.1_A"))]


@pytest.mark.parametrize(
    ("member", "value", "code"),
    [
        ("channel", "99999", "choice"),
        ("channel", "", "choice"),
        ("device", "", "length"),
        ("device", "a" * 65, "length"),
        ("device", "李四的手机", "characters"),
    ],
)
def test_a_channel_and_a_device_are_bounded(service: Service, member: str, value: str, code: str) -> None:
    card_id = service.app.register(1)["card_id"]
    answer = service.app.post(f"/v1/cards/{card_id}/codes", DYNAMIC | {member: value})
    assert wrong(answer) == [(f"/{member}", code)]
    issued(service, card_id, DYNAMIC | {"device": "a" * 64})
    issued(service, card_id, {"device": "a" * 64, "channel": "kiosk"})  # a signed one has no row to keep it in


def test_first_codes_of_one_second_end_at_many_seconds(service: Service) -> None:
    """Measure B: whoever asks in the second of somebody else does not know that code's validity."""
    cards = [service.app.register(serial)["card_id"] for serial in range(1, 49)]
    ends = [issued(service, card_id)["expires_at"] for card_id in cards]
    first = service.clock.now() + timedelta(seconds=90)
    assert set(ends) <= {instant((first + timedelta(seconds=more)).replace(microsecond=0)) for more in range(16)}
    assert len(set(ends)) >= 9  # of 16, drawn 48 times; fewer come up once in ten million runs
    assert max(map(ends.count, set(ends))) <= 15


def test_the_17th_code_of_a_card_in_one_second_has_to_wait_for_the_next(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    assert len({issued(service, card_id)["code"] for _ in range(16)}) == 16
    answer = service.app.post(f"/v1/cards/{card_id}/codes", DYNAMIC)
    assert problem(answer) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "1"
    service.clock.advance(1)
    issued(service, card_id)


@pytest.mark.parametrize("body", [DYNAMIC, STATIC, {"kind": "static"}], ids=["dynamic", "static", "printed"])
def test_with_an_idempotency_key_a_code_and_its_answer_are_one_transaction(
    service: Service, monkeypatch: pytest.MonkeyPatch, body: Any
) -> None:
    """And one connection: where the answer cannot be kept, the code was not issued, and neither was an act written."""
    card_id = service.app.register(1)["card_id"]
    allow(service, card_id)
    issued(service, card_id, {})  # opens the line that looks at cards
    before = row_counts(service)

    def full(*_: Any) -> None:
        raise RuntimeError

    with monkeypatch.context() as broken:
        broken.setattr(Once, "_store", full)
        assert service.app.post(f"/v1/cards/{card_id}/codes", body, Idempotency_Key="k").status_code == 500
    assert row_counts(service) == before
    taken: list[int] = []
    event.listen(service.engine, "checkout", lambda *_: taken.append(1))
    answer = service.app.post(f"/v1/cards/{card_id}/codes", body, Idempotency_Key="k")
    assert answer.status_code == 201
    assert len(taken) == 1
    after = row_counts(service)
    assert service.app.post(f"/v1/cards/{card_id}/codes", body, Idempotency_Key="k").data == answer.data
    assert row_counts(service) == after


def test_a_static_code_leaves_an_event_and_an_act(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    allow(service, card_id)
    issued(service, card_id, STATIC)
    with service.session() as session:
        events = session.scalars(text("SELECT action FROM card_event ORDER BY id")).all()
        acts = session.execute(text("SELECT action, entry FROM audit WHERE subject = :id"), {"id": card_id}).all()
    assert events.count("static-code") == 1
    assert [json.loads(entry)["facts"] for action, entry in acts if action == "card.static-code"] == [
        {"format": "national"}
    ]


def test_a_later_code_closes_an_earlier_one_after_five_seconds(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    first = issued(service, card_id)["code"]
    service.clock.advance(1)
    second = issued(service, card_id)["code"]
    service.clock.advance(5)
    assert service.terminal.scan(first)["outcome"] == "accepted"
    service.clock.advance(0.001)
    assert service.second_terminal.scan(first)["reason"] == "expired"
    assert service.second_terminal.scan(second)["outcome"] == "accepted"


def test_the_limit_a_minute_counts_both_formats(start: ServiceMaker) -> None:
    service = start(codes_per_minute=4)
    card_id = service.app.register(1)["card_id"]
    for body in ({}, DYNAMIC, {}, DYNAMIC):
        issued(service, card_id, body)
    allow(service, card_id)
    for body in (DYNAMIC, {}, STATIC, {"kind": "static"}):
        assert problem(service.app.post(f"/v1/cards/{card_id}/codes", body)) == (429, "too-many-codes")
    assert problem(service.app.get(f"/v1/cards/{card_id}/print")) == (429, "too-many-codes")


def test_static_codes_and_prints_count_too(start: ServiceMaker) -> None:
    service = start(codes_per_minute=3)
    card_id = service.app.register(1)["card_id"]
    allow(service, card_id)
    issued(service, card_id, STATIC)
    issued(service, card_id, {"kind": "static"})
    assert service.app.get(f"/v1/cards/{card_id}/print?layout=sticker").status_code == 200
    answer = service.app.get(f"/v1/cards/{card_id}/print?layout=sticker")
    assert problem(answer) == (429, "too-many-codes")
    service.clock.advance(int(answer.headers["Retry-After"]))
    assert service.app.get(f"/v1/cards/{card_id}/print?layout=sticker").status_code == 200


@pytest.mark.parametrize("how", ["suspend", "report-loss", "cancel"])
def test_a_stopped_card_gets_none(service: Service, how: str) -> None:
    card_id = service.app.register(1)["card_id"]
    allow(service, card_id)
    service.app.post(f"/v1/cards/{card_id}/{how}", {"reason": "r"})
    assert problem(service.app.post(f"/v1/cards/{card_id}/codes", DYNAMIC)) == (409, "card-not-active")
    assert service.app.post(f"/v1/cards/{card_id}/codes", STATIC).status_code in {404, 409}


def test_a_card_of_somebody_else_gets_none(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    for body in (DYNAMIC, STATIC):
        assert problem(service.other_app.post(f"/v1/cards/{card_id}/codes", body)) == (404, "card-not-found")


def test_a_static_code_needs_the_holders_word(service: Service) -> None:
    card = service.app.register(1)
    path = f"/v1/cards/{card['card_id']}/codes"
    assert problem(service.app.post(path, STATIC)) == (409, "static-not-allowed")
    assert problem(service.app.post(path, {"kind": "static"})) == (409, "static-not-allowed")
    assert problem(service.app.get(f"/v1/cards/{card['card_id']}/print")) == (409, "static-not-allowed")
    allow(service, card["card_id"])
    told = issued(service, card["card_id"], STATIC)
    assert told["code"] == f"{card['ehc_id']}:1"
    assert (told["kind"], told["expires_at"], told["refresh_at"]) == ("static", None, None)


def test_many_at_once_all_differ(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    calls = [poster(service, service.app, f"/v1/cards/{card_id}/codes", DYNAMIC) for _ in range(10)]
    answers = at_once(*calls)
    assert [answer.status_code for answer in answers] == [201] * 10
    assert len({answered(answer)["code"] for answer in answers}) == 10


def test_old_codes_are_forgotten_an_hour_after_their_end(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    issued(service, card_id)
    for seconds, left in ((3600 + 90, 1), (16, 0)):
        service.clock.advance(seconds)
        with service.session() as session:
            national_codes.purge(session, now=service.clock.now())
            assert session.scalar(text("SELECT count(*) FROM national_code")) == left


def test_a_deployment_sets_life_and_uses(start: ServiceMaker) -> None:
    service = start(national_seconds=180, national_uses=1)
    card_id = service.app.register(1)["card_id"]
    code = issued(service, card_id)["code"]
    assert service.terminal.scan(code)["outcome"] == "accepted"
    assert service.second_terminal.scan(code)["reason"] == "already-used"
    fresh = issued(service, card_id)["code"]
    service.clock.advance(180)
    api = Api(service.client(), service.terminal.credentials)
    assert api.scan(fresh)["outcome"] == "accepted"
