"""What strangers send to wear the service out: it stays up, its memory and its tables stay as they are."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from tests.e2e.peers import Peer
from tests.e2e.processes import family, resident_bytes
from tests.e2e.sites import HOST, Site, healthy

MEGABYTE = 1_000_000
CUT_OFF = 0
SLOW = 24
"""Callers who never finish. Each holds one of the 32 threads; a proxy that takes whole bodies first is for more of them."""
GROWTH = 40 * MEGABYTE
"""Far below what ten bodies of 10 MB would take."""

pytestmark = pytest.mark.xdist_group("heavy")


@pytest.fixture(scope="module")
def open_site(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One service for all attacks: what one does to it, the next one meets."""
    site = Site.found(shared_database_url, tmp_path_factory.mktemp("site"))
    site.launch()
    app, terminal = site.peer("app"), site.peer("terminal-0")
    assert terminal.scan(app.code(app.register())).body["outcome"] == "accepted"
    yield site
    site.close()


def memory(site: Site) -> int:
    return sum(map(resident_bytes, family(site.servers[0].pid)))


def head_of(peer: Peer, *lines: str, path: str = "/v1/verifications") -> bytes:
    bearer = f"Authorization: Bearer {peer.token}"
    first = (f"POST {path} HTTP/1.1", f"Host: {HOST}", bearer, "Content-Type: application/json", "Connection: close")
    return "\r\n".join([*first, *lines, "", ""]).encode()


def answer_to(peer: Peer, *parts: bytes, seconds: float = 15) -> bytes:
    """What the service says to raw bytes; it may answer, and hang up, before it has taken all of them."""
    with socket.create_connection((peer.host, peer.port), timeout=seconds) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            for part in parts:
                connection.sendall(part)
        heard = b""
        with suppress(ConnectionResetError):
            while part := connection.recv(65536):
                heard += part
        return heard


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else CUT_OFF


def test_a_body_of_ten_megabytes_is_refused_quickly_and_is_not_kept_in_memory(open_site: Site) -> None:
    terminal = open_site.peer("terminal-0")
    body = b'{"step": "registration", "code": "' + b"6" * 10 * MEGABYTE + b'"}'
    before, began = memory(open_site), time.monotonic()

    def send(_: int) -> int:
        return status_of(answer_to(terminal, head_of(terminal, f"Content-Length: {len(body)}"), body))

    with ThreadPoolExecutor(5) as pool:
        statuses = list(pool.map(send, range(20)))
    assert set(statuses) == {413}
    assert time.monotonic() - began < 10
    assert memory(open_site) - before < GROWTH
    assert healthy(terminal)


def test_a_body_in_chunks_without_a_length_is_refused_above_64_kib(open_site: Site) -> None:
    terminal = open_site.peer("terminal-0")
    head = head_of(terminal, "Transfer-Encoding: chunked")
    digits = b"6" * 16_384
    chunk = b"%x\r\n%s\r\n" % (len(digits), digits)
    opening, end = b'22\r\n{"step": "registration", "code": "\r\n', b'2\r\n"}\r\n0\r\n\r\n'
    before = memory(open_site)
    assert status_of(answer_to(terminal, head, opening, chunk * 5, end)) == 413
    assert status_of(answer_to(terminal, head, opening, *[chunk] * 600, end)) == 413
    small = answer_to(terminal, head, opening, b"4\r\n6666\r\n", end)
    assert status_of(small) == 200
    assert b'"unknown-format"' in small
    assert memory(open_site) - before < GROWTH
    assert healthy(terminal)


def test_a_length_above_the_limit_is_refused_before_the_body_comes(open_site: Site) -> None:
    terminal = open_site.peer("terminal-0")
    began = time.monotonic()
    assert status_of(answer_to(terminal, head_of(terminal, "Content-Length: 10000000"), b'{"code": "6')) == 413
    assert time.monotonic() - began < 5


def test_bodies_that_never_end_do_not_hold_up_other_callers(open_site: Site) -> None:
    app, terminal = open_site.peer("app"), open_site.peer("terminal-0")
    card = app.register()
    slow = [socket.create_connection((HOST, terminal.port), timeout=10) for _ in range(SLOW)]
    try:
        for connection in slow:
            connection.sendall(head_of(terminal, "Content-Length: 500") + b'{"code": ')
        for connection in slow[:10]:
            began = time.monotonic()
            assert terminal.scan(app.code(card)).body["outcome"] == "accepted"
            assert time.monotonic() - began < 2
            connection.sendall(b'"')
    finally:
        for connection in slow:
            connection.close()
    assert healthy(terminal)


def test_a_thousand_malformed_scans_leave_nothing_in_the_tables(open_site: Site) -> None:
    terminal = open_site.peer("terminal-0")
    before = {
        table: open_site.count(table) for table in ("verification", "code_use", "idempotency", "audit", "card_event")
    }

    def scan(number: int) -> tuple[int, str]:
        texts = (
            f"691{number}",
            "691" + "9" * (200 + number % 100),
            f"https://example.org/{number}",
            "6" * 8000,
            "\u0661" * 300,
        )
        reply = terminal.scan(texts[number % len(texts)])
        return reply.status, str(reply.body["reason"])

    with ThreadPoolExecutor(8) as pool:
        told = set(pool.map(scan, range(1000)))
    assert told == {(200, "malformed"), (200, "unknown-format")}
    assert {table: open_site.count(table) for table in before} == before


def test_a_request_whose_length_is_told_twice_or_wrongly_never_becomes_two_requests(open_site: Site) -> None:
    terminal = open_site.peer("terminal-0")
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    lengths = [
        ("Content-Length: 10", "Content-Length: 40"),
        ("Content-Length: 40, 10",),
        ("Content-Length: 40", "Transfer-Encoding: chunked"),
        ("Content-Length: -1",),
        ("Content-Length: ten",),
        ("Transfer-Encoding: gzip, identity",),
    ]
    for lines in lengths:
        request = head_of(terminal, *lines).replace(b"Connection: close\r\n", b"") + b"0\r\n\r\n" + smuggled
        heard = answer_to(terminal, request)
        assert status_of(heard) == 400, lines
        assert heard.count(b"HTTP/1.1 ") == 1, lines
        assert b'{"status":"ok"}' not in heard, lines
    assert healthy(terminal)


def test_a_flood_of_headers_is_refused_and_the_service_stays_healthy(open_site: Site) -> None:
    terminal = open_site.peer("terminal-0")
    before = memory(open_site)
    floods = {
        "many": [f"X-{n}: {n}" for n in range(10_000)],
        "long": ["X-Long: " + "x" * 2 * MEGABYTE],
        "cookies": ["Cookie: " + "; ".join(f"a{n}=b" for n in range(50_000))],
    }
    for name, lines in floods.items():
        for _ in range(5):
            status = status_of(answer_to(terminal, head_of(terminal, *lines, "Content-Length: 2"), b"{}"))
            assert status == CUT_OFF or 400 <= status < 500, name
    assert memory(open_site) - before < GROWTH
    assert healthy(terminal)


def test_garbage_in_place_of_http_is_answered_or_cut_off_and_the_service_stays_healthy(open_site: Site) -> None:
    terminal = open_site.peer("terminal-0")
    for noise in (
        b"\x16\x03\x01\x02\x00\x01\x00" + b"\xff" * 600,
        b"GET\r\n\r\n",
        b"\x00" * 1000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ):
        status = status_of(answer_to(terminal, noise + b"\r\n\r\n", seconds=5))
        assert status == CUT_OFF or 400 <= status < 500
    assert healthy(terminal)
