"""A client of the open platform, as the vendor's SDKs call it: signs what it sends, in the profile that it is told."""

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from sqlalchemy import select
from werkzeug.test import TestResponse

from ehc.callers import Scope
from ehc.cards.models import CardRow
from ehc.gateways.kinds import GatewayKind
from ehc.gateways.open_platform import one_time, signing
from ehc.gateways.open_platform.envelope import Request
from ehc.gateways.open_platform.one_time import OneTime
from ehc.gateways.open_platform.signing import PROFILES
from ehc.keystore import secret_keys
from tests.support.gateways import TestAccount, account, allow
from tests.support.service import Api, Service, citizen_number

ISV = "/rest/auth/HealthCard/HealthOpenPlatform/ISVOpenObj/"
AUTH = "/rest/auth/HealthCard/HealthOpenAuth/AuthObj/"
BY_NAME = {profile.name: profile for profile in PROFILES}
ALL = (Scope.CARDS, Scope.CODES, Scope.VERIFY, Scope.BINDINGS)


@dataclass
class Platform:
    """One account of the open platform. `token` is got with the first call that needs one."""

    service: Service
    account: TestAccount
    hospital: str = "30001"
    profile: str = "standard"
    token: str = ""
    last: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, service: Service, *, api: Api | None = None, hospital: str = "30001", **settings: Any) -> "Platform":
        """An account on an app of the service, which gets all scopes; its hospital is the service's `H1`."""
        allow(service, api or service.app, *ALL)
        places: dict[tuple[str, str], str | None] = {("hospital", hospital): "H1"}
        made = account(service, GatewayKind.OPEN_PLATFORM, api=api, places=places, **settings)
        return cls(service, made, hospital)

    def request(self, req: dict[str, Any], **common: Any) -> dict[str, Any]:
        """A signed request; `common` are members of `commonIn` that are other than usual, None for absent ones."""
        usual = {
            "appToken": self.token,
            "requestId": uuid4().hex.upper(),
            "hospitalId": self.hospital,
            "channelNum": 0,
            "timestamp": str(int(self.service.clock.now().timestamp())),
        }
        members = {name: value for name, value in (usual | common).items() if value is not None}
        text = signing.canonical(Request(members, req), BY_NAME[self.profile])
        return {"commonIn": {"sign": signing.sign(text, self.account.secret.encode()), **members}, "req": req}

    def send(self, path: str, body: dict[str, Any] | bytes, content_type: str = "application/json") -> TestResponse:
        """What is answered, whatever it is; always with HTTP 200."""
        raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        answer = self.service.client().post(path, data=raw, content_type=content_type)
        assert answer.status_code == 200, answer.text
        self.last = answer.get_json()
        out = self.last["commonOut"]
        assert type(out["resultCode"]) is int
        assert isinstance(self.last["rsp"], dict)
        assert (out["errMsg"] == "成功") == (out["resultCode"] == 0)
        assert out["resultCode"] == 0 or self.last["rsp"] == {}
        return answer

    def log_in(self, **common: Any) -> str:
        """Get a token, and use it from now on."""
        self.send(AUTH + "getAppToken", self.request({"appId": self.account.name}, **{"appToken": "", **common}))
        assert self.code == 0, self.last
        self.token = self.last["rsp"]["appToken"]
        return self.token

    def call(self, method: str, req: dict[str, Any], **common: Any) -> dict[str, Any]:
        """The `rsp` of a call; `code` is its `resultCode`."""
        if not self.token:
            self.log_in()
        self.send(ISV + method, self.request(req, **common))
        found: dict[str, Any] = self.last["rsp"]
        return found

    def good(self, method: str, req: dict[str, Any], **common: Any) -> dict[str, Any]:
        """The `rsp` of a call that has to succeed."""
        found = self.call(method, req, **common)
        assert self.code == 0, self.last
        return found

    def result(self, method: str, req: dict[str, Any], **common: Any) -> int:
        """The `resultCode` of a call."""
        self.call(method, req, **common)
        return self.code

    @property
    def code(self) -> int:
        found: int = self.last["commonOut"]["resultCode"]
        return found

    def wechat_code(self) -> str:
        with self.service.session() as session:
            return one_time.issue(session, OneTime.WECHAT, self.account.id, now=self.service.clock.now())

    def health_code(self, ehc_id: str) -> str:
        serial = serial_of(self.service, ehc_id)
        with self.service.session() as session:
            now = self.service.clock.now()
            return one_time.issue(session, OneTime.HEALTH, self.account.id, card_serial=serial, now=now)

    def register(self, serial: int = 1, **changes: Any) -> dict[str, Any]:
        """The `rsp` of somebody's registration."""
        return self.good("registerHealthCard", applicant(serial, wechatCode=self.wechat_code()) | changes)

    def dynamic(self, ehc_id: str, serial: int = 1) -> str:
        """A dynamic code of somebody that `register` registered."""
        req = {"healthCardId": ehc_id, "idType": "01", "idNumber": citizen_number(serial), "codeType": 0}
        return str(self.good("getDynamicQRCode", req)["qrCodeText"])


def applicant(serial: int = 1, **changes: Any) -> dict[str, Any]:
    """The members of a valid registration, but for the code; each `serial` below 1000 is another person."""
    return {
        "name": "王小明",
        "gender": "男",
        "nation": "汉族",
        "birthday": "1990-03-07",
        "idNumber": citizen_number(serial),
        "idType": "01",
        "address": "测试路1号",
        "phone1": "13800138000",
    } | changes


def serial_of(service: Service, ehc_id: str) -> int:
    """The serial of the card with this id."""
    with service.session() as session:
        index = secret_keys.load(session, service.settings.key_encrypting_key()).blind_index.of("ehc-id", ehc_id)
        return session.scalars(select(CardRow.serial).where(CardRow.ehc_id_index == index)).one()
