"""With what an app logs residents in: set by staff, sealed, never told, audited with who, from where, before and after."""

from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from sqlalchemy import text

from ehc.callers import Role
from ehc.errors import InvalidValue
from ehc.keystore import platforms
from ehc.keystore.platforms import WechatCredentials
from tests.contract.helpers import problem, secrets_of, wrong
from tests.support import residents
from tests.support.service import Service, StaffApi, told

WECHAT = {"appid": "wx0123456789abcdef", "secret": "0123456789abcdef0123456789abcdef"}
KEY = rsa.generate_private_key(65537, 2048)
PRIVATE = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
ALIPAY = {"appid": "2021000000000001", "private_key": PRIVATE, "platform_key": PUBLIC}


@pytest.fixture
def writer(service: Service) -> StaffApi:
    return service.staff(Role.SYSTEM_ADMIN)


def app_id(service: Service) -> str:
    with service.session() as session:
        wanted = text("SELECT id FROM client WHERE client_id = :id")
        return str(session.scalar(wanted, {"id": service.app.credentials.client_id}))


def path(service: Service, rest: str = "/platforms") -> str:
    return f"/v1/admin/apps/{app_id(service)}{rest}"


def entries(service: Service, action: str) -> list[str]:
    with service.session() as session:
        wanted = text("SELECT entry FROM audit WHERE action = :action ORDER BY at, chain, seq")
        return list(session.scalars(wanted, {"action": action}))


def test_credentials_are_set_changed_and_removed_and_never_told(service: Service, writer: StaffApi) -> None:
    first = writer.call("PUT", path(service, "/platforms/wechat"), WECHAT)
    assert set(told(first)) == {"platform", "appid", "set_at"}
    other = WECHAT | {"appid": "wx0123456789abcdee"}
    assert told(writer.call("PUT", path(service, "/platforms/wechat"), other))["appid"] == other["appid"]
    assert writer.call("PUT", path(service, "/platforms/alipay"), ALIPAY).status_code == 200
    listed = writer.get(path(service))
    assert [one["platform"] for one in told(listed)["platforms"]] == ["alipay", "wechat"]
    assert writer.call("DELETE", path(service, "/platforms/wechat")).status_code == 204
    gone = writer.call("DELETE", path(service, "/platforms/wechat"))
    assert problem(gone) == (409, "platform-not-configured")
    changed = entries(service, "app.platform-set")[1]
    for part in (writer_name(writer), '"from":"', '"request":"', WECHAT["appid"], other["appid"], '"secret":"***"'):
        assert part in changed
    assert "127.0.0.1" not in changed
    with service.session() as session:
        rows = session.scalars(text("SELECT t::text FROM app_platform AS t UNION ALL SELECT entry FROM audit")).all()
    dump = "\n".join([*rows, listed.text, first.text])
    for secret in (WECHAT["secret"], PRIVATE.splitlines()[3]):
        assert secret not in dump
        assert secret.encode().hex() not in dump


def writer_name(writer: StaffApi) -> str:
    return f"staff:{writer.id}"


@pytest.mark.parametrize(
    ("platform", "body", "errors"),
    [
        ("wechat", WECHAT | {"appid": "wx1"}, [("/appid", "appid-form")]),
        ("wechat", WECHAT | {"secret": "kurz"}, [("/secret", "secret-form")]),
        ("wechat", {"appid": WECHAT["appid"]}, [("/secret", "required")]),
        ("alipay", ALIPAY | {"private_key": PUBLIC}, [("/private_key", "key-form")]),
        ("alipay", ALIPAY | {"platform_key": "AAAA"}, [("/platform_key", "key-form")]),
        ("alipay", ALIPAY | {"platform_key": "A" * 4097}, [("/platform_key", "length")]),
        ("alipay", ALIPAY | {"appid": "1"}, [("/appid", "appid-form")]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # keys are made anew in each process
)
def test_what_is_no_credential_is_refused_without_an_echo(
    service: Service, writer: StaffApi, platform: str, body: dict[str, Any], errors: list[tuple[str, str]]
) -> None:
    answer = writer.call("PUT", path(service, f"/platforms/{platform}"), body)
    assert wrong(answer) == errors
    assert all(len(value) < 8 or value not in answer.text for value in body.values())


def test_an_appid_of_the_simulators_is_for_demos_alone(service: Service) -> None:
    given, sealer = WechatCredentials("wxsimulated0000001", WECHAT["secret"]), secrets_of(service).sealer
    facts: dict[str, Any] = {"sealer": sealer, "actor": "operator", "now": service.clock.now()}
    with service.session() as session:
        app = UUID(app_id(service))
        with pytest.raises(InvalidValue):
            platforms.put(session, app, given, demo=False, **facts)
        platforms.put(session, app, given, demo=True, **facts)
        with pytest.raises(platforms.PlatformNotSet):  # a copy of a demo's database does not bring it to a real one
            platforms.wechat_app(session, app, sealer=sealer, demo=False)
        assert platforms.wechat_app(session, app, sealer=sealer, demo=True).secret == WECHAT["secret"]


def test_setting_takes_a_fresh_proof_of_who_calls(service: Service, writer: StaffApi) -> None:
    service.clock.advance(301)
    for method, rest, body in [
        ("PUT", "/platforms/wechat", WECHAT),
        ("DELETE", "/platforms/wechat", None),
        ("POST", "/sessions/end", {"reason": "测试"}),
    ]:
        assert problem(writer.call(method, path(service, rest), body)) == (403, "proof-too-old")


def test_staff_end_the_sessions_of_an_app_and_links_stay(service: Service, writer: StaffApi) -> None:
    card_id = service.app.register(1)["card_id"]
    token = residents.token_of(service, service.app, card_id)
    other = residents.token_of(service, service.other_app, card_id)
    assert told(writer.get(path(service)))["sessions"] == {"wechat": 1}
    answer = writer.post(path(service, "/sessions/end"), {"reason": "密钥泄露"})
    assert told(answer) == {"ended": 1}
    assert status(service, token) == 401
    assert status(service, other) == 200
    assert '"before":{"sessions":1}' in entries(service, "app.sessions-ended")[0]
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM platform_identity WHERE resident_id IS NOT NULL")) == 2


def test_staff_see_and_end_the_sessions_of_a_holder_in_every_app(service: Service, writer: StaffApi) -> None:
    card_id, stranger = service.app.register(1)["card_id"], service.app.register(2)["card_id"]
    mine = [residents.token_of(service, api, card_id) for api in (service.app, service.other_app)]
    theirs = residents.token_of(service, service.app, stranger)
    listed = told(writer.get(f"/v1/admin/cards/{card_id}/sessions"))["sessions"]
    assert [one["platform"] for one in listed] == ["wechat", "wechat"]
    assert told(writer.post(f"/v1/admin/cards/{card_id}/sessions/end", {"reason": "手机被盗"})) == {"ended": 2}
    assert [status(service, token) for token in (*mine, theirs)] == [401, 401, 200]
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM platform_identity WHERE resident_id IS NOT NULL")) == 1


def status(service: Service, token: str) -> int:
    return service.client().get("/v1/sessions/current", headers={"Authorization": f"Bearer {token}"}).status_code
