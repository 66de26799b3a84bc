"""Reads a small document from an address that somebody else chose, and from nowhere that only we can reach (SSRF).

The name is resolved once; every address that it has must be a public one; the connection goes to the very address that was
looked at, so that a name that answers otherwise the next time leads nowhere. HTTPS only, no redirects, bounded in size and in
time, the time of resolving included.
"""

import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPSConnection
from ipaddress import ip_address
from threading import Thread
from urllib.parse import urlsplit

from ehc.outside import guarded_http

MOST_BYTES = 64 * 1024
SECONDS = 3.0
LONGEST_URL = 1000

Resolve = Callable[[str, int], Sequence[str]]


class Unfetchable(Exception):
    """Nothing came that could be used. `reason` is one word for the log; it holds nothing that the other side sent."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def is_public(address: str) -> bool:
    """Whether an address is one of the whole internet's, and of nobody's own network, machine or cloud."""
    try:
        return guarded_http.is_public(ip_address(address))
    except ValueError:
        return False


def host_of(url: str) -> tuple[str, int, str]:
    """Host, port and path of an address that may be read at all: `https`, a host, no user, no fragment, visible ASCII.

    Raises `Unfetchable`. Does not resolve the host.
    """
    if len(url) > LONGEST_URL or not url.isascii() or any(not "!" <= sign <= "~" for sign in url) or "\\" in url:
        raise Unfetchable("url")
    try:
        parts = urlsplit(url)
        port = parts.port or 443
    except ValueError:
        raise Unfetchable("url") from None
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or "#" in url:
        raise Unfetchable("url")
    return parts.hostname, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def addresses(host: str, port: int) -> list[str]:
    """Every address that a host has. Raises `OSError`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


@dataclass(frozen=True)
class PublicReader:
    """Reads documents; a test gives its own resolver, its own idea of what is public, and its own authority."""

    resolve: Resolve = addresses
    public: Callable[[str], bool] = is_public
    context: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    seconds: float = SECONDS

    def read(self, url: str) -> bytes:
        """The body of a 200 answer. Raises `Unfetchable`, within the time."""
        host, port, path = host_of(url)
        try:
            visit = _Visit(self, host, port, path)
        except UnicodeError:
            raise Unfetchable("url") from None
        thread = Thread(target=visit.run, daemon=True)
        thread.start()
        thread.join(self.seconds)
        if thread.is_alive():
            visit.cut()
            raise Unfetchable("time")
        if visit.body is None:
            raise Unfetchable(visit.reason)
        return visit.body


class _Pinned(HTTPSConnection):
    """A connection to one address, which has to prove that it is `host`."""

    def __init__(self, address: str, host: str, port: int, *, timeout: float, context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._address, self._tls = address, context
        self.raw: socket.socket | None = None

    def connect(self) -> None:
        self.raw = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = self._tls.wrap_socket(self.raw, server_hostname=self.host)
        self.raw = self.sock


class _Visit:
    """One try, in a thread of its own, so that whoever waits can leave when the time is up."""

    def __init__(self, reader: PublicReader, host: str, port: int, path: str) -> None:
        self._reader, self._host, self._port, self._path = reader, host, port, path
        self._connection: _Pinned | None = None
        self._over = False
        self.body: bytes | None = None
        self.reason = "silent"

    def run(self) -> None:
        try:
            self.body = self._read(self._checked())
        except Unfetchable as error:
            self.reason = error.reason
        except ssl.SSLError:
            self.reason = "tls"
        except (OSError, HTTPException, UnicodeError, ValueError):
            self.reason = "silent"

    def cut(self) -> None:
        """End it, wherever it is: a sender of one byte a second keeps no thread."""
        self._over = True
        if self._connection is not None and self._connection.raw is not None:
            with suppress(OSError):
                self._connection.raw.shutdown(socket.SHUT_RDWR)

    def _checked(self) -> str:
        found = self._reader.resolve(self._host, self._port)
        if not found or not all(map(self._reader.public, found)):
            raise Unfetchable("address")
        return found[0]

    def _read(self, address: str) -> bytes:
        if self._over:
            raise Unfetchable("time")
        reader = self._reader
        self._connection = _Pinned(address, self._host, self._port, timeout=reader.seconds, context=reader.context)
        try:
            headers = {"Accept": "application/json", "Accept-Encoding": "identity", "Connection": "close"}
            self._connection.request("GET", self._path, headers=headers)
            answer = self._connection.getresponse()
            if answer.status != 200:
                raise Unfetchable("status")
            body = answer.read(MOST_BYTES + 1)
        finally:
            self._connection.close()
        if len(body) > MOST_BYTES:
            raise Unfetchable("size")
        return body
