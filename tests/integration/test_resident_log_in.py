"""Residents log in through an app: the platforms' wire formats, over HTTP, against their simulators."""

from typing import Any

import pytest
from sqlalchemy import text

from ehc.dev.simulators.controls import Controls
from ehc.dev.simulators.launcher import Simulators
from tests.contract.helpers import at_once, elsewhere, problem, wrong
from tests.integration.outside import asking, outside, simulators
from tests.support.service import Service, told
from tests.support.sessions import by_wechat, later, log_in, logged_in, sent, set_up

__all__ = ["asking", "outside", "simulators"]


@pytest.fixture
def service(asking: Service, simulators: Simulators) -> Service:
    set_up(asking, simulators.mini_program, asking.app, asking.other_app)
    return asking


@pytest.mark.parametrize("platform", ["wechat", "alipay"])
def test_a_code_of_a_platform_opens_a_session_once(service: Service, outside: Controls, platform: str) -> None:
    code = outside.login_code(platform, "a", unionid="uSIM_a")
    found = logged_in(service, service.app, platform=platform, code=code)
    assert found.told["token"].startswith("ehcr_")
    assert (found.told["platform"], found.told["linked"], found.told["card_id"]) == (platform, False, None)
    current = told(found.get("/v1/sessions/current"))
    assert current == {name: value for name, value in found.told.items() if name != "token"}
    assert problem(log_in(service, service.app, platform=platform, code=code)) == (409, "login-code-used")


def test_the_same_person_has_one_identity_in_an_app_and_another_in_another(service: Service, outside: Controls) -> None:
    first, again = by_wechat(service, outside), by_wechat(service, outside)
    assert first.told["identity_id"] == again.told["identity_id"]
    assert first.told["session_id"] != again.told["session_id"]
    elsewhere_ = by_wechat(service, outside, api=service.other_app)
    other = by_wechat(service, outside, "b")
    assert len({one.told["identity_id"] for one in (first, elsewhere_, other)}) == 3
    with service.session() as session:
        indexes = session.scalars(text("SELECT external_index FROM platform_identity")).all()
    assert len(set(indexes)) == 3  # nobody who reads the table sees that two of them are one person


def test_alipay_may_tell_an_open_id_instead_of_a_user_id(service: Service, outside: Controls) -> None:
    with_user = logged_in(service, service.app, platform="alipay", code=outside.login_code("alipay", "a"))
    code = outside.login_code("alipay", "a", open_id=True)
    assert (
        logged_in(service, service.app, platform="alipay", code=code).told["identity_id"]
        != with_user.told["identity_id"]
    )


def test_a_phone_logs_in_by_the_code_that_was_sent(service: Service, outside: Controls) -> None:
    proof_id, code = sent(service, outside)
    found = logged_in(service, service.app, platform="sms", proof_id=proof_id, code=code)
    assert (found.told["platform"], found.told["linked"]) == ("sms", False)
    again = log_in(service, service.app, platform="sms", proof_id=proof_id, code=code)
    assert problem(again) == (409, "code-expired")


def test_a_wrong_code_of_a_phone_is_counted_and_anothers_proof_is_no_proof(service: Service, outside: Controls) -> None:
    proof_id, code = sent(service, outside)
    other = log_in(service, service.other_app, platform="sms", proof_id=proof_id, code=code)
    assert problem(other) == (409, "code-expired")
    bad = f"{(int(code) + 1) % 10**6:06}"
    for _ in range(5):
        assert problem(log_in(service, service.app, platform="sms", proof_id=proof_id, code=bad)) == (409, "wrong-code")
    assert problem(log_in(service, service.app, platform="sms", proof_id=proof_id, code=code)) == (409, "code-expired")


MODES = [
    ("wechat", "invalid-code", 409, "login-code-invalid"),
    ("wechat", "used-code", 409, "login-code-used"),
    ("wechat", "busy", 503, "platform-busy"),
    ("wechat", "rate-limit", 503, "platform-busy"),
    ("wechat", "blocked", 403, "login-blocked"),
    ("wechat", "bad-secret", 409, "platform-refused"),
    ("wechat", "http-500", 503, "platform-away"),
    ("wechat", "garbage", 503, "platform-away"),
    ("wechat", "down", 503, "platform-away"),
    ("wechat", "lost-answer", 503, "platform-away"),
    ("alipay", "invalid-code", 409, "login-code-invalid"),
    ("alipay", "used-code", 409, "login-code-used"),
    ("alipay", "busy", 503, "platform-busy"),
    ("alipay", "rate-limit", 503, "platform-busy"),
    ("alipay", "bad-secret", 409, "platform-refused"),
    ("alipay", "http-500", 503, "platform-away"),
    ("alipay", "garbage", 503, "platform-away"),
    ("alipay", "wrong-signature", 503, "platform-away"),
    ("alipay", "down", 503, "platform-away"),
]


@pytest.mark.parametrize("case", MODES, ids=[f"{one[0]}-{one[1]}" for one in MODES])
def test_what_a_platform_says_becomes_a_clear_problem(
    service: Service, outside: Controls, case: tuple[str, str, int, str]
) -> None:
    platform, mode, status, code = case
    outside.set_mode(mode, party=platform)
    answer = log_in(service, service.app, platform=platform, code=outside.login_code(platform, "a"))
    assert problem(answer) == (status, code)
    assert ("Retry-After" in answer.headers) is (status == 503)
    assert "oSIM" not in answer.text
    with service.session() as session:
        left = session.scalar(text("SELECT count(*) FROM resident_try"))
        assert session.scalar(text("SELECT count(*) FROM resident_session")) == 0
    assert left == (2 if code in {"login-code-invalid", "login-code-used"} else 0)  # an app, an address
    outside.set_mode("normal", party=platform)


