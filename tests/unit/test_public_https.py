"""Reading an address that somebody else chose: the whole internet's alone, bounded, and only the one looked at."""

import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from ehc.outside.public_https import MOST_BYTES, PublicReader, Unfetchable, addresses, host_of, is_public
from tests.support.tls import HttpsSite, https_site, send


@pytest.fixture
def site(tmp_path: Path) -> Iterator[HttpsSite]:
    with https_site(tmp_path) as made:
        yield made


@pytest.fixture
def reader(site: HttpsSite) -> PublicReader:
    """One that takes the loopback for public, and every name for the server's."""
    return PublicReader(lambda *_: ["127.0.0.1"], lambda _: True, site.trust)


def refusal(reader: PublicReader, url: str) -> str:
    with pytest.raises(Unfetchable) as caught:
        reader.read(url)
    return caught.value.reason


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "172.16.0.1"),
        *("172.31.255.255", "192.168.0.1", "169.254.169.254", "169.254.0.23", "100.64.0.1", "100.100.100.200"),
        *("100.127.255.255", "192.0.0.170", "192.0.2.1", "198.18.0.1", "198.19.255.255", "198.51.100.1"),
        *("203.0.113.1", "192.88.99.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::"),
        *("168.63.129.16", "3fff::1", "5f00::1", "2001:1::1"),
        *("2001:0:0:0:0:0:7f00:1", "fec0::1", "100::1", "", "localhost", "0x7f.1", "2130706433", "127.1"),
    ],
)
def test_an_address_of_somebodys_own_network_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "1.1.1.1", "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255"),
        *(
            "192.169.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "128.0.0.1",
            "223.255.255.255",
        ),
        *("2400:3200::1", "2606:4700:4700::1111", "2003::1"),
    ],
)
def test_an_address_just_beside_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://keys.example/",
            "ftp://keys.example/",
            "file:///etc/passwd",
            "https:///x",
            "https://",
            "keys.example",
        ),
        *("https://user@keys.example/", "https://user:pw@keys.example/", "https://@keys.example/", "https://a/#f"),
        *("https://keys.example:99999/", "https://keys.example:x/", "https://keys.example/\r\nX: y", "https://a b/"),
        *("https://钥.example/", "https://keys.example\\@127.0.0.1/", "https://[::1/", "", "gopher://keys.example/"),
        "https://keys.example/" + "a" * 1000,
    ],
    ids=repr,
)
def test_only_plain_https_addresses_are_read(url: str) -> None:
    with pytest.raises(Unfetchable):
        host_of(url)


def test_a_document_is_read(site: HttpsSite, reader: PublicReader) -> None:
    site.answer = lambda handler: send(handler, b'{"keys":[]}')
    assert reader.read(site.url("/jwks?v=2")) == b'{"keys":[]}'
    assert site.asked == [("/jwks?v=2", f"keys.example:{site.port}")]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]", "127.1"])
def test_nothing_of_this_machine_is_read(site: HttpsSite, host: str) -> None:
    reader = PublicReader(context=site.trust)
    assert refusal(reader, site.url(host=host)) in {"address", "silent"}
    assert site.asked == []


def test_a_name_with_one_private_address_is_not_read_at_all(site: HttpsSite) -> None:
    for found in (["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"], ["::ffff:127.0.0.1"], []):
        reader = PublicReader(lambda *_, found=found: found, context=site.trust)
        assert refusal(reader, site.url()) == "address"
    assert site.asked == []


def test_a_name_is_resolved_once_and_what_was_looked_at_is_where_it_goes(site: HttpsSite) -> None:
    """A name that answers otherwise the next time (DNS rebinding) leads nowhere."""
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    looked_at: list[str] = []

    def public(address: str) -> bool:
        looked_at.append(address)
        return True

    reader = PublicReader(lambda *_: next(answers), public, site.trust)
    assert reader.read(site.url()) == b"{}"
    assert looked_at == ["127.0.0.1"]
    assert next(answers) == ["127.0.0.2"]


def test_the_other_side_proves_its_name(site: HttpsSite, reader: PublicReader) -> None:
    assert refusal(reader, site.url(host="other.example")) == "tls"
    assert refusal(replace(reader, context=PublicReader().context), site.url()) == "tls"
    assert site.asked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(site: HttpsSite, reader: PublicReader, status: int) -> None:
    site.answer = lambda handler: send(handler, b"", status, Location=site.url("/elsewhere"))
    assert refusal(reader, site.url()) == "status"
    assert len(site.asked) == 1


@pytest.mark.parametrize("status", [201, 204, 400, 401, 404, 500])
def test_an_answer_that_is_not_200_is_none(site: HttpsSite, reader: PublicReader, status: int) -> None:
    site.answer = lambda handler: send(handler, b"", status)
    assert refusal(reader, site.url()) == "status"


def test_a_document_of_64_kib_is_read_and_of_one_byte_more_not(site: HttpsSite, reader: PublicReader) -> None:
    site.answer = lambda handler: send(handler, b"x" * MOST_BYTES)
    assert len(reader.read(site.url())) == MOST_BYTES
    site.answer = lambda handler: send(handler, b"x" * (MOST_BYTES + 1))
    assert refusal(reader, site.url()) == "size"


def test_a_document_without_end_is_left(site: HttpsSite, reader: PublicReader) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 4096)

    site.answer = endless
    assert refusal(reader, site.url()) == "size"


@pytest.mark.parametrize("part", ["before", "headers", "body"])
def test_one_that_trickles_is_left_when_the_time_is_up(site: HttpsSite, reader: PublicReader, part: str) -> None:
    def slow(handler: BaseHTTPRequestHandler) -> None:
        if part == "before":
            time.sleep(3)
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n" + (b"\r\n" if part == "body" else b"X-Slow: "))
        for _ in range(100):
            handler.wfile.write(b"x")
            time.sleep(0.05)

    site.answer = slow
    began = time.monotonic()
    assert refusal(replace(reader, seconds=0.4), site.url()) == "time"
    assert time.monotonic() - began < 2


def test_a_resolver_that_hangs_is_left_when_the_time_is_up(site: HttpsSite) -> None:
    def hang(*_: object) -> list[str]:
        time.sleep(1)
        return ["127.0.0.1"]

    reader = PublicReader(hang, lambda _: True, site.trust, seconds=0.2)
    began = time.monotonic()
    assert refusal(reader, site.url()) == "time"
    assert time.monotonic() - began < 0.9
    time.sleep(1.2)
    assert site.asked == []  # nor does what was left behind go on


def test_nobody_there_is_told_as_silence(site: HttpsSite, reader: PublicReader) -> None:
    assert refusal(reader, "https://keys.example:1/") == "silent"

    def unknown(*_: object) -> list[str]:
        raise OSError

    assert refusal(replace(reader, resolve=unknown), site.url()) == "silent"


def test_the_usual_resolver_tells_every_address_once() -> None:
    assert addresses("127.0.0.1", 443) == ["127.0.0.1"]
