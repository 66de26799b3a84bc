"""Residents who log in, for tests: an app set up at the simulated platforms, tokens, links."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ehc.access import clients
from ehc.dev.simulators.controls import Controls
from ehc.dev.simulators.mini_programs import MiniProgram
from ehc.keystore import platforms, secret_keys
from ehc.keystore.platforms import AlipayCredentials, WechatCredentials
from tests.support.service import Api, Service, person, told

PHONE = "13800138000"


def set_up(service: Service, mini_program: MiniProgram, *apis: Api) -> None:
    """Let apps log people in at the simulated WeChat and Alipay."""
    known = mini_program.credentials
    with service.session() as session:
        sealer = secret_keys.load(session, service.settings.key_encrypting_key()).sealer
        for api in apis:
            app_id = clients.named(session, api.credentials.client_id).id
            for given in (WechatCredentials(**known["wechat"]), AlipayCredentials(**known["alipay"])):
                platforms.put(
                    session,
                    app_id,
                    given,
                    sealer=sealer,
                    actor="operator",
                    demo=True,
                    now=service.clock.now(),
                )


@dataclass
class Resident:
    """A resident who has logged in."""

    http: FlaskClient
    told: dict[str, Any]

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.told['token']}"}

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.open(path, method=method, json=body, headers=self.headers | named)

    def get(self, path: str) -> TestResponse:
        return self.call("GET", path)

    def post(self, path: str, body: Any = None, **headers: str) -> TestResponse:
        return self.call("POST", path, {} if body is None else body, **headers)


def log_in(service: Service, api: Api, **body: Any) -> TestResponse:
    """The answer to a log-in."""
    return api.post("/v1/sessions", body)


def logged_in(service: Service, api: Api, **body: Any) -> Resident:
    """Somebody who is logged in."""
    answer = log_in(service, api, **body)
    assert answer.status_code == 201, answer.text
    return Resident(service.client(), told(answer))


def by_wechat(service: Service, outside: Controls, name: str = "a", *, api: Api | None = None) -> Resident:
    """Somebody who is logged in by WeChat."""
    return logged_in(service, api or service.app, platform="wechat", code=outside.login_code("wechat", name))


def sent(service: Service, outside: Controls, phone: str = PHONE, *, api: Api | None = None) -> tuple[str, str]:
    """A proof of a phone and the code that arrived."""
    answer = (api or service.app).post("/v1/phone-proofs", {"phone": phone})
    assert answer.status_code == 201, answer.text
    (code,) = re.findall(r"\b\d{6}\b", str(outside.messages(phone)[0]["values"]["code"]))
    return told(answer)["proof_id"], code


def proved(service: Service, outside: Controls, phone: str = PHONE, *, api: Api | None = None) -> str:
    """A proof of a phone that is confirmed."""
    proof_id, code = sent(service, outside, phone, api=api)
    answer = (api or service.app).post(f"/v1/phone-proofs/{proof_id}/confirm", {"code": code})
    assert answer.status_code == 200, answer.text
    return proof_id


def shown(proof_id: str, serial: int = 1, **changes: Any) -> dict[str, Any]:
    """What links a log-in to the person of a serial."""
    known = person(serial)
    return {name: known[name] for name in ("name", "id_type", "id_number")} | {"phone_proof": proof_id} | changes


def later(service: Service, seconds: float) -> datetime:
    """Move the clock; clients get new tokens, since theirs live ten minutes."""
    service.clock.advance(seconds)
    for api in (service.app, service.other_app):
        api.__post_init__()
    return service.clock.now()
