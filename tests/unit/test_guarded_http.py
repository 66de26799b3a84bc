"""Sending to addresses that others chose: what is refused, and what a receiver that misbehaves can cost."""

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ehc.outside import guarded_http
from ehc.outside.guarded_http import NotSent, Poster, TargetRefused, checked, is_public, read_target, require_target

PRIVATE = [
    *("0.0.0.0", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.8.8.8", "169.254.169.254"),
    *("172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1"),
    *("198.51.100.7", "203.0.113.9", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "168.63.129.16"),
    *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b:1::a00:1"),
    *("100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0"),
    *("fec0::1", "ff02::1", "3fff::1", "5f00::1"),
]
PUBLIC = ["8.8.8.8", "172.15.0.1", "172.32.0.1", "100.63.255.255", "100.128.0.1", "114.114.114.114", "2606:4700::1111"]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_of_the_open_network_is_refused(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    with pytest.raises(NotSent, match="refused"):
        checked(read_target("https://example.com/"), lookup=lambda *_: [address])


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_open_network_is_taken(address: str) -> None:
    assert checked(read_target("https://example.com/"), lookup=lambda *_: [address]) == address


def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    with pytest.raises(NotSent, match="refused"):
        checked(read_target("https://example.com/"), lookup=lambda *_: ["8.8.8.8", "10.0.0.1"])


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "ftp://example.com/", "//example.com/", "example.com", "", "https://", "https:///x",
        "https://user@example.com/", "https://user:secret@example.com/", "https://example.com/#part",
        "https://8.8.8.8/", "https://127.0.0.1/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/",
        "https://127.1/", "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://localhost/", "https://a.localhost/",
        "https://db.internal/", "https://printer.local/", "https://router.lan/", "https://single/", "https://exämple.com/",
        "https://example.com:0/", "https://example.com:22/", "https://example.com:80/", "https://example.com:1023/",
        "https://example.com:65536/", "https://example.com:x/", "https://example.com\\@10.0.0.1/",
        "https://example.com/a b", "https://example.com/\r\nHost: x", "https://-a.example.com/", "https://a..example.com/",
        "https://example.com/" + "a" * 500,
    ],
)  # fmt: skip
def test_a_url_that_could_lead_astray_is_refused(url: str) -> None:
    with pytest.raises(TargetRefused):
        read_target(url)


@pytest.mark.parametrize(
    ("url", "port", "path"),
    [
        ("https://example.com", 443, "/"),
        ("https://hooks.example.com:1024/a/b?c=d", 1024, "/a/b?c=d"),
        ("https://EXAMPLE.com:65535/", 65535, "/"),
        ("https://xn--fiq228c.example.cn/", 443, "/"),
    ],
)
def test_a_url_of_the_open_network_is_read(url: str, port: int, path: str) -> None:
    target = read_target(url)
    assert (target.secure, target.port, target.path, target.host) == (True, port, path, target.host.lower())


def test_this_machine_is_a_target_only_where_it_is_allowed() -> None:
    for url in ("http://127.0.0.1:9000/", "https://localhost:9000/", "http://[::1]:9000/"):
        with pytest.raises(TargetRefused):
            read_target(url)
        assert read_target(url, loopback=True).port == 9000
    for url in ("http://10.0.0.1/", "http://example.com/", "http://127.0.0.2:9000/"):
        with pytest.raises(TargetRefused):
            read_target(url, loopback=True)
    with pytest.raises(NotSent, match="refused"):  # allowing this machine opens no other
        checked(read_target("https://example.com/", loopback=True), loopback=True, lookup=lambda *_: ["127.0.0.1"])
    with pytest.raises(NotSent, match="refused"):
        checked(read_target("http://localhost:1/", loopback=True), loopback=True, lookup=lambda *_: ["10.0.0.1"])


def test_a_name_that_does_not_resolve_or_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> list[str]:
        raise socket.gaierror

    def late(*_: object) -> list[str]:
        time.sleep(0.5)
        return ["8.8.8.8"]

    def nothing(*_: object) -> list[str]:
        return []

    monkeypatch.setattr(guarded_http, "_LOOKUP", 0.1)
    for lookup in (unknown, nothing, late):
        with pytest.raises(TargetRefused):
            require_target("https://example.com/", lookup=lookup)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    got: ClassVar[list[dict[str, str]]]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).got.append(dict(self.headers) | {"port": str(self.client_address[1])})
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """The other side ended it."""


@contextmanager
def listening(tls: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[dict[str, str]]]]:
    class Got(Handler):
        got: ClassVar[list[dict[str, str]]] = []

    server = Quiet(("127.0.0.1", 0), Got)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield int(server.server_address[1]), Got.got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def post(url: str, poster: Poster | None = None) -> int:
    poster = poster or Poster(loopback=True)
    posting = poster.line(url, poster.tls())
    try:
        return posting.post(b"{}", {"Content-Type": "application/json"}).status
    finally:
        posting.close()


