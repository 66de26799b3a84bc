"""Who may call the open platform: signatures, times, hospitals, suspension, scopes, and bodies of every kind."""

import json
from io import BytesIO
from typing import Any

import pytest
from sqlalchemy import text

from ehc.callers import Scope
from ehc.gateways import provisioning
from ehc.gateways.calls import UNKNOWN, Call, Calls
from ehc.gateways.kinds import PlaceKind
from ehc.keystore import secret_keys
from tests.contract.conftest import WorkerMaker
from tests.support.gateways import TESTER, allow, institution_id, with_secret
from tests.support.open_platform import AUTH, ISV, Platform, applicant
from tests.support.service import Service


@pytest.fixture
def platform(service: Service) -> Platform:
    made = Platform.of(service)
    made.log_in()
    return made


def test_the_window_is_five_minutes_either_way(platform: Platform) -> None:
    now = int(platform.service.clock.now().timestamp())
    told = [platform.result("recvPushMsg", {}, timestamp=now + off) for off in (-301, -300, 300, 301)]
    assert told == [20003, 0, 0, 20003]


def test_the_window_is_the_accounts_own(service: Service) -> None:
    platform = Platform.of(service, window_seconds=30)
    at = int(service.clock.now().timestamp())
    assert [platform.result("recvPushMsg", {}, timestamp=at - late) for late in (30, 31)] == [0, 20003]


def test_what_is_no_time_in_seconds_is_refused(platform: Platform) -> None:
    times: list[Any] = [None, "", True, "now", 1709601330123, "1709601330123", "１７０９６０１３３０", -1, 1.5, []]
    assert {platform.result("recvPushMsg", {}, timestamp=at) for at in times} == {20003}


def test_a_hospital_that_is_not_the_apps_is_refused(platform: Platform) -> None:
    hospitals: list[Any] = ["30002", "", None, "三", 30001.5, ["30001"]]
    assert {platform.result("recvPushMsg", {}, hospitalId=one) for one in hospitals} == {20005}


def test_a_hospital_as_a_number_is_taken(platform: Platform) -> None:
    assert platform.result("recvPushMsg", {}, hospitalId=30001) == 0


def test_another_hospital_may_be_added(platform: Platform, service: Service, worker: WorkerMaker) -> None:
    with service.session() as session:
        where = institution_id(service, "H2")
        now = service.clock.now()
        provisioning.add_place(session, platform.account.id, PlaceKind.HOSPITAL, "30002", where, by=TESTER, now=now)
    platform.service = worker(service)  # one that has not looked yet
    assert platform.result("recvPushMsg", {}, hospitalId="30002") == 0


def test_nobodys_app_id_is_refused(platform: Platform) -> None:
    for app_id in ("0" * 32, "x", "", None, 5, "张" * 32, "a\x00" * 16):
        platform.send(AUTH + "getAppToken", platform.request({"appId": app_id}))
        assert platform.code == 20004


def test_a_token_of_one_app_and_the_signature_of_another_do_not_go_together(service: Service) -> None:
    mine, theirs = Platform.of(service), Platform.of(service, api=service.other_app)
    mine.log_in()
    theirs.token = mine.token
    assert theirs.result("recvPushMsg", {}) == 20001


def test_what_is_no_token_is_refused(platform: Platform) -> None:
    tokens: list[Any] = [None, "", "0" * 32, "x" * 32, "张" * 32, 7, "a" * 60_000, ["x"]]
    assert {platform.result("recvPushMsg", {}, appToken=token) for token in tokens} == {20002}


def test_a_suspended_account_is_refused_with_its_old_token(
    platform: Platform, service: Service, worker: WorkerMaker
) -> None:
    with service.session() as session:
        provisioning.suspend(session, platform.account.id, reason="测试", by=TESTER, now=service.clock.now())
    platform.service = worker(service)
    assert platform.result("recvPushMsg", {}) == 20004
    platform.send(AUTH + "getAppToken", platform.request({"appId": platform.account.name}))
    assert platform.code == 20004


def test_two_secrets_are_good_while_one_follows_the_other(
    platform: Platform, service: Service, worker: WorkerMaker
) -> None:
    with service.session() as session:
        sealer = secret_keys.load(session, service.settings.key_encrypting_key()).sealer
        made = provisioning.add_secret(session, platform.account.id, sealer=sealer, by=TESTER, now=service.clock.now())
    platform.service = worker(service)
    assert platform.result("recvPushMsg", {}) == 0
    platform.account = with_secret(platform.account, made.secret)
    assert platform.result("recvPushMsg", {}) == 0


def test_a_token_is_good_at_every_worker_and_after_a_restart(
    platform: Platform, service: Service, worker: WorkerMaker
) -> None:
    platform.service = worker(service)
    assert platform.result("recvPushMsg", {}) == 0


def test_of_tokens_only_hashes_are_kept(platform: Platform, service: Service) -> None:
    with service.session() as session:
        kept = session.scalars(text("SELECT hash FROM open_platform_token")).all()
    assert [len(bytes(one)) for one in kept] == [32]
    assert platform.token.encode() not in b"".join(map(bytes, kept))


