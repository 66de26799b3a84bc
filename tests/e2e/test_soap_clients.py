"""Real clients at a running server, over HTTP: they know the WSDL, and nothing of us (provincial SOAP 9, line 1).

`zeep` for Python and the npm package `soap` for Node; JAX-WS by the bytes that its reference implementation sends.
"""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html import escape
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import requests
import zeep
from sqlalchemy import update
from sqlalchemy.orm import Session
from zeep.transports import Transport

from ehc.access import clients
from ehc.access.apps import By
from ehc.access.models import ClientRow, InstitutionRow
from ehc.callers import Scope
from ehc.clock import SystemClock
from ehc.commands.context import Deployment
from ehc.gateways import provisioning
from ehc.gateways.kinds import GatewayKind, PlaceKind
from ehc.keystore import secret_keys
from ehc.settings import Settings
from tests.e2e.sites import HOST, Site
from tests.e2e.soap_client.install import node
from tests.support.gateways import TestAccount
from tests.support.provincial import (
    APP,
    CLERK,
    ORG,
    PATH,
    PHOTOS,
    SOAP12,
    TARGET,
    Answer,
    adult,
    envelope,
    inner,
    read_symbol,
    returned,
)

pytestmark = pytest.mark.xdist_group("heavy")

_SCRIPT = Path(__file__).parent / "soap_client" / "call.js"
_MODULES = Path(sys.prefix) / "soap_client" / "node_modules"


class Running:
    """A served site with an account of the interface."""

    def __init__(self, site: Site, known: TestAccount) -> None:
        self.known, self.port = known, site.servers[0].port
        self.wsdl = f"http://{HOST}:{self.port}{PATH}?wsdl"

    def head(self, code: str, **changes: str) -> dict[str, str]:
        given = {"msgGuid": os.urandom(16).hex(), "msgType": "1", "bussinessCode": code, "orgId": ORG}
        return given | {"userName": self.known.name, "userPwd": self.known.secret} | changes

    def arguments(self, code: str, fields: dict[str, Any], **changes: str) -> tuple[str, str]:
        return inner(self.head(code, **changes)), inner(fields)

    def post(self, body: bytes, content_type: str = "text/xml; charset=utf-8") -> requests.Response:
        return requests.post(self.wsdl.removesuffix("?wsdl"), body, headers={"Content-Type": content_type}, timeout=30)


