"""`Idempotency-Key` on every POST: sent twice, carried out once, and the same answer both times."""

from datetime import timedelta
from hashlib import sha256
from typing import Any

import orjson
import pytest
from sqlalchemy import select, text
from werkzeug.test import TestResponse

from ehc.web.models import IdempotencyRow
from tests.contract.helpers import at_once, poster, problem, row_counts, secrets_of, send, wrong
from tests.support.service import Api, Service, person
from tests.support.service import told as answered

Call = tuple[Api, str, dict[str, Any]]


@pytest.fixture(params=["register", "suspend", "resume", "cancel", "code", "check"])
def call(request: pytest.FixtureRequest, shared: Service, newcomer: dict[str, Any]) -> Call:
    """A POST that would do something each time."""
    if request.param == "register":
        return shared.app, "/v1/cards", newcomer
    card = f"/v1/cards/{shared.app.register(**newcomer)['card_id']}"
    if request.param == "code":
        return shared.app, f"{card}/codes", {"image": "svg"}
    if request.param == "check":
        code = answered(shared.app.post(f"{card}/codes", {}))["code"]
        return shared.terminal, "/v1/verifications", {"code": code, "step": "payment", "operator": "李"}
    if request.param == "resume":
        assert shared.app.post(f"{card}/suspend", {"reason": "r"}).status_code == 200
    return shared.app, f"{card}/{request.param}", {"reason": "丢失"}


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """A key of the test's own."""
    return f"k-{abs(hash(request.node.nodeid))}"


def post(call: Call, key: str, **more: str) -> TestResponse:
    api, path, body = call
    return api.post(path, body, Idempotency_Key=key, **more)


def told(answer: TestResponse) -> tuple[Any, ...]:
    return answer.status_code, answered(answer), answer.headers.get("ETag"), answer.headers.get("Location")


def test_the_same_request_again_has_the_same_answer(shared: Service, call: Call, key: str) -> None:
    first = post(call, key)
    assert first.status_code in {200, 201}
    assert "Idempotency-Replayed" not in first.headers
    before = row_counts(shared)
    second = post(call, key)
    assert told(second) == told(first)
    assert second.headers["Idempotency-Replayed"] == "true"
    assert row_counts(shared) == before