def test_an_app_without_the_scope_is_told_that_the_method_is_not_open(
    platform: Platform, service: Service, worker: WorkerMaker
) -> None:
    allow(service, service.app, Scope.CARDS)
    platform.service = worker(service)
    assert platform.result("verifyQRCode", {"qrCodeText": f"{'A' * 64}:1"}) == 10003
    assert platform.result("getHealthCardByHealthCardId", {"healthCardId": "A" * 64}) == 40001


def test_a_replayed_request_is_refused_where_the_account_asks_for_that(service: Service) -> None:
    platform = Platform.of(service, replay=True)
    platform.log_in()
    body = platform.request({})
    told = []
    for _ in range(2):
        platform.send(ISV + "recvPushMsg", body)
        told.append(platform.code)
    assert told == [0, 20001]
    assert platform.result("recvPushMsg", {}) == 0


def test_any_path_below_rest_auth_leads_there(platform: Platform) -> None:
    for prefix in ("HealthCard/HealthOpenPlatform/ISVOpenObj", "TXHealthCard/EHealthCardServer/ISVOpenObj", "x"):
        platform.send(f"/rest/auth/{prefix}/recvPushMsg", platform.request({}))
        assert platform.code == 0


def test_names_of_methods_are_case_sensitive(platform: Platform) -> None:
    assert platform.result("RecvPushMsg", {}) == 10003


def test_an_unknown_method_is_said_so_also_to_nobody(service: Service) -> None:
    platform = Platform.of(service)
    platform.send(ISV + "noSuchMethod", {"commonIn": {}, "req": {}})
    assert (platform.code, platform.last["commonOut"]["errMsg"]) == (10003, "接口未开通")


NO_REQUESTS = (
    b"",
    b"null",
    b"[]",
    b"{}",
    b'{"commonIn": {}}',
    b'{"commonIn": [], "req": {}}',
    b"{" * 60_000,
    b"[" * 60_000,
    b'{"commonIn": {}, "req": {"a": "' + "张".encode("gbk") + b'"}}',
    b"a" * 70_000,
    b'{"commonIn": {"requestId": "\\ud800"}, "req": []}',
)


def test_what_is_no_request_is_said_so(platform: Platform) -> None:
    for raw in NO_REQUESTS:
        platform.send(ISV + "verifyQRCode", raw)
        assert platform.code == 10001, raw[:40]


def test_a_chunked_body_of_any_size_is_cut(platform: Platform) -> None:
    answer = platform.service.client().post(
        ISV + "verifyQRCode",
        input_stream=BytesIO(b"x" * 10_000_000),
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert (answer.status_code, answer.get_json()["commonOut"]["resultCode"]) == (200, 10001)


def test_strange_texts_in_members_are_refused_and_never_told(platform: Platform) -> None:
    for sign in ("\x00", "张", "name'--"):
        told = platform.result("registerHealthCard", applicant(1, name=f"王{sign * 300}", wechatCode="x"))
        assert told == 10002
        assert "王" not in json.dumps(platform.last, ensure_ascii=False)


def test_a_request_id_is_echoed_and_a_long_one_is_not(platform: Platform) -> None:
    platform.call("recvPushMsg", {}, requestId="e_card9B0A")
    assert platform.last["commonOut"]["requestId"] == "e_card9B0A"
    platform.call("recvPushMsg", {}, requestId="x" * 65)
    assert platform.last["commonOut"]["requestId"] == ""


def test_a_failed_call_leaves_a_trace_without_anything_personal(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Call] = []
    monkeypatch.setattr(Calls, "record", lambda _, call: seen.append(call))
    platform.profile = "go"
    platform.call("registerHealthCard", applicant(1, wechatCode="0" * 32, patid=" "))
    (call,) = seen
    told = (call.kind, call.account, call.method, call.dialect, call.result, call.ok)
    assert told == ("open-platform", platform.account.id, "registerHealthCard", "go", "30001", False)
    assert call.reference == platform.last["commonOut"]["requestId"]
    trace = dict(call.trace or {})
    assert (trace["hospitalId"], trace["idType"], trace["name"]) == ("30001", "01", "text of 3 characters: 3 Han")
    for secret in ("王小明", "13800138000", "1101051990", platform.token, "0" * 32):
        assert secret not in json.dumps(trace, ensure_ascii=False)


def test_of_a_wrong_signature_the_trace_says_which_members_are_signed(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Call] = []
    monkeypatch.setattr(Calls, "record", lambda _, call: seen.append(call))
    body = platform.request({"qrCodeText": "x", "time": "", "idCard": None})
    body["commonIn"]["sign"] = "A" * 43 + "="
    platform.send(ISV + "reportHISData", body)
    assert (seen[0].account, seen[0].dialect) == (platform.account.id, "none")
    assert (seen[0].trace or {})["signed"] == "appToken&channelNum&hospitalId&qrCodeText&requestId&timestamp"


def test_calls_of_nobody_are_counted_under_one_name(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Call] = []
    monkeypatch.setattr(Calls, "record", lambda _, call: seen.append(call))
    platform = Platform.of(service)
    platform.send(ISV + "noSuchMethod", platform.request({}))
    platform.send(ISV + "verifyQRCode", b"x")
    assert [(call.account, call.method, call.dialect, call.result) for call in seen] == [
        (None, UNKNOWN, "none", "10003"),
        (None, "verifyQRCode", "none", "10001"),
    ]
