"""Limits: of an app in a minute and a day, of a card, a terminal and an institution; told in headers; open without Redis."""

from uuid import uuid4

import pytest
from sqlalchemy import text

from ehc.web.gate import LIMITED
from tests.contract.conftest import ServiceMaker, WorkerMaker
from tests.contract.helpers import problem
from tests.support.apps import Office, ask_token
from tests.support.service import Api, Service, told

READ = "/v1/cards/0190163d-8694-739b-aea5-966c26f8ad91"


def another() -> str:
    return f"/v1/cards/{uuid4()}"


def test_an_app_is_stopped_after_its_minute_and_told_how_long_to_wait(start: ServiceMaker) -> None:
    service = start(app_per_minute=5)  # one of them was the token
    before = LIMITED.labels("app")._value.get()
    for left in (3, 2, 1, 0):
        answer = service.app.get(another())
        assert answer.status_code == 404
        assert answer.headers["RateLimit"].startswith(f'"app";r={left};t=')
        assert answer.headers["RateLimit-Policy"] == (
            '"app";q=5;w=60, "app-day";q=5000000;w=86400, "card";q=1000000;w=60'
        )
    refused = service.app.get(another())
    assert problem(refused) == (429, "too-many-requests")
    wait = int(refused.headers["Retry-After"])
    assert 1 <= wait <= 60
    assert refused.headers["RateLimit"].startswith(f'"app";r=0;t={wait}')
    assert LIMITED.labels("app")._value.get() == before + 1
    assert service.other_app.get(another()).status_code == 404  # of another app it is no business
    service.clock.advance(wait)
    assert service.app.get(another()).status_code == 404


def test_getting_tokens_counts_too(start: ServiceMaker) -> None:
    service = start(app_per_minute=5)
    statuses = [ask_token(service, service.app.credentials).status_code for _ in range(6)]
    assert statuses == [200, 200, 200, 200, 429, 429]
    wrong = type(service.app.credentials)(service.other_app.credentials.client_id, "x")
    assert [ask_token(service, wrong).status_code for _ in range(9)] == [401] * 9
    assert service.other_app.get(READ).status_code == 404  # strangers use up nobody's limit


def test_an_app_may_have_limits_of_its_own(service: Service) -> None:
    office = Office(service)
    app_id, api = office.live(per_minute=4)
    assert [api.get(another()).status_code for _ in range(4)] == [404, 404, 404, 429]
    assert office.patch(app_id, per_minute=None).status_code == 200
    fresh = Api(service.client(), api.credentials)
    assert {fresh.get(another()).status_code for _ in range(10)} == {404}


def test_the_quota_of_a_day_ends_at_midnight(service: Service) -> None:
    office = Office(service)
    _, api = office.live(per_day=4)
    assert [api.get(another()).status_code for _ in range(3)] == [404, 404, 404]
    service.clock.advance(120)
    refused = api.get(another())
    assert problem(refused) == (429, "quota-used-up")
    wait = int(refused.headers["Retry-After"])
    service.clock.advance(wait - 1)
    assert ask_token(service, api.credentials).status_code == 429
    service.clock.advance(1)
    assert ask_token(service, api.credentials).status_code == 200


def test_a_card_is_limited_for_each_app_by_itself(start: ServiceMaker) -> None:
    """Else a stranger who knows a card's id could use up what its holder's app may do."""
    service = start(card_per_minute=3)
    card = service.app.register()["card_id"]
    assert [service.other_app.get(f"/v1/cards/{card}").status_code for _ in range(4)] == [404, 404, 404, 429]
    assert [service.app.get(f"/v1/cards/{card}").status_code for _ in range(4)] == [200, 200, 200, 429]
    assert problem(service.app.post(f"/v1/cards/{card}/codes", {})) == (429, "too-many-requests")
    assert service.app.get(another()).status_code == 404


def test_a_terminal_and_its_institution_are_limited(start: ServiceMaker) -> None:
    service = start(terminal_per_minute=4, institution_per_minute=5)
    codes = [service.app.code(service.app.register(serial)["card_id"]) for serial in (1, 2, 3)]
    answers = [service.terminal.post("/v1/verifications", {"code": codes[0], "step": "other"}) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert problem(answers[3]) == (429, "too-many-requests")
    policy = '"terminal";q=4;w=60, "institution";q=5;w=60'
    assert answers[0].headers["RateLimit-Policy"] == policy
    body = {"code": codes[1], "step": "other"}
    assert service.second_terminal.post("/v1/verifications", body).status_code == 200  # of another institution


def test_the_terminals_of_one_institution_share_its_limit(start: ServiceMaker) -> None:
    service = start(institution_per_minute=4)
    with service.session() as session:  # the second terminal moves house
        session.execute(
            text(
                "UPDATE client SET institution_id = (SELECT id FROM institution WHERE code = 'H1') WHERE kind <> 'app'"
            )
        )
    second = Api(service.client(), service.second_terminal.credentials)
    body = {"code": "691", "step": "other"}
    found = [api.post("/v1/verifications", body).status_code for api in (service.terminal, second) * 2]
    assert found == [200, 200, 429, 429]


def test_what_was_refused_used_no_code_up(start: ServiceMaker) -> None:
    service = start(terminal_per_minute=2)
    code = service.app.code(service.app.register()["card_id"])
    body = {"code": code, "step": "registration"}
    assert service.terminal.post("/v1/verifications", {"code": "691", "step": "other"}).status_code == 200
    assert service.terminal.post("/v1/verifications", body).status_code == 429
    assert service.second_terminal.scan(code)["outcome"] == "accepted"


def test_workers_share_the_limits(start: ServiceMaker, worker: WorkerMaker) -> None:
    service = start(app_per_minute=10)
    second = worker(service)
    found = [each.app.get(another()).status_code for _ in range(10) for each in (service, second)]
    assert found.count(404) == 9  # and one was the token
    assert found[9:] == [429] * 11


@pytest.mark.parametrize("redis_url", [None, "redis://127.0.0.1:1/0"], ids=["none", "away"])
def test_without_redis_each_worker_lets_through_the_limit(start: ServiceMaker, redis_url: str | None) -> None:
    service = start(app_per_minute=10, redis_url=redis_url)
    found = [service.app.get(another()).status_code for _ in range(12)]
    assert found == [404] * 9 + [429] * 3
    checks = told(service.client().get("/readyz"))
    assert (checks["status"], checks["checks"]["limits"]) == ("ok", None if redis_url is None else False)


def test_the_hot_routes_ask_redis_nothing_far_from_a_limit(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    card = service.app.register()["card_id"]
    service.terminal.scan(service.app.code(card))
    asked: list[str] = []
    monkeypatch.setattr("redis.connection.AbstractConnection.send_packed_command", lambda *_, **__: asked.append("x"))
    code = service.app.code(card)
    assert service.terminal.scan(code)["outcome"] == "accepted"
    assert asked == []


def test_nobody_without_a_token_is_counted_or_told(service: Service) -> None:
    for answer in (service.client().get(READ), service.client().get("/healthz")):
        assert "RateLimit" not in answer.headers
