"""Brute force at log-ins stops within the documented limits, over threads, processes, apps and addresses."""

from itertools import cycle
from typing import Any

import pytest
from sqlalchemy import text

from ehc.dev.simulators.controls import Controls
from ehc.dev.simulators.launcher import Simulators
from ehc.issuer import phone_proofs
from ehc.sessions import tries
from tests.contract.conftest import WorkerMaker, worker
from tests.contract.helpers import at_once, elsewhere, problem
from tests.integration.outside import asking, outside, simulators
from tests.support.service import Service
from tests.support.sessions import log_in, sent, set_up

__all__ = ["asking", "outside", "simulators", "worker"]


@pytest.fixture
def service(asking: Service, simulators: Simulators) -> Service:
    set_up(asking, simulators.mini_program, asking.app, asking.other_app)
    return asking


def other_than(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


def minutes_ago(service: Service) -> None:
    """The codes that were sent, and no more, move into the past: the next one may be sent."""
    with service.session() as session:
        session.execute(text("UPDATE phone_proof SET sent_at = sent_at - interval '61 minutes'"))


def statuses(answers: list[Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for answer in answers:
        code = "right" if answer.status_code == 201 else problem(answer)[1]
        found[code] = found.get(code, 0) + 1
    return found


def test_a_number_has_twenty_tries_a_day_through_all_codes_apps_and_routes(service: Service, outside: Controls) -> None:
    looked_at = 0
    for number in range(6):
        api = service.app if number % 2 else service.other_app
        proof_id, code = sent(service, outside, api=api)
        wrong = other_than(code)
        for turn in range(5):
            if turn % 2:
                answer = log_in(service, api, platform="sms", proof_id=proof_id, code=wrong)
            else:
                answer = api.post(f"/v1/phone-proofs/{proof_id}/confirm", {"code": wrong})
            status, told = problem(answer)
            looked_at += told == "wrong-code"
            assert (status, told) in {(409, "wrong-code"), (429, "too-many-wrong-tries")}
        minutes_ago(service)
    assert looked_at == phone_proofs.TRIES_PER_NUMBER
    proof_id, code = sent(service, outside)
    right = log_in(service, service.app, platform="sms", proof_id=proof_id, code=code)
    assert problem(right) == (429, "too-many-wrong-tries")  # also the right one: else a guess would be told from a miss
    assert int(right.headers["Retry-After"]) > 0


def test_thirty_threads_at_two_workers_are_five_tries(service: Service, worker: WorkerMaker, outside: Controls) -> None:
    proof_id, code = sent(service, outside)
    wrong, flasks = other_than(code), cycle([service.flask, worker(service).flask])

    def once() -> Any:
        own = elsewhere(service.app, next(flasks))
        return own.post("/v1/sessions", {"platform": "sms", "proof_id": proof_id, "code": wrong})

    assert statuses(at_once(*[once] * 30)) == {"wrong-code": 5, "code-expired": 25}


def _used_up(monkeypatch: pytest.MonkeyPatch, name: str, most: int) -> None:
    """A limit that a test can reach."""
    limits: tries.Limits = tuple((within, most) for within, _ in getattr(tries, name))
    monkeypatch.setattr(f"ehc.issuer.log_ins.{name}", limits)


def test_wrong_codes_of_an_app_are_counted_from_whatever_address(
    service: Service, worker: WorkerMaker, outside: Controls, monkeypatch: pytest.MonkeyPatch
) -> None:
    _used_up(monkeypatch, "PER_APP", 8)
    flasks = cycle([service.flask, worker(service).flask])

    def once(number: int) -> Any:
        own = elsewhere(service.app, next(flasks))
        address = {"REMOTE_ADDR": f"203.0.113.{number}"}
        body = {"platform": "wechat", "code": f"guess-{number}"}
        return own.http.post("/v1/sessions", json=body, headers=own.headers, environ_base=address)

    found = statuses(at_once(*[lambda number=number: once(number) for number in range(20)]))
    assert found == {"login-code-invalid": 8, "too-many-wrong-tries": 12}
    code = outside.login_code("wechat", "a")
    assert problem(log_in(service, service.app, platform="wechat", code=code)) == (429, "too-many-wrong-tries")
    assert log_in(service, service.other_app, platform="wechat", code=code).status_code == 201
    service.clock.advance(901)
    with service.session() as session:  # a day has passed for all but the quarter
        session.execute(text("DELETE FROM resident_try"))
    service.app.__post_init__()
    assert log_in(service, service.app, platform="wechat", code=outside.login_code("wechat", "b")).status_code == 201


def test_wrong_codes_from_an_address_are_counted_through_whatever_app(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    _used_up(monkeypatch, "PER_ADDRESS", 6)
    answers = [
        log_in(service, api, platform="wechat", code=f"guess-{number}")
        for number in range(5)
        for api in (service.app, service.other_app)
    ]
    assert statuses(answers) == {"login-code-invalid": 6, "too-many-wrong-tries": 4}


def test_wrong_codes_of_one_phone_are_counted_by_the_address_that_its_app_tells(service: Service) -> None:
    def once(address: str) -> Any:
        return log_in(service, service.app, platform="wechat", code="guess", client_address=address)

    answers = [once("2001:db8::1") for _ in range(31)]  # all of a /64 is one
    assert statuses(answers) == {"login-code-invalid": 30, "too-many-wrong-tries": 1}
    assert problem(once("2001:db8::2")) == (429, "too-many-wrong-tries")
    assert problem(once("2001:db8:0:1::1")) == (409, "login-code-invalid")


def test_who_logs_in_rightly_uses_nothing_up(
    service: Service, outside: Controls, monkeypatch: pytest.MonkeyPatch
) -> None:
    _used_up(monkeypatch, "PER_APP", 2)
    for number in range(5):
        code = outside.login_code("wechat", f"p{number}")
        assert log_in(service, service.app, platform="wechat", code=code).status_code == 201


@pytest.mark.parametrize("limit", ["PER_APP", "PER_ADDRESS", "PER_PHONE_ADDRESS", "PER_IDENTITY", "PER_DOCUMENT"])
def test_the_documented_limits_are_those_that_count(limit: str) -> None:
    said = {
        "PER_APP": "600 / 15 min, 10000 / d",
        "PER_ADDRESS": "600 / 15 min, 10000 / d",
        "PER_PHONE_ADDRESS": "30 / 15 min, 300 / d",
        "PER_IDENTITY": "5 / 60 min, 10 / d",
        "PER_DOCUMENT": "10 / d",
    }
    told = [
        f"{most} / d" if within.days else f"{most} / {within.seconds // 60} min"
        for within, most in getattr(tries, limit)
    ]
    assert ", ".join(told) == said[limit]
