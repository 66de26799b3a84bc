"""The demo's deployment with its gateway accounts, served by real processes; and programs that call it as others do.

They share no code with the service: the signature is written down once more, from open-platform JSON 2.1.
"""

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from ehc.access.clients import Credentials
from ehc.clock import SystemClock
from ehc.commands.context import Deployment
from ehc.db import unit_of_work
from ehc.dev import region
from ehc.dev.granian import Granian, free_port
from ehc.gateways import provisioning
from ehc.gateways.open_platform import one_time
from ehc.gateways.open_platform.one_time import OneTime
from ehc.keystore import secret_keys
from tests.e2e.peers import Peer, Wires
from tests.e2e.sites import HOST, MANY
from tests.support.provincial import Answer, envelope, inner, returned

ISV = "/rest/auth/HealthCard/HealthOpenPlatform/ISVOpenObj/"
TOKEN = "/rest/auth/HealthCard/HealthOpenAuth/AuthObj/getAppToken"
SOAP = "/healthCard/services/elecHealthCardWebSevice"


@dataclass(frozen=True)
class Raw:
    """An answer as it came."""

    status: int
    body: bytes
    seconds: float = 0.0


def send(port: int, path: str, body: bytes, **headers: str) -> Raw:
    """A POST on a connection of its own."""
    connection, began = HTTPConnection(HOST, port, timeout=30), time.monotonic()
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", path, body, named)
        answer = connection.getresponse()
        return Raw(answer.status, answer.read(), time.monotonic() - began)
    finally:
        connection.close()


def signature(common: dict[str, Any], req: dict[str, Any], secret: str) -> str:
    """`sign` of a request, as the vendor's own SDK makes it."""
    merged = {name: text(value) for name, value in (common | req).items() if value is not None}
    pairs = "&".join(f"{name}={merged[name]}" for name in sorted(merged) if merged[name].strip())
    return base64.b64encode(hashlib.sha256((pairs + secret).encode()).digest()).decode()


def text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


@dataclass
class MiniProgram:
    """A back end that speaks the open platform's JSON."""

    port: int
    app_id: str
    secret: str
    hospital: str
    token: str = ""
    last: dict[str, Any] = field(default_factory=dict)

    def body(self, req: dict[str, Any], *, secret: str | None = None, **common: Any) -> bytes:
        """A signed request."""
        usual = {"appToken": self.token, "requestId": uuid4().hex.upper(), "hospitalId": self.hospital, "channelNum": 0}
        members = usual | {"timestamp": str(int(time.time()))} | common
        sign = signature(members, req, self.secret if secret is None else secret)
        return json.dumps({"commonIn": members | {"sign": sign}, "req": req}, ensure_ascii=False).encode()

    def post(self, method: str, body: bytes) -> int:
        """The `resultCode` of whatever is sent; always with HTTP 200 and an envelope."""
        answer = send(
            self.port, TOKEN if method == "getAppToken" else ISV + method, body, Content_Type="application/json"
        )
        assert answer.status == 200, answer
        self.last = json.loads(answer.body)
        assert isinstance(self.last["rsp"], dict)
        code = self.last["commonOut"]["resultCode"]
        assert isinstance(code, int)
        return code

    def log_in(self) -> "MiniProgram":
        assert self.post("getAppToken", self.body({"appId": self.app_id}, appToken="")) == 0, self.last
        self.token = self.last["rsp"]["appToken"]
        return self

    def call(self, method: str, req: dict[str, Any], **common: Any) -> int:
        """The `resultCode` of a call."""
        if not self.token:
            self.log_in()
        return self.post(method, self.body(req, **common))

    def good(self, method: str, req: dict[str, Any]) -> dict[str, Any]:
        """The `rsp` of a call that has to succeed."""
        assert self.call(method, req) == 0, self.last
        found: dict[str, Any] = self.last["rsp"]
        return found


@dataclass
class Hospital:
    """A hospital's system that speaks the provincial SOAP interface."""

    port: int
    user: str
    password: str
    org: str

    def head(self, code: str, **changes: str) -> dict[str, str]:
        return {
            "msgGuid": uuid4().hex,
            "msgType": "1",
            "bussinessCode": f"RHC_{code}",
            "msgCreateTime": "2026-11-32518:51:23",
            "orgId": self.org,
            "userName": self.user,
            "userPwd": self.password,
        } | changes

    def call(self, code: str, fields: dict[str, Any], **head: str) -> Answer:
        """The result of a call, which has to be one."""
        answer = self.post(envelope(inner(self.head(code, **head)), inner(fields)).encode())
        assert answer.status == 200, answer
        return returned(answer.body)

    def post(self, body: bytes, content_type: str = "text/xml; charset=utf-8") -> Raw:
        return send(self.port, SOAP, body, Content_Type=content_type, SOAPAction='""')


@dataclass
class GatewaySite:
    """The deployment, and who calls it: all that `var/demo.json` says."""

    demo: dict[str, Any]
    server: Granian
    engine: Engine
    wires: Wires = field(default_factory=Wires)

    @property
    def mini_program(self) -> MiniProgram:
        told = self.demo["open_platform"]
        return MiniProgram(self.server.port, told["appId"], told["appSecret"], told["hospitalId"])

    @property
    def hospital(self) -> Hospital:
        told = self.demo["provincial"]
        return Hospital(self.server.port, told["userName"], told["userPwd"], told["orgId"])

    def peer(self, role: str) -> Peer:
        """A client of `/v1`."""
        told = self.demo[role]
        credentials = Credentials(told["client_id"], told["client_secret"])
        return Peer(HOST, self.server.port, credentials, self.wires).log_in()

    @contextmanager
    def session(self) -> Iterator[Session]:
        with Session(self.engine) as session, session.begin():
            yield session

    def account(self, name: str) -> UUID:
        with self.session() as session:
            return provisioning.named(session, name).id

    def wechat_code(self) -> str:
        """What the mini-program's page would have got from WeChat's side."""
        account = self.account(self.demo["open_platform"]["appId"])
        with self.session() as session:
            return one_time.issue(session, OneTime.WECHAT, account, now=SystemClock().now())


@contextmanager
def gateway_site(database_url: str, folder: Path, **env: str) -> Iterator[GatewaySite]:
    """A database with the demo region in it, and one worker that serves it."""
    engine, place = create_engine(database_url, poolclass=NullPool), Deployment()
    metrics = folder / "metrics"
    metrics.mkdir()
    given = {"EHC_DATABASE_URL": database_url, "PROMETHEUS_MULTIPROC_DIR": str(metrics), **MANY, **env}
    server = Granian(given, port=free_port(), log=folder / "server.log")
    demo = region.prepare(
        unit_of_work(engine),
        folder / "demo.json",
        base_url=server.url,
        clock=SystemClock(),
        secrets=lambda session: secret_keys.load(session, place.kek),
    )
    server.start()
    site = GatewaySite(demo, server, engine)
    try:
        yield site
    finally:
        site.wires.close()
        server.stop()
        engine.dispose()
