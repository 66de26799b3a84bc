"""WeChat and Alipay over HTTP, answer by answer: what is taken, and what is no answer. And Alipay's signature, byte by byte."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from ehc.clock import SystemClock
from ehc.errors import EhcError
from ehc.outside import alipay, platforms
from ehc.outside.alipay import AlipayApp, HttpAlipay
from ehc.outside.platforms import PlatformPerson
from ehc.outside.signed_http import LIMIT, Misshapen
from ehc.outside.wechat import HttpWechat, WechatApp

OWN, THEIRS, STRANGER = (rsa.generate_private_key(65537, 2048) for _ in range(3))
APP = AlipayApp("2021000000000001", OWN, THEIRS.public_key())
WECHAT = WechatApp("wx0123456789abcdef", "fedcba9876543210")
MEMBER = alipay.ANSWER


class Peer:
    """A platform that answers what it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        peer = self
        self.body: bytes = b""
        self.asked: list[tuple[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                sent = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                peer.asked.append((self.path, sent))
                self.send_response(200)
                self.send_header("Content-Length", str(len(peer.body)))
                self.end_headers()
                self.wfile.write(peer.body)

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.server.shutdown()
    made.server.server_close()


def kind_of(ask: Callable[[], PlatformPerson]) -> PlatformPerson | str:
    try:
        return ask()
    except EhcError as error:
        return error.code


def signed(said: str, *, member: str = MEMBER, key: rsa.RSAPrivateKey = THEIRS, more: str = "") -> bytes:
    return f'{{"{member}":{said}{more},"sign":"{alipay.sign(key, said.encode())}"}}'.encode()


AWAY = "platform-away"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"openid":"o1","session_key":"x"}', PlatformPerson("o1")),
        (b'{"openid":"o1","session_key":"x","unionid":"u1","errcode":0}', PlatformPerson("o1", "u1")),
        (b'{"openid":"o1","unionid":""}', PlatformPerson("o1")),
        (b'{"errcode":40029,"errmsg":"invalid code"}', "login-code-invalid"),
        (b'{"errcode":"40163","errmsg":"code been used"}', "login-code-used"),
        (b'{"errcode":-1,"errmsg":"system error"}', "platform-busy"),
        (b'{"errcode":45011}', "platform-busy"),
        (b'{"errcode":40226}', "login-blocked"),
        (b'{"errcode":40013}', "platform-refused"),
        (b'{"errcode":99999}', "platform-refused"),
        (b'{"errcode":true}', AWAY),
        (b'{"errcode":{}}', AWAY),
        (b'{"openid":1}', AWAY),
        (b'{"openid":"o 1"}', AWAY),
        (b'{"openid":"%s"}' % (b"o" * 65), AWAY),
        (b"[]", AWAY),
        (b"null", AWAY),
        (b"", AWAY),
        (b"\xff", AWAY),
        (b'{"openid":"o1"}' + b" " * LIMIT, AWAY),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_wechat_answers(peer: Peer, body: bytes, found: PlatformPerson | str) -> None:
    peer.body = body
    assert kind_of(lambda: HttpWechat(peer.url).person(WECHAT, "c1")) == found


def test_what_wechat_is_asked(peer: Peer) -> None:
    peer.body = b'{"openid":"o1"}'
    HttpWechat(peer.url).person(WECHAT, "c-1_x")
    address = urlsplit(peer.asked[0][0])
    assert address.path == "/sns/jscode2session"
    wanted = {"appid": WECHAT.appid, "secret": WECHAT.secret, "js_code": "c-1_x", "grant_type": "authorization_code"}
    assert parse_qs(address.query) == {name: [value] for name, value in wanted.items()}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (signed('{"user_id":"2088"}'), PlatformPerson("user:2088")),
        (signed('{ "open_id" : "a-b" , "access_token":"\\u4e2d\\""}'), PlatformPerson("open:a-b")),
        (signed('{"user_id":"","open_id":"o"}'), PlatformPerson("open:o")),
        (signed('{"user_id":"2088"}', key=STRANGER), AWAY),
        (signed('{"user_id":"2088"}').replace(b"2088", b"2089"), AWAY),
        (signed('{"user_id":"2088"}').replace(b'"user_id"', b' "user_id"'), AWAY),
        (b'{"%s":{"user_id":"2088"}}' % MEMBER.encode(), AWAY),
        (b'{"%s":{"user_id":"2088"},"sign":7}' % MEMBER.encode(), AWAY),
        (b'{"%s":{"user_id":"2088"},"sign":"AAAA"}' % MEMBER.encode(), AWAY),
        (signed('{"user_id":"2088"}', more=f',"{MEMBER}":{{"user_id":"1"}}'), AWAY),
        (signed('{"user_id":"2088"}', more=',"error_response":{}'), AWAY),
        (signed('"2088"'), AWAY),
        (signed('{"user_id":2088}'), AWAY),
        (signed('{"code":"40002","sub_code":"isv.code-invalid"}', member="error_response"), "login-code-invalid"),
        (signed('{"code":"40002","sub_code":"isv.code-invalid"}'), "login-code-invalid"),
        (signed('{"code":"20000","sub_code":"aop.other"}', member="error_response"), "platform-busy"),
        (signed('{"code":"40006","sub_code":"isv.other"}', member="error_response"), "platform-refused"),
        # unsigned, as to an app that it does not know: a no is taken for a no, and never for more
        (b'{"error_response":{"code":"40002","sub_code":"isv.code-invalid"}}', "platform-refused"),
        (b"\x00", AWAY),
        (b"{}", AWAY),
        (b'{"other":{}}', AWAY),
        (b"[" * 5000, AWAY),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_alipay_answers(peer: Peer, body: bytes, found: PlatformPerson | str) -> None:
    peer.body = body
    gateway = HttpAlipay(f"{peer.url}/gateway.do", clock=SystemClock())
    assert kind_of(lambda: gateway.person(APP, "c1")) == found


def test_what_alipay_is_asked_is_signed_with_the_apps_key(peer: Peer) -> None:
    peer.body = signed('{"user_id":"2088"}')
    HttpAlipay(f"{peer.url}/gateway.do", clock=SystemClock()).person(APP, "c1")
    path, body = peer.asked[0]
    assert path == "/gateway.do?charset=utf-8"
    asked = dict(parse_qsl(body))
    wanted = {"method": alipay.METHOD, "sign_type": "RSA2", "version": "1.0", "code": "c1", "app_id": APP.appid}
    assert wanted.items() <= asked.items()
    assert alipay.is_signed(OWN.public_key(), alipay.signed_text(asked), asked["sign"])
    assert not alipay.is_signed(OWN.public_key(), alipay.signed_text(asked | {"code": "c2"}), asked["sign"])


def test_what_is_signed_is_in_the_order_of_names_and_without_what_says_nothing() -> None:
    assert (
        alipay.signed_text({"b": "2", "a": "1", "sign": "x", "c": "", "sign_type": "RSA2"}) == b"a=1&b=2&sign_type=RSA2"
    )


@pytest.mark.parametrize("said", ['{"a":1,"a":2}', "[]", '{"a":1', '{"a":1}x', "{1:2}", "", '{"a" 1}'])
def test_what_is_no_object_of_single_names_is_misshapen(said: str) -> None:
    with pytest.raises(Misshapen):
        alipay.raw_members(said)


def test_members_come_as_they_are_written() -> None:
    said = json.dumps({"a": {"b": "中"}, "c": [1, 2]}, indent=2)
    assert alipay.raw_members(said)["c"] == "[\n    1,\n    2\n  ]"


def test_keys_come_as_pem_or_as_bare_base64_and_of_2048_bits_at_least() -> None:
    forms = ((Encoding.PEM, PrivateFormat.PKCS8), (Encoding.PEM, PrivateFormat.TraditionalOpenSSL))
    for encoding, form in forms:
        typed = OWN.private_bytes(encoding, form, NoEncryption()).decode()
        bare = "".join(typed.splitlines()[1:-1])
        assert alipay.read_private_key(typed).private_numbers() == OWN.private_numbers()
        assert alipay.read_private_key(bare).private_numbers() == OWN.private_numbers()
    public = THEIRS.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert alipay.read_public_key(b64encode(public).decode()).public_numbers() == THEIRS.public_key().public_numbers()
    small = rsa.generate_private_key(65537, 1024)
    curve = ec.generate_private_key(ec.SECP256R1())
    for key in (small, curve):
        with pytest.raises(ValueError):  # noqa: PT011 - that is all it says
            alipay.read_private_key(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
    for typed in ("", "AAAA", "not base64", "-----BEGIN PRIVATE KEY-----"):
        for read in (alipay.read_private_key, alipay.read_public_key):
            with pytest.raises(ValueError):  # noqa: PT011
                read(typed)


def test_nothing_secret_prints() -> None:
    assert WECHAT.secret not in repr(WECHAT)
    assert "private" not in repr(APP)
    assert platforms.away(3).retry_after == 3