@pytest.fixture(scope="module")
def running(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    site = Site.found(shared_database_url, tmp_path_factory.mktemp("soap"))
    known = _provisioned(site)
    site.launch()
    yield Running(site, known)
    site.close()


def _provisioned(site: Site) -> TestAccount:
    place = Deployment()
    place.settings = Settings.from_env(dict(os.environ) | {"EHC_DATABASE_URL": site.database_url})
    now = SystemClock().now()
    with Session(site.engine) as session, session.begin():
        scopes = frozenset({Scope.CARDS, Scope.CODES, Scope.VERIFY})
        app = clients.add_app(session, name="医院信息系统", scopes=scopes, now=now)
        row = session.query(ClientRow).filter_by(client_id=app.client_id).one()
        home = session.query(InstitutionRow).filter_by(code="H1").one()
        session.execute(update(InstitutionRow).values(static_allowed=True))
        sealer = secret_keys.load(session, place.kek).sealer
        by, kind = By("operator:test"), GatewayKind.PROVINCIAL
        known = provisioning.add(session, kind, row.id, by=by, now=now, name="demo_his")
        made = provisioning.add_secret(session, known.id, sealer=sealer, by=by, now=now)
        provisioning.add_place(session, known.id, PlaceKind.ORG, ORG, home.id, by=by, now=now)
        provisioning.add_place(session, known.id, PlaceKind.APP, APP, None, by=by, now=now)
        return TestAccount(known.id, kind, known.name, made.secret, row.id)


def python_client(running: Running, *calls: tuple[str, str]) -> list[Answer]:
    session = requests.Session()
    session.trust_env = False
    transport = Transport(session=session, timeout=30)  # type: ignore[no-untyped-call]  # zeep types nothing here
    client = zeep.Client(running.wsdl, transport=transport)  # type: ignore[no-untyped-call]  # as above
    return [Answer.of(client.service.RHCMessageServer(*call)) for call in calls]


def node_client(running: Running, *calls: tuple[str, str]) -> list[Answer]:
    program = node()
    assert program is not None
    assert _MODULES.is_dir(), "make test installs the Node client: make .venv/soap.stamp"
    env = {"NODE_PATH": str(_MODULES), "PATH": os.environ.get("PATH", ""), "NO_PROXY": "*"}
    ended = subprocess.run(
        [program, str(_SCRIPT), running.wsdl],
        input=json.dumps(calls).encode(),
        capture_output=True,
        env=env,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    return [Answer.of(text) for text in json.loads(ended.stdout)]


@pytest.mark.parametrize(("client", "serial"), [(python_client, 101), (node_client, 102)])
def test_line_1_a_client_loads_the_wsdl_and_completes_a_registration(
    running: Running, client: Any, serial: int
) -> None:
    wanted = adult(serial, name="张三") | PHOTOS | {"unit": "测试单位"}
    number = {"id_card": wanted["id_card"]}
    registered, applied, fetched = client(
        running,
        running.arguments("RHC_E0001", wanted, orgId="", appCode=APP),
        running.arguments("RHC_E0002", number | {"qrcode_type": "1"}),
        running.arguments("RHC_E0005", number),
    )
    assert (registered.code, registered.desc) == ("6008", "注册成功")
    person = registered.node("personinfo")
    assert list(person) == (
        [
            "name",
            "main_index",
            "ecardId",
            "telephone",
            "id_number",
            "id_type",
            "id_card",
            "nation",
            "sex",
            "birthday",
            "address",
            "ehc_card_status",
        ]
    )
    assert {name: person[name] for name in wanted if name in person} == {
        name: value for name, value in wanted.items() if name in person
    }
    assert (applied.code, fetched.code) == ("2009", "5005")
    shown = applied.node("ehc_cardinfo")
    assert read_symbol(shown["qr_code_imgtext"]) == (f"{person['ecardId']}:1", (200, 200))
    (checked,) = client(
        running, running.arguments("RHC_E0003", {"qr_code": fetched.node("ehc_cardinfo")["dt_qr_code"]})
    )
    assert (checked.code, checked.node("ehc_cardinfo")["ecardId"]) == ("3005", person["ecardId"])


def test_line_1_what_jax_ws_sends_completes_a_registration(running: Running) -> None:
    action, message = running.arguments("RHC_E0006", adult(103) | CLERK)
    body = (
        '<?xml version="1.0" ?><S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body>'
        f'<ns2:RHCMessageServer xmlns:ns2="{TARGET}"><arg0>{escape(action)}</arg0><arg1>{escape(message)}</arg1>'
        "</ns2:RHCMessageServer></S:Body></S:Envelope>"
    )
    answer = running.post(body.encode())
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/xml; charset=UTF-8")
    assert returned(answer.content).code == "6008"


@pytest.mark.parametrize("path", [PATH, "/ws/", "/ws/elecHealthCardWebSevice"])
def test_line_1_the_wsdl_has_the_address_under_which_it_was_asked_for(running: Running, path: str) -> None:
    for host in (f"127.0.0.1:{running.port}", f"localhost:{running.port}"):
        for query in ("wsdl", "WSDL", "wsdl="):
            answer = requests.get(f"http://{host}{path}?{query}", timeout=30)
            root = ET.fromstring(answer.content)
            (address,) = root.iter("{http://schemas.xmlsoap.org/wsdl/soap/}address")
            assert address.get("location") == f"http://{host}{path}"


def test_line_2_a_chunked_body_is_read(running: Running) -> None:
    body = envelope(*running.arguments("RHC_E0005", {"id_card": adult(104)["id_card"]})).encode()
    connection = HTTPConnection(HOST, running.port, timeout=30)
    pieces = iter([body[:1], body[1:300], body[300:]])
    connection.request("POST", PATH, pieces, {"Content-Type": "text/xml; charset=utf-8"}, encode_chunked=True)
    assert returned(connection.getresponse().read()).code == "2008"
    connection.close()


def test_line_2_soap_12_over_the_wire(running: Running) -> None:
    body = envelope(*running.arguments("RHC_E0005", {"id_card": adult(104)["id_card"]}), namespace=SOAP12)
    answer = running.post(body.encode(), "application/soap+xml; charset=utf-8")
    assert answer.headers["Content-Type"] == "application/soap+xml; charset=UTF-8"
    assert returned(answer.content, SOAP12).code == "2008"


def test_gbk_is_read_where_it_is_declared(running: Running) -> None:
    action, message = running.arguments("RHC_E0006", adult(105, name="𠮷田喆") | CLERK)
    body = envelope(action, message)
    in_header = running.post(body.encode("gb18030"), "text/xml; charset=GB18030")
    assert returned(in_header.content).node("personinfo")["name"] == "𠮷田喆"
    body = envelope(action, inner(adult(106, name="李喆") | CLERK))
    in_xml = running.post(f'<?xml version="1.0" encoding="GBK"?>{body}'.encode("gbk"), "text/xml")
    assert returned(in_xml.content).node("personinfo")["name"] == "李喆"
    undeclared = running.post(body.encode("gbk"), "text/xml")
    assert (undeclared.status_code, b"charset" in undeclared.content) == (500, True)


def test_a_body_that_never_ends_is_cut_off(running: Running) -> None:
    refused = running.post(b"<a>" * 3_500_000)
    assert (refused.status_code, b"Fault" in refused.content) == (413, True)
    connection = HTTPConnection(HOST, running.port, timeout=30)
    endless = (b"<a>" * 20_000 for _ in range(1_000))  # 60 MB
    try:
        connection.request("POST", PATH, endless, {"Content-Type": "text/xml"}, encode_chunked=True)
        assert connection.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # it hung up in the middle, as it may
    connection.close()
    assert requests.get(f"http://{HOST}:{running.port}/healthz", timeout=30).status_code == 200
