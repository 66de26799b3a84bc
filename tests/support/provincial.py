"""A program that speaks the provincial SOAP interface, for tests: envelopes made by hand, answers read by another reader."""

import xml.etree.ElementTree as ET
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from typing import Any
from uuid import uuid4

import zxingcpp
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from ehc.callers import Scope
from ehc.gateways.kinds import GatewayKind
from tests.support.gateways import TestAccount, account, allow
from tests.support.service import Api, Service, citizen_number

PATH = "/healthCard/services/elecHealthCardWebSevice"
TARGET = "http://webservice.ehc.cdxt.com/"
SOAP11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP12 = "http://www.w3.org/2003/05/soap-envelope"
ORG, APP = "630102001", "QH0001"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # 1 × 1, PNG
PHOTOS = {"photo_front": PIXEL, "photo_reverse": PIXEL, "photo_face": PIXEL}


def adult(serial: int = 1, **changes: Any) -> dict[str, str]:
    """A valid registration of an adult; each serial below 1000 is somebody else."""
    number = citizen_number(serial)
    given = {
        "name": "王小明",
        "telephone": "13800138000",
        "id_number": number,
        "id_type": "01",
        "id_card": number,
        "nation": "01",
        "sex": "1",
        "birthday": "19900307",
        "address": "西宁市城中区测试路1号",
    }
    return {name: value for name, value in (given | changes).items() if value is not None}


def newborn(number: str, id_type: str, born: str, **changes: Any) -> dict[str, str]:
    """A newborn with a birth certificate, as 08 or as 99, and no citizen id."""
    given = {"name": "张小宝", "id_type": id_type, "id_number": number, "id_card": None, "birthday": born, "sex": "2"}
    return adult(1, **(given | changes))


CLERK = {"auth_id_card": "110105197001010013", "auth_name": "李护士"}


@dataclass(frozen=True)
class Answer:
    """A result, read."""

    text: str
    root: ET.Element

    @classmethod
    def of(cls, text: str) -> "Answer":
        return cls(text, ET.fromstring(text))

    @property
    def code(self) -> str:
        return self.root.findtext("resultCode") or ""

    @property
    def good(self) -> bool:
        return self.root.findtext("result") == "success"

    @property
    def desc(self) -> str:
        return self.root.findtext("desc") or ""

    def node(self, name: str) -> dict[str, str]:
        """The elements of the one node of this name, in their order."""
        (found,) = self.root.findall(name)
        return {child.tag: child.text or "" for child in found}

    def nodes(self, path: str) -> list[dict[str, str]]:
        return [{child.tag: child.text or "" for child in found} for found in self.root.findall(path)]


def inner(fields: dict[str, Any]) -> str:
    """A `request`."""
    told = "".join(f"<{name}>{escape(str(value), quote=False)}</{name}>" for name, value in fields.items())
    return f"<request>{told}</request>"


def envelope(action: str, message: str, *, namespace: str = SOAP11, wrapper: str = "RHCMessageServer") -> str:
    """An envelope as most stacks write it: the arguments escaped."""
    return (
        f'<soapenv:Envelope xmlns:soapenv="{namespace}" xmlns:web="{TARGET}"><soapenv:Body><web:{wrapper}>'
        f"<arg0>{escape(action)}</arg0><arg1>{escape(message)}</arg1></web:{wrapper}></soapenv:Body></soapenv:Envelope>"
    )


def returned(body: bytes, namespace: str = SOAP11) -> Answer:
    """The result in an envelope, which has to be exactly where clients look for it."""
    root = ET.fromstring(body)
    assert root.tag == f"{{{namespace}}}Envelope"
    told = root.find(f"{{{namespace}}}Body/{{{TARGET}}}RHCMessageServerResponse/return")
    assert told is not None, body
    return Answer.of(told.text or "")


@dataclass
class Soap:
    """An account of the interface, calling the service in this process."""

    http: FlaskClient
    account: TestAccount
    places: dict[str, str] = field(default_factory=lambda: {"orgId": ORG})

    def head(self, code: str, **changes: Any) -> dict[str, Any]:
        given = {
            "msgGuid": uuid4().hex,
            "msgType": "1",
            "bussinessCode": code,
            "msgCreateTime": "2026-11-2118:51:23",
            "orgId": "",
            "appCode": "",
            "userName": self.account.name,
            "userPwd": self.account.secret,
            "stdVerCode": "1.0",
            "encryption": "",
        } | self.places
        return {name: value for name, value in (given | changes).items() if value is not None}

    def post(
        self, body: str | bytes, *, content_type: str = "text/xml; charset=utf-8", path: str = PATH
    ) -> TestResponse:
        data = body.encode() if isinstance(body, str) else body
        return self.http.post(path, data=data, content_type=content_type, headers={"SOAPAction": '""'})

    def call(self, code: str, fields: dict[str, Any] | None = None, **head: Any) -> Answer:
        """Ask for an operation, `RHC_E0001` or `E0001`."""
        name = code if code.startswith("RHC_") else f"RHC_{code}"
        answer = self.post(envelope(inner(self.head(name, **head)), inner(fields or {})))
        assert answer.status_code == 200, answer.text
        assert answer.content_type == "text/xml; charset=UTF-8"
        return returned(answer.data)

    def register(self, serial: int = 1, **changes: Any) -> dict[str, str]:
        """Register an adult on site; what `personinfo` says."""
        answer = self.call("E0006", adult(serial, **changes) | CLERK)
        assert answer.code in {"6008", "6009"}, answer.text
        return answer.node("personinfo")

    def apply(self, serial: int = 1, kind: str = "1") -> str:
        """Apply for a code of an adult; its text."""
        answer = self.call("E0002", {"id_card": citizen_number(serial), "qrcode_type": kind})
        assert answer.code == "2009", answer.text
        return answer.node("ehc_cardinfo")["qr_code"]


def hospital(service: Service, *, api: Api | None = None, name: str | None = None, **settings: object) -> Soap:
    """An account of a hospital, H1, on the service's app, whose scopes then suffice for every operation."""
    app = api or service.app
    allow(service, app, Scope.CARDS, Scope.CODES, Scope.VERIFY)
    places = {("org", ORG): "H1", ("app", APP): None}
    made = account(service, GatewayKind.PROVINCIAL, api=app, name=name, places=places, **settings)
    return Soap(service.flask.test_client(), made)


def mini_program(service: Service, **more: Any) -> Soap:
    """The same, calling as an app."""
    made = hospital(service, **more)
    made.places = {"appCode": APP}
    return made


def read_symbol(picture: str) -> tuple[str, tuple[int, int]]:
    """What a picture in base64 shows, and its size."""
    with Image.open(BytesIO(b64decode(picture))) as image:
        assert image.format == "PNG"
        (found,) = zxingcpp.read_barcodes(image.convert("L"))
        return found.text, image.size


def picture(size: int, kind: str = "PNG") -> bytes:
    """A picture of some size."""
    out = BytesIO()
    Image.new("RGB", (size, size), (size % 255, 10, 20)).save(out, kind)
    return out.getvalue()


def packed(data: bytes) -> str:
    return b64encode(data).decode()