def test_a_connection_is_used_again_and_a_rested_one_that_was_closed_is_replaced() -> None:
    with listening() as (port, got):
        poster = Poster(loopback=True)
        posting = poster.line(f"http://127.0.0.1:{port}/x", poster.tls())
        for _ in range(3):
            assert posting.post(b"{}", {}).status == 200
        assert len({one["port"] for one in got}) == 1
        assert posting._line is not None
        posting._line.sock.shutdown(socket.SHUT_RDWR)
        assert posting.post(b"{}", {}).status == 200
        posting.close()


def certificate(folder: Path, name: str, *, days: int = 1) -> tuple[Path, ssl.SSLContext]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    since = datetime.now(UTC) - timedelta(days=2)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(since)
        .not_valid_after(since + timedelta(days=2 + days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file, secret = folder / "cert.pem", folder / "key.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, secret)
    return file, context


def test_https_goes_to_the_checked_address_under_the_name_of_the_target(tmp_path: Path) -> None:
    file, tls = certificate(tmp_path, "localhost")
    names: list[str | None] = []
    tls.sni_callback = lambda _, name, __: names.append(name)
    with listening(tls) as (port, got):
        assert post(f"https://localhost:{port}/", Poster(True, file, lookup=lambda *_: ["127.0.0.1"])) == 200
    assert (names, got[0]["Host"]) == (["localhost"], f"localhost:{port}")


def test_a_certificate_of_nobody_of_another_name_or_out_of_date_is_refused_and_told_apart(tmp_path: Path) -> None:
    def reason(poster: Poster, context: ssl.SSLContext) -> str:
        with listening(context) as (port, got), pytest.raises(NotSent) as refused:
            post(f"https://localhost:{port}/", poster)
        assert got == []
        return refused.value.reason

    file, tls = certificate(tmp_path, "localhost")
    assert reason(Poster(True), tls) == "tls-certificate"
    file, tls = certificate(tmp_path, "other.example.com")
    assert reason(Poster(True, file), tls) == "tls-certificate"
    file, tls = certificate(tmp_path, "localhost", days=-1)
    assert reason(Poster(True, file), tls) == "tls-certificate"
    with listening() as (port, _), pytest.raises(NotSent, match="tls"):
        post(f"https://localhost:{port}/", Poster(True, lookup=lambda *_: ["127.0.0.1"]))


def talking(say: Callable[[socket.socket], None]) -> tuple[int, ExitStack]:
    """A server that says what it likes."""
    stack, listener = ExitStack(), socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        with listener:
            other, _ = listener.accept()
            with other:
                try:
                    say(other)
                except OSError:
                    over.set()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    stack.callback(thread.join, 5)
    return listener.getsockname()[1], stack


HEAD = b"HTTP/1.1 200 OK\r\n"


def dribble(what: bytes) -> Callable[[socket.socket], None]:
    def say(other: socket.socket) -> None:
        while True:
            other.sendall(what)
            time.sleep(0.05)

    return say


@pytest.mark.parametrize("start", [b"", HEAD, HEAD + b"Content-Length: 100\r\n\r\n", HEAD + b"X: "])
def test_a_receiver_that_dribbles_or_says_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch, start: bytes) -> None:
    monkeypatch.setattr(guarded_http, "IN_ALL", 1.0)
    monkeypatch.setattr(guarded_http, "_LOOKUP", 0.5)

    def say(other: socket.socket) -> None:
        other.sendall(start)
        if start:
            dribble(b"a")(other)
        time.sleep(1.5)

    port, stack = talking(say)
    began = time.monotonic()
    with stack:
        with pytest.raises(NotSent, match="timeout"):
            post(f"http://127.0.0.1:{port}/")
        assert time.monotonic() - began < 2


def test_a_handshake_that_dribbles_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_http, "IN_ALL", 1.0)
    monkeypatch.setattr(guarded_http, "_LOOKUP", 0.5)
    port, stack = talking(dribble(b"\x16\x03\x03\x40\x00"[:1]))
    began = time.monotonic()
    with stack, pytest.raises(NotSent):
        post(f"https://localhost:{port}/", Poster(True, lookup=lambda *_: ["127.0.0.1"]))
    assert time.monotonic() - began < 3


def test_of_a_huge_answer_four_kib_are_read() -> None:
    sent = 0

    def say(other: socket.socket) -> None:
        nonlocal sent
        other.recv(65536)
        other.sendall(HEAD + b"Content-Length: 1000000000\r\n\r\n")
        while True:
            sent += other.send(b"\x00" * 65536)

    port, stack = talking(say)
    with stack:
        assert post(f"http://127.0.0.1:{port}/") == 200
    assert sent < 16 * 2**20  # what the buffers of two sockets hold


@pytest.mark.parametrize("said", [b"nonsense\r\n\r\n", b"", HEAD[:5], HEAD + b"Content-Length: x\r\n" * 200 + b"\r\n"])
def test_what_is_no_answer_is_broken(said: bytes) -> None:
    def say(other: socket.socket) -> None:
        other.recv(65536)
        other.sendall(said)

    port, stack = talking(say)
    with stack, pytest.raises(NotSent, match="broken"):
        post(f"http://127.0.0.1:{port}/")


def test_nobody_listening_is_a_failure_to_connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    with pytest.raises(NotSent, match="connect"):
        post(f"http://127.0.0.1:{port}/")