def test_a_slow_platform_costs_three_seconds_at_most(service: Service, outside: Controls) -> None:
    outside.set_mode("slow", party="wechat", seconds=10)
    answer = log_in(service, service.app, platform="wechat", code=outside.login_code("wechat", "a"))
    assert problem(answer) == (503, "platform-away")


def test_an_app_without_credentials_and_a_deployment_without_addresses(service: Service, outside: Controls) -> None:
    with service.session() as session:
        session.execute(text("DELETE FROM app_platform WHERE platform = 'alipay'"))
    answer = log_in(service, service.app, platform="alipay", code="abc")
    assert problem(answer) == (409, "platform-not-configured")


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, [("/code", "required"), ("/platform", "required")]),
        ({"platform": "qq", "code": "a"}, [("/platform", "choice")]),
        ({"platform": "wechat", "code": "a b"}, [("/code", "characters")]),
        ({"platform": "wechat", "code": "a" * 257}, [("/code", "characters")]),
        ({"platform": "sms", "code": "123456"}, [("/proof_id", "required")]),
        ({"platform": "wechat", "code": "a", "client_address": "here"}, [("/client_address", "choice")]),
    ],
    ids=str,
)
def test_a_log_in_that_is_none(service: Service, body: dict[str, Any], errors: list[tuple[str, str]]) -> None:
    assert sorted(wrong(log_in(service, service.app, **body))) == errors


def test_one_code_at_the_same_moment_is_one_session(service: Service, outside: Controls) -> None:
    code = outside.login_code("wechat", "a")

    def once() -> int:
        own = elsewhere(service.app, service.flask)
        return own.post("/v1/sessions", {"platform": "wechat", "code": code}).status_code

    assert sorted(at_once(*[once] * 6)) == [201, *[409] * 5]


def test_one_person_at_the_same_moment_is_one_identity(service: Service, outside: Controls) -> None:
    codes = [outside.login_code("wechat", "a") for _ in range(8)]

    def call(code: str) -> Any:
        own = elsewhere(service.app, service.flask)
        return lambda: told(own.post("/v1/sessions", {"platform": "wechat", "code": code}))["identity_id"]

    assert len(set(at_once(*map(call, codes)))) == 1


def test_only_ten_sessions_of_an_identity_live(service: Service, outside: Controls) -> None:
    found = []
    for _ in range(11):
        found.append(by_wechat(service, outside))
        service.clock.advance(1)
    assert problem(found[0].get("/v1/sessions/current")) == (401, "token-invalid")
    assert all(one.get("/v1/sessions/current").status_code == 200 for one in found[1:])


def test_a_session_ends_when_it_is_not_used_and_at_its_end(service: Service, outside: Controls) -> None:
    found = by_wechat(service, outside)
    later(service, 24 * 3600 - 1)
    assert found.get("/v1/sessions/current").status_code == 200
    for _ in range(6):
        later(service, 24 * 3600 - 1)
        last = found.get("/v1/sessions/current")
    assert last.status_code == 200
    later(service, 7)
    assert problem(found.get("/v1/sessions/current")) == (401, "token-invalid")
    idle = by_wechat(service, outside)
    later(service, 24 * 3600)
    assert problem(idle.get("/v1/sessions/current")) == (401, "token-invalid")


def test_logging_out_ends_the_session_at_once_and_no_other(service: Service, outside: Controls) -> None:
    found, other = by_wechat(service, outside), by_wechat(service, outside)
    assert found.call("DELETE", "/v1/sessions/current").status_code == 204
    assert problem(found.get("/v1/sessions/current")) == (401, "token-invalid")
    assert other.get("/v1/sessions/current").status_code == 200


def test_no_openid_no_phone_and_no_secret_rests_in_clear(
    service: Service, outside: Controls, simulators: Simulators
) -> None:
    logged_in(service, service.app, platform="wechat", code=outside.login_code("wechat", "a", unionid="uSIM_a"))
    proof_id, code = sent(service, outside)
    token = logged_in(service, service.app, platform="sms", proof_id=proof_id, code=code).told["token"]
    known = simulators.mini_program.credentials
    secret, key = known["wechat"]["secret"], known["alipay"]["private_key"].splitlines()[5]
    with service.session() as session:
        names = ("app_platform", "platform_identity", "resident_session", "resident_try", "audit", "phone_proof")
        rows = [session.scalars(text(f"SELECT t::text FROM {name} AS t")).all() for name in names]
    dump = "\n".join(row for some in rows for row in some).lower()
    for value in ("oSIM_a", "uSIM_a", "13800138000", secret, key, token):
        assert value.lower() not in dump
        assert value.encode().hex() not in dump


def test_logging_in_and_out_is_in_the_audit_log_with_who_and_from_where(service: Service, outside: Controls) -> None:
    found = by_wechat(service, outside)
    log_in(service, service.app, platform="wechat", code="unknown")
    found.call("DELETE", "/v1/sessions/current")
    with service.session() as session:
        wanted = text("SELECT action, entry FROM audit WHERE action LIKE 'resident.%' ORDER BY at, chain, seq")
        acts = {row.action: row.entry for row in session.execute(wanted)}
    assert set(acts) == {"resident.logged-in", "resident.log-in-refused", "resident.logged-out"}
    assert '"from":' in acts["resident.logged-in"]
    assert '"platform":"wechat"' in acts["resident.logged-in"]
    assert "login-code-invalid" in acts["resident.log-in-refused"]
    assert f"/resident:{found.told['identity_id']}" in acts["resident.logged-out"]
