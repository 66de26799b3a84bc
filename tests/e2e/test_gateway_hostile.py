"""Hostile input to both gateways of a running server: bounded memory, the right error, and the service as healthy as before."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ehc.access import clients
from ehc.access.apps import By
from ehc.callers import Scope
from ehc.clock import SystemClock
from ehc.commands.context import Deployment
from ehc.gateways import provisioning
from ehc.gateways.kinds import GatewayKind, PlaceKind
from ehc.keystore import secret_keys
from tests.e2e.gateway_site import ISV, SOAP, GatewaySite, Hospital, MiniProgram, Raw, gateway_site, send
from tests.e2e.processes import family, resident_bytes
from tests.e2e.sites import HOST, allowed, eventually
from tests.support.provincial import SOAP11, TARGET, envelope, inner, returned

pytestmark = pytest.mark.xdist_group("heavy")

MIB = 2**20
ROOM = 64 * MIB
"""What the worker may gain by all that is thrown at it: threads' stacks, caches, the allocator's slack."""


@pytest.fixture(scope="module")
def site(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewaySite]:
    folder: Path = tmp_path_factory.mktemp("hostile")
    with gateway_site(shared_database_url, folder) as found:
        found.mini_program.log_in()
        found.hospital.call("E0005", {"id_card": "110105194912310021"})
        yield found


@pytest.fixture
def mini(site: GatewaySite) -> MiniProgram:
    return site.mini_program


@pytest.fixture
def his(site: GatewaySite) -> Hospital:
    return site.hospital


@dataclass
class Bound:
    """What the worker may gain in a test."""

    room: int = ROOM


@pytest.fixture(autouse=True)
def bound(site: GatewaySite) -> Iterator[Bound]:
    """After every test: the worker has not grown, and answers at once what it should."""
    before, found = held(site), Bound()
    yield found
    assert held(site) - before < found.room
    began = time.monotonic()
    assert send(site.server.port, ISV + "noSuchMethod", b"{}").status == 200
    assert returned(site.hospital.post(envelope("<request/>", "<request/>").encode()).body).code == "1008"
    assert time.monotonic() - began < allowed(2)
    assert "unhandled error" not in site.server.log.read_text(encoding="utf-8")


def held(site: GatewaySite) -> int:
    return max(map(resident_bytes, family(site.server.pid)))


def code_of(answer: Raw) -> int:
    """The `resultCode` of an answer of the open platform, which comes with HTTP 200 whatever was sent."""
    assert answer.status == 200, answer
    told = json.loads(answer.body)
    assert told["rsp"] == {}
    assert told["commonOut"]["errMsg"]
    return int(told["commonOut"]["resultCode"])


def json_code(site: GatewaySite, body: bytes, method: str = "verifyQRCode", **headers: str) -> int:
    return code_of(send(site.server.port, ISV + method, body, **headers))


# Bodies


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "text/xml"])
def test_ten_megabytes_are_refused_with_an_answer(site: GatewaySite, his: Hospital, kind: str) -> None:
    body = b'{"commonIn":{},"req":{"name":"' + b"x" * 10 * MIB + b'"}}'
    assert json_code(site, body, Content_Type=kind) == 10001
    answer = his.post(b"<a>" + b"x" * 10 * MIB, kind)
    assert answer.status == 413
    assert b"Fault" in answer.body


def chunked(site: GatewaySite, path: str, pieces: Callable[[], Iterator[bytes]]) -> bytes:
    """What comes back for a body in chunks, if the server lets us finish."""
    with socket.create_connection((HOST, site.server.port), timeout=30) as line:
        head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n"
        line.sendall(head.encode())
        try:
            for piece in pieces():
                line.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            line.sendall(b"0\r\n\r\n")
        except OSError:
            return b"closed"
        answer = line.recv(65536)
        while b"\r\n\r\n" in answer and (more := _missing(answer)) > 0:
            answer += line.recv(more)
        return answer


def _missing(answer: bytes) -> int:
    head, _, body = answer.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(lengths[0]) - len(body) if lengths else 0


def test_many_large_bodies_at_once_are_bounded_together(site: GatewaySite, his: Hospital, bound: Bound) -> None:
    """Of as many as the interface takes: 32 threads hold 4 MB each, and four of them what it comes to while it is parsed."""
    bound.room = 2 * ROOM
    photos = {f"photo_{kind}": "A" * 1_200_000 for kind in ("front", "reverse", "face")}
    body = envelope(inner(his.head("E0001")), inner(photos)).encode()
    before, most, codes = held(site), 0, []
    threads = [threading.Thread(target=lambda: codes.append(returned(his.post(body).body).code)) for _ in range(32)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        most = max(most, held(site))
    assert codes == 32 * ["1001"]
    assert most - before < 320 * MIB


@pytest.mark.parametrize("path", [ISV + "verifyQRCode", SOAP])
def test_a_chunked_body_is_bounded_too(site: GatewaySite, path: str) -> None:
    answer = chunked(site, path, lambda: (b"x" * MIB for _ in range(10)))
    assert b"10001" in answer or b" 413 " in answer
    assert chunked(site, path, lambda: (b"x" * MIB for _ in range(200))) == b"closed"


def test_a_length_that_was_announced_and_never_comes_holds_nobody_up(site: GatewaySite) -> None:
    lines = [socket.create_connection((HOST, site.server.port), timeout=30) for _ in range(8)]
    for line in lines:
        head = f"POST {SOAP} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4000000\r\n\r\n<a>"
        line.sendall(head.encode())
    assert returned(site.hospital.post(envelope("", "").encode()).body).code == "1009"
    for line in lines:
        line.close()


# JSON


DEEP = 50_000
NOT_REQUESTS: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"<request/>",
    "a list": b"[]",
    "text": b'"commonIn"',
    "null": b"null",
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep req": b'{"commonIn":{},"req":{"a":' + b"[" * DEEP + b"]" * DEEP + b"}}",
    "unfinished": b'{"commonIn":{',
    "not UTF-8": b'{"commonIn":{},"req":{"name":"\xff\xfe"}}',
    "GBK": '{"commonIn":{},"req":{"name":"张三"}}'.encode("gbk"),
    "UTF-16": '{"commonIn":{},"req":{}}'.encode("utf-16"),
    "a NUL byte": b'{"commonIn":{},"req":{}}\x00',
    "half of a pair": b'{"commonIn":{},"req":{"name":"\\ud83d"}}',
    "NaN": b'{"commonIn":{},"req":{"a":NaN}}',
    "req is a list": b'{"commonIn":{},"req":[]}',
    "commonIn is null": b'{"commonIn":null,"req":{}}',
    "no commonIn": b'{"req":{}}',
}


@pytest.mark.parametrize("body", NOT_REQUESTS.values(), ids=NOT_REQUESTS)
def test_what_is_no_request_is_10001(site: GatewaySite, body: bytes) -> None:
    assert json_code(site, body) in {10001, 20002}


def odd(value: Any) -> bytes:
    return json.dumps(
        {"commonIn": {"appToken": value, "sign": value, "timestamp": value}, "req": {"appId": value}}
    ).encode()


@pytest.mark.parametrize(
    "value",
    [
        "\x00",
        "\x00" * 32,
        "x" * 60_000,
        "\ud800",
        10**400,
        -1,
        1.5e300,
        True,
        None,
        [],
        {},
        [[[]]],
        "'; DROP TABLE card--",
    ],
    ids=repr,
)
@pytest.mark.parametrize("method", ["getAppToken", "verifyQRCode", "registerHealthCard", "no\x00such", "x" * 2000])
def test_members_of_any_kind_are_refused_by_number(site: GatewaySite, value: Any, method: str) -> None:
    path = "".join(sign if sign.isalnum() else f"%{ord(sign):02X}" for sign in method)
    assert code_of(send(site.server.port, ISV + path, odd(value))) in {10001, 10003, 20001, 20002, 20004}


@pytest.mark.parametrize(
    "value",
    ["\x00", "王\x00小明", "x" * 60_000, "\ud800", 10**400, True, [], {"a": [{}]}, " ", "\u202e明", "👩\u200d⚕️" * 100],
    ids=repr,
)
def test_signed_members_of_any_kind_are_refused_by_number(site: GatewaySite, mini: MiniProgram, value: Any) -> None:
    """From somebody who may call: further in than any stranger comes."""
    names = (
        "name",
        "gender",
        "nation",
        "birthday",
        "idNumber",
        "idType",
        "phone1",
        "wechatCode",
        "qrCodeText",
        "healthCardId",
    )
    req = dict.fromkeys(names, value)
    if not mini.token:
        mini.log_in()
    surrogates = isinstance(value, str) and any("\ud800" <= sign <= "\udfff" for sign in value)
    for method in (
        "registerHealthCard",
        "verifyQRCode",
        "getHealthCardByHealthCardId",
        "bindCardRelation",
    ):
        if surrogates:
            body = json.dumps({"commonIn": {"appToken": mini.token, "sign": "x"}, "req": req}).encode()
            assert mini.post(method, body) in {10001, 20001}
        else:
            assert mini.call(method, req) not in {0, 50000}, mini.last
    assert (
        surrogates or mini.call("reportHISData", req) != 50000
    )  # a report of a code of somebody else's is taken as it is


@pytest.fixture(scope="module")
def stranger(site: GatewaySite) -> MiniProgram:
    """Another account, for the same hospital, where a signature counts once."""
    place, now, by = Deployment(), SystemClock().now(), By("operator")
    with site.session() as session:
        made = clients.add_app(session, name="另一公众号", scopes=frozenset(Scope), now=now)
        app = clients.named(session, made.client_id)
        kind = GatewayKind.OPEN_PLATFORM
        row = provisioning.add(session, kind, app.id, by=by, now=now, settings={"replay": True})
        sealer = secret_keys.load(session, place.kek).sealer
        secret = provisioning.add_secret(session, row.id, sealer=sealer, by=by, now=now).secret
        home = clients.institution(session, site.demo["institution"]["code"])
        provisioning.add_place(session, row.id, PlaceKind.HOSPITAL, "30001", home.id, by=by, now=now)
        name = row.name
    return MiniProgram(site.server.port, name, secret, "30001").log_in()


def test_signature_and_token_of_two_accounts_do_not_go_together(mini: MiniProgram, stranger: MiniProgram) -> None:
    mini.log_in()
    req = {"qrCodeText": "x", "medicalStep": "010101", "channelCode": "0100", "useType": "01"}
    assert mini.post("verifyQRCode", mini.body(req, secret=stranger.secret)) == 20001
    assert mini.post("verifyQRCode", mini.body(req, appToken=stranger.token)) == 20001
    assert mini.post("getAppToken", mini.body({"appId": stranger.app_id})) == 20001
    assert mini.post("verifyQRCode", mini.body(req, hospitalId="30003")) == 20005
    assert mini.post("verifyQRCode", mini.body(req)) == 40002


@pytest.mark.parametrize("off", [-301, 301, -86400, 10**6])
def test_a_time_that_is_not_now_is_refused(mini: MiniProgram, off: int) -> None:
    mini.log_in()
    assert mini.call("verifyQRCode", {"qrCodeText": "x"}, timestamp=str(int(time.time()) + off)) == 20003


@pytest.mark.parametrize(
    "given", ["", "abc", "1525392000000", "１５２５３９２０００", -1, 1.5, "0x5aeba000", " 1525392000"]
)
def test_what_is_no_time_is_refused(mini: MiniProgram, given: Any) -> None:
    mini.log_in()
    assert mini.call("verifyQRCode", {"qrCodeText": "x"}, timestamp=given) == 20003


def test_a_call_sent_twice_counts_once_where_the_account_says_so(stranger: MiniProgram) -> None:
    body = stranger.body({"healthCardId": "A" * 64})
    assert stranger.post("getHealthCardByHealthCardId", body) == 40001
    assert stranger.post("getHealthCardByHealthCardId", body) == 20001


# XML


LAYERS = "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 20}'>" for n in range(1, 12))
BOMB = f"<!DOCTYPE request [<!ENTITY a0 'aaaaaaaaaaaaaaaaaaaa'>{LAYERS}]>"
OUTSIDE = "<!DOCTYPE request [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
PARAMETER = "<!DOCTYPE request [<!ENTITY % x SYSTEM 'http://127.0.0.1:9/x.dtd'> %x;]>"
QUADRATIC = f"<!DOCTYPE request [<!ENTITY a '{'a' * 50_000}'>]>"
NESTED = "<a>" * 100_000 + "</a>" * 100_000
INNER = {
    "entity bomb": f"{BOMB}<request><name>&a11;</name></request>",
    "quadratic bomb": f"{QUADRATIC}<request><name>{'&a;' * 20_000}</name></request>",
    "external entity": f"{OUTSIDE}<request><name>&x;</name></request>",
    "parameter entity": f"{PARAMETER}<request><name>x</name></request>",
    "any DTD": "<!DOCTYPE request><request><name>x</name></request>",
    "include": '<request xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="file:///etc/passwd"/></request>',
    "deep": f"<request>{NESTED}</request>",
    "many": f"<request>{'<a/>' * 200_000}</request>",
    "many attributes": "<request " + " ".join(f"a{n}=''" for n in range(50_000)) + "/>",
    "a long name": f"<request><{'a' * 500_000}/></request>",
    "unfinished": "<request><name>",
    "two roots": "<request/><request/>",
    "other root": "<response/>",
    "an unknown entity": "<request><name>&nbsp;</name></request>",
    "a NUL": "<request><name>&#0;</name></request>",
    "half of a pair": "<request><name>&#xD800;</name></request>",
}


@pytest.mark.parametrize("xml", INNER.values(), ids=INNER)
def test_inner_xml_that_is_none_is_refused_by_number(his: Hospital, xml: str) -> None:
    head = inner(his.head("E0005"))
    for action, message in ((xml, "<request/>"), (head, xml)):
        answer = his.post(envelope(action, message).encode())
        assert answer.status == 200, answer.body[:300]
        assert returned(answer.body).code in {"1012", "1008", "1001", "1007"}
        assert b"root:" not in answer.body
        assert answer.seconds < allowed(2)


def outer(body: str) -> str:
    return f'<e:Envelope xmlns:e="{SOAP11}" xmlns:w="{TARGET}"><e:Body>{body}</e:Body></e:Envelope>'


CALL = "<w:RHCMessageServer><arg0>{}</arg0><arg1>x</arg1></w:RHCMessageServer>"
OUTER = {
    "entity bomb": BOMB.replace("DOCTYPE request", "DOCTYPE e:Envelope") + outer(CALL.format("&a11;")),
    "external entity": OUTSIDE.replace("DOCTYPE request", "DOCTYPE e:Envelope") + outer(CALL.format("&x;")),
    "parameter entity": PARAMETER + outer(CALL.format("x")),
    "deep": outer(CALL.format(NESTED)),
    "deep before the body": f'<e:Envelope xmlns:e="{SOAP11}"><e:Header>{NESTED}</e:Header><e:Body/></e:Envelope>',
    "no envelope": "<request/>",
    "no body": f'<e:Envelope xmlns:e="{SOAP11}"/>',
    "an empty body": outer(""),
    "another operation": outer("<w:DropTables/>"),
    "nothing": "",
    "JSON": '{"commonIn":{}}',
    "unfinished": outer(CALL.format("x"))[:-20],
}


@pytest.mark.parametrize("xml", OUTER.values(), ids=OUTER)
def test_what_is_no_call_is_a_fault(his: Hospital, xml: str) -> None:
    answer = his.post(xml.encode())
    assert answer.status == 500, answer.body[:300]
    assert b"Fault" in answer.body
    assert b"root:" not in answer.body
    assert answer.seconds < allowed(2)


CHARSETS = {
    "UTF-8 that is GBK": (outer(CALL.format("张三")).encode("gbk"), "text/xml; charset=utf-8"),
    "an unknown one": (outer(CALL.format("x")).encode(), "text/xml; charset=x-klingon"),
    "one that computes": (outer(CALL.format("x")).encode(), "text/xml; charset=rot13"),
    "UTF-7": (outer(CALL.format("+ADw-")).encode(), "text/xml; charset=utf-7"),
    "UTF-32, declared": (b'<?xml version="1.0" encoding="utf-32"?>' + outer(CALL.format("x")).encode(), "text/xml"),
    "EBCDIC, declared": (b'<?xml version="1.0" encoding="cp037"?>' + outer(CALL.format("x")).encode(), "text/xml"),
    "a NUL": (outer(CALL.format("a\x00b")).encode(), "text/xml; charset=utf-8"),
    "a long one": (outer(CALL.format("x")).encode(), f"text/xml; charset={'a' * 5000}"),
}


@pytest.mark.parametrize(("body", "kind"), CHARSETS.values(), ids=CHARSETS)
def test_a_wrong_charset_is_a_fault_or_refused_by_number(his: Hospital, body: bytes, kind: str) -> None:
    answer = his.post(body, kind)
    assert answer.status in {200, 500}
    assert b"Fault" in answer.body or returned(answer.body).code == "1012"


@pytest.mark.parametrize(
    "value", ["&", "<", "'", '"', "a&#x9;b", "x" * 5000, "👩\u200d⚕️", "\u202e明", "%00", "\u0085"], ids=repr
)
def test_fields_with_anything_in_them_are_refused_by_number(his: Hospital, value: str) -> None:
    fields = dict.fromkeys(("name", "telephone", "id_number", "id_type", "id_card", "nation", "sex", "birthday"), value)
    for code in ("E0001", "E0003", "E0006", "E0011", "E0012"):
        wanted = fields | {
            "qr_code": value,
            "ecardId": value,
            "clinicTime": value,
            "alterTime": value,
            "alterNo": value,
        }
        answer = his.call(code, wanted)
        assert not answer.good
        assert answer.code != "1011", answer.text


def test_a_wrong_password_a_suspended_account_and_nobody_are_told_the_same(his: Hospital) -> None:
    answers = [
        his.call("E0005", {"id_card": "x"}, **changes).text
        for changes in ({"userPwd": "x" * 32}, {"userPwd": ""}, {"userName": "nobody"}, {"userName": "\u0661" * 32})
    ]
    assert len({answer for answer in answers if "1001" not in answer}) == 1


# Many


MALFORMED = (
    (ISV + "verifyQRCode", b'{"commonIn":{', b"10001"),
    (ISV + "verifyQRCode", b'{"commonIn":{"appToken":"x"},"req":{}}', b"20002"),
    (ISV + "noSuchMethod", b'{"commonIn":{"appToken":"x"},"req":{}}', b"10003"),
    (SOAP, envelope("<request>", "<request/>").encode(), b"1012"),
    (SOAP, envelope("<request><bussinessCode>RHC_E9999</bussinessCode></request>", "<request/>").encode(), b"1003"),
    (SOAP, b"<a", b"Fault"),
)


class Flood:
    """Sends malformed calls as fast as it can, on one connection, and counts what is answered right."""

    def __init__(self, port: int, calls: int) -> None:
        self.port, self.calls, self.right, self.wrong = port, calls, 0, 0

    def run(self) -> None:
        with socket.create_connection((HOST, self.port), timeout=30) as line:
            reader = line.makefile("rb")
            for number in range(self.calls):
                path, body, wanted = MALFORMED[number % len(MALFORMED)]
                head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n\r\n"
                line.sendall(head.encode() + body)
                if wanted in self._answer(reader):
                    self.right += 1
                else:
                    self.wrong += 1

    def _answer(self, reader: Any) -> bytes:
        length = 0
        while (header := reader.readline()) not in {b"\r\n", b""}:
            name, _, value = header.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        found: bytes = reader.read(length)
        return found


def test_thousands_of_malformed_calls_are_answered_right_and_leave_little(site: GatewaySite) -> None:
    floods = [Flood(site.server.port, 750) for _ in range(8)]
    threads = [threading.Thread(target=flood.run) for flood in floods]
    before, began = held(site), time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    assert [(flood.right, flood.wrong) for flood in floods] == 8 * [(750, 0)]
    assert seconds < allowed(8 * 750 / 1000)  # a thousand a second, on a machine of one's own
    assert held(site) - before < ROOM / 2

    def counted() -> bool:
        with site.session() as session:
            told = session.execute(text("SELECT coalesce(sum(calls), 0) FROM gateway_use WHERE NOT ok")).scalar_one()
        return int(told) >= 6000

    assert eventually(counted, seconds=allowed(10))
    with site.session() as session:
        traces = session.execute(text("SELECT count(*) FROM gateway_failure")).scalar_one()
        methods = session.execute(text("SELECT count(DISTINCT method) FROM gateway_use")).scalar_one()
    assert int(traces) < 2000
    assert int(methods) < 40


def test_nothing_that_was_sent_is_in_the_log_or_in_a_trace(site: GatewaySite) -> None:
    with site.session() as session:
        traces = session.execute(
            text("SELECT coalesce(string_agg(trace::text, ''), '') FROM gateway_failure")
        ).scalar_one()
    written = site.server.log.read_text(encoding="utf-8") + traces
    for word in ("王", "张三", "DROP TABLE", "aaaaaaaaaaaaaaaaaaaaaaaaa", site.demo["provincial"]["userPwd"]):
        assert word not in written
    assert escape("root:") not in written