@pytest.mark.parametrize("kind", ["register", "documents", "resume", "change", "family"])
def test_a_replay_weighs_no_proof(
    shared: Service, newcomer: dict[str, Any], key: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Weighing asks the identity authority, which costs seconds and is told of a person: once is enough."""
    seen = {"verification": {"method": "document-seen"}}
    card = f"/v1/cards/{shared.app.register(**newcomer)['card_id']}"
    holder = {name: newcomer[name] for name in ("name", "id_type", "id_number")} | seen
    passport: dict[str, Any] = {"id_type": "03", "id_number": f"E{newcomer['id_number'][6:14]}"}
    child = holder | passport | {"name": "王小宝", "birth_date": "2020-06-01"}
    path, body = {
        "register": ("/v1/cards", newcomer),
        "documents": (f"{card}/documents", holder | passport),
        "resume": (f"{card}/resume", {"reason": "找到了", "proof": holder}),
        "change": (card, {"name": "王大明"} | seen),
        "family": (
            f"{card}/family",
            {"relation": "2", "verification": {"method": "document-seen", "reference": "户口簿"}, "member": child},
        ),
    }[kind]
    if kind == "resume":
        assert shared.app.post(f"{card}/report-loss", {"reason": "丢了"}).status_code == 200
    headers = shared.app.headers | {"Idempotency-Key": key} | ({"If-Match": "*"} if kind == "change" else {})
    send_it = shared.app.http.patch if kind == "change" else shared.app.http.post
    first = send_it(path, json=body, headers=headers)
    assert first.status_code in {200, 201}, first.text
    monkeypatch.setattr("ehc.issuer.proofs.weigh", lambda *_, **__: 1 / 0)
    second = send_it(path, json=body, headers=headers)
    assert (second.status_code, answered(second)) == (first.status_code, answered(first))
    assert second.headers["Idempotency-Replayed"] == "true"
    assert problem(send_it(path, json=body | {"x": 1}, headers=headers))[0] == 422


def test_a_key_is_not_good_for_another_body(shared: Service, call: Call, key: str) -> None:
    api, path, body = call
    assert post(call, key).status_code in {200, 201}
    before = row_counts(shared)
    other = body | ({"name": "王大明"} if "name" in body else {"step": "other"} if "step" in body else {})
    other |= {"reason": "另"} if "reason" in body else {}
    other |= {"image": "png"} if "image" in body else {}
    assert problem(api.post(path, other, Idempotency_Key=key)) == (422, "idempotency-key-reused")
    assert row_counts(shared) == before


def test_requests_at_once_run_once(shared: Service, call: Call, key: str) -> None:
    api, path, body = call
    before = row_counts(shared)
    answers = at_once(*(poster(shared, api, path, body, Idempotency_Key=key) for _ in range(4)))
    assert len({answer.status_code for answer in answers}) == 1
    assert answers[0].status_code in {200, 201}
    assert all(told(answer) == told(answers[0]) for answer in answers)
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 3
    after = row_counts(shared)
    assert after["idempotency"] - before["idempotency"] == 1
    for table in ("card", "card_event", "verification", "code_use"):
        assert after[table] - before[table] <= 1


def test_another_client_may_use_the_same_key(shared: Service, newcomer: dict[str, Any], key: str) -> None:
    first = post((shared.app, "/v1/cards", newcomer), key)
    second = post((shared.other_app, "/v1/cards", newcomer), key)
    assert (first.status_code, second.status_code) == (201, 200)
    assert "Idempotency-Replayed" not in second.headers


def test_a_key_is_not_good_for_another_address(shared: Service, newcomer: dict[str, Any], key: str) -> None:
    card = f"/v1/cards/{shared.app.register(**newcomer)['card_id']}"
    assert post((shared.app, f"{card}/suspend", {"reason": "r"}), key).status_code == 200
    assert problem(post((shared.app, f"{card}/resume", {"reason": "r"}), key)) == (422, "idempotency-key-reused")
    assert answered(shared.app.get(card))["status"] == "suspended"


def test_a_body_that_differs_in_one_space_is_another_body(shared: Service, newcomer: dict[str, Any], key: str) -> None:
    path = f"/v1/cards/{shared.app.register(**newcomer)['card_id']}/suspend"
    assert send(shared.app, path, b'{"reason":"r"}', Idempotency_Key=key).status_code == 200
    answer = send(shared.app, path, b'{"reason": "r"}', Idempotency_Key=key)
    assert problem(answer) == (422, "idempotency-key-reused")


def test_a_replay_tells_what_was_true_then(shared: Service, newcomer: dict[str, Any], key: str) -> None:
    first = post((shared.app, "/v1/cards", newcomer), key)
    shared.app.post(f"/v1/cards/{answered(first)['card_id']}/cancel", {"reason": "r"})
    assert told(post((shared.app, "/v1/cards", newcomer), key)) == told(first)


def test_a_refused_request_leaves_no_key(shared: Service, newcomer: dict[str, Any], key: str) -> None:
    card = f"/v1/cards/{shared.app.register(**newcomer)['card_id']}"
    before = row_counts(shared)
    resume: Call = (shared.app, f"{card}/resume", {"reason": "r"})
    assert problem(post(resume, key)) == (409, "card-state")
    assert problem(post((shared.app, f"{card}/codes", {"size": 0}), key)) == (422, "invalid-request")
    assert problem(post((shared.other_app, f"{card}/codes", {}), key)) == (404, "card-not-found")
    assert row_counts(shared) == before
    shared.app.post(f"{card}/suspend", {"reason": "r"})
    assert post(resume, key).status_code == 200


def test_a_request_that_fails_leaves_no_key(
    shared: Service, newcomer: dict[str, Any], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = row_counts(shared)
    with monkeypatch.context() as broken:
        broken.setattr("ehc.issuer.api.card_out", lambda *_, **__: 1 / 0)
        assert problem(post((shared.app, "/v1/cards", newcomer), key)) == (500, "internal")
    assert row_counts(shared) == before
    answer = post((shared.app, "/v1/cards", newcomer), key)
    assert (answer.status_code, "Idempotency-Replayed" in answer.headers) == (201, False)


def test_a_refused_code_is_an_answer_and_is_kept(shared: Service, key: str) -> None:
    check: Call = (shared.terminal, "/v1/verifications", {"code": "https://example.org", "step": "other"})
    first = post(check, key)
    assert (first.status_code, answered(first)["reason"]) == (200, "unknown-format")
    assert told(post(check, key)) == told(first)


def test_a_key_is_kept_24_hours(service: Service) -> None:
    body = person()
    first = service.app.post("/v1/cards", body, Idempotency_Key="k")
    service.clock.advance(timedelta(hours=24).total_seconds())
    api = Api(service.client(), service.app.credentials)
    again = api.post("/v1/cards", body, Idempotency_Key="k")
    assert (told(again), again.headers.get("Idempotency-Replayed")) == (told(first), "true")
    service.clock.advance(0.001)
    forgotten = api.post("/v1/cards", body, Idempotency_Key="k")
    assert (forgotten.status_code, "Idempotency-Replayed" in forgotten.headers) == (200, False)
    assert row_counts(service)["idempotency"] == 1


def test_a_forgotten_key_is_good_for_another_body(service: Service) -> None:
    service.app.post("/v1/cards", person(1), Idempotency_Key="k")
    service.clock.advance(86400.001)
    api = Api(service.client(), service.app.credentials)
    assert api.post("/v1/cards", person(2), Idempotency_Key="k").status_code == 201
    assert problem(api.post("/v1/cards", person(1), Idempotency_Key="k")) == (422, "idempotency-key-reused")


def test_an_answer_rests_sealed(service: Service) -> None:
    service.app.post("/v1/cards", person(name="欧阳明"), Idempotency_Key="k")
    with service.session() as session:
        row = session.execute(text("SELECT body, t::text AS whole FROM idempotency AS t")).one()
    for secret in ("欧", "138****8000", "card_id", "index_id"):
        assert secret.encode() not in row.body
        assert secret not in row.whole


def test_a_request_is_known_by_a_hash_that_nobody_can_make_without_the_key(service: Service) -> None:
    body = orjson.dumps(person())
    send(service.app, "/v1/cards", body, Idempotency_Key="k")
    with service.session() as session:
        kept = session.scalars(select(IdempotencyRow.request_hash)).one()
    assert kept == secrets_of(service).blind_index.of("idempotency", f"POST /v1/cards\n{body.decode('latin-1')}")
    assert kept != sha256(b"POST /v1/cards\n" + body).digest()


def test_an_answer_moved_to_another_key_does_not_open(service: Service) -> None:
    for serial, key in ((1, "a"), (2, "b")):
        service.app.post("/v1/cards", person(serial), Idempotency_Key=key)
    with service.session() as session:
        session.execute(text("UPDATE idempotency SET body = (SELECT body FROM idempotency WHERE key = 'b')"))
    assert service.app.post("/v1/cards", person(1), Idempotency_Key="a").status_code == 500
    assert service.app.post("/v1/cards", person(2), Idempotency_Key="b").status_code == 201


@pytest.mark.parametrize("key", ["k", "!", "~", "a" * 255, '"quoted"'], ids=["1", "!", "~", "255", "quotes"])
def test_a_key_has_1_to_255_visible_characters(shared: Service, newcomer: dict[str, Any], key: str) -> None:
    with shared.session() as session:
        session.execute(text("DELETE FROM idempotency"))
    assert post((shared.app, "/v1/cards", newcomer), key).status_code == 201


@pytest.mark.parametrize("key", ["", "a" * 256, "a b", "a\tb", "k\xe9"], ids=["0", "256", "space", "tab", "é"])
def test_another_key_is_refused(shared: Service, newcomer: dict[str, Any], key: str) -> None:
    before = row_counts(shared)
    assert wrong(post((shared.app, "/v1/cards", newcomer), key)) == [("/Idempotency-Key", "characters")]
    assert row_counts(shared) == before


def test_what_is_kept_of_a_request_is_no_plain_hash_of_it(shared: Service, newcomer: dict[str, Any], key: str) -> None:
    """Names and numbers are few enough to be tried out: whoever reads the table must not be able to check a guess."""
    body = orjson.dumps(newcomer)
    headers = shared.app.headers | {"Content-Type": "application/json", "Idempotency-Key": key}
    assert shared.app.http.post("/v1/cards", data=body, headers=headers).status_code == 201
    with shared.session() as session:
        kept = session.scalars(text("SELECT request_hash FROM idempotency WHERE key = :key"), {"key": key}).one()
    whole = b"POST /v1/cards\n" + body
    assert kept not in {sha256(whole).digest(), sha256(body).digest(), sha256(sha256(whole).digest()).digest()}
    assert len(kept) == 32
