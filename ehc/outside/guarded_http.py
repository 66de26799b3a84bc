"""POST to an address that somebody else chose, without becoming their way into our network (SSRF).

HTTPS to a name that resolves to public addresses only: one that is private, loopback, link-local or a metadata service's,
also wrapped in an IPv6 form of IPv4, refuses the name. The connection goes to the very address that was looked at, with the
name in SNI, certificate check and `Host`, so that a name cannot change its mind between. Redirects are not followed, an
answer is read up to 4 KiB, and ten seconds end everything.
"""

import http.client
import ipaddress
import re
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore, Thread, Timer
from urllib.parse import urlsplit

from ehc.errors import EhcError, Text

MOST = 4096
"""Bytes of an answer that are read."""

IN_ALL = 10.0
"""Seconds from looking at the address to the end of the answer, at most."""

_CONNECT, _LOOKUP, _LOOKUPS = 3.0, 3.0, 16
_URL = re.compile(r"[!-~]{1,500}", re.ASCII)
_NAME = re.compile(r"(?=.{4,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_OURS = re.compile(r"(.*\.)?(localhost|local|internal|localdomain|home\.arpa|lan)", re.ASCII)
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_OTHER_NETWORKS = tuple(
    map(
        ipaddress.ip_network,
        (
            "100.64.0.0/10",  # shared by carriers; metadata services too
            "168.63.129.16/32",  # a cloud's own wire server, though public by its number
            "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4",
            "64:ff9b::/96", "64:ff9b:1::/48", "2001::/23", "2002::/16", "3fff::/20", "5f00::/16", "100::/64", "::/96",
        ),
    )
)  # fmt: skip

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Lookup = Callable[[str, int], Sequence[str]]


class TargetRefused(EhcError):
    """An address that nothing is sent to."""

    code = "target-refused"


class NotSent(Exception):
    """Nothing was answered; why is one of `resolve`, `refused`, `connect`, `tls-certificate`, `tls`, `timeout`, `broken`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Target:
    """A URL taken apart."""

    secure: bool
    host: str
    port: int
    path: str


@dataclass(frozen=True)
class Answered:
    """The status, and the seconds that `Retry-After` asks for, where it does."""

    status: int
    retry_after: int | None = None


def read_target(url: str, *, loopback: bool = False) -> Target:
    """The parts of a URL that may be sent to. `loopback` also allows this machine, over HTTP too. Raises `TargetRefused`.

    Does not resolve the name.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
        plain = bool(_URL.fullmatch(url)) and "@" not in parts.netloc and "\\" not in url and "#" not in url
    except ValueError:
        raise _refused() from None
    secure = parts.scheme == "https"
    port = port if port is not None else (443 if secure else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    here = loopback and host in _LOOPBACK_NAMES and port != 0
    elsewhere = secure and _NAME.fullmatch(host) and not _OURS.fullmatch(host) and (port == 443 or port >= 1024)
    if not plain or not ((here and parts.scheme in {"http", "https"}) or elsewhere):
        raise _refused()
    return Target(secure, host, port, path)


def is_public(address: Address) -> bool:
    """Whether an address is one of the open network's, and carries no other inside."""
    if isinstance(address, ipaddress.IPv6Address) and (
        address.ipv4_mapped or address.sixtofour or address.teredo or address.is_site_local or address.scope_id
    ):
        return False
    inside = any(address in network for network in _OTHER_NETWORKS if network.version == address.version)
    special = address.is_multicast or address.is_reserved or address.is_loopback or address.is_link_local
    return address.is_global and not (inside or special or address.is_private or address.is_unspecified)


def system_lookup(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, as this machine resolves it."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


_lookups = BoundedSemaphore(_LOOKUPS)


def checked(target: Target, *, loopback: bool = False, lookup: Lookup = system_lookup) -> str:
    """The first address of a target, after all of them were looked at. Raises `NotSent`: `resolve`, or `refused` for one."""
    try:
        addresses = [ipaddress.ip_address(one) for one in _in_time(lambda: lookup(target.host, target.port))]
    except (OSError, ValueError, TimeoutError):
        raise NotSent("resolve") from None
    if not addresses:
        raise NotSent("resolve")
    here = loopback and target.host in _LOOPBACK_NAMES
    if not all(address.is_loopback if here else is_public(address) for address in addresses):
        raise NotSent("refused")
    return str(addresses[0])


def require_target(url: str, *, loopback: bool = False, lookup: Lookup = system_lookup) -> Target:
    """A URL that may be sent to now: as `read_target`, and its name resolves to nothing else. Raises `TargetRefused`."""
    target = read_target(url, loopback=loopback)
    try:
        checked(target, loopback=loopback, lookup=lookup)
    except NotSent as error:
        if error.reason == "resolve":
            detail = Text(
                "该地址的域名无法解析，请检查后重试。",
                "The name in this address does not resolve. Check it, then repeat.",
            )
            raise TargetRefused(detail) from None
        raise _refused() from None
    return target


@dataclass(frozen=True)
class Poster:
    """Sends from here. `authorities` is a file of further certificate authorities that are believed."""

    loopback: bool = False
    authorities: Path | None = None
    lookup: Lookup = system_lookup

    def tls(self) -> ssl.SSLContext:
        """How servers prove who they are. Raises what reading the file raises."""
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.authorities is not None:
            context.load_verify_locations(cafile=str(self.authorities))
        return context

    def line(self, url: str, tls: ssl.SSLContext) -> "Posting":
        """What sends to one URL, over one connection after another. Belongs to one thread. Raises `TargetRefused`."""
        return Posting(self, read_target(url, loopback=self.loopback), tls)


class Posting:
    """Sends to one target; keeps its connection while the target keeps the address that was looked at."""

    def __init__(self, poster: Poster, target: Target, tls: ssl.SSLContext) -> None:
        self._poster, self._target, self._tls = poster, target, tls
        self._line: _Line | None = None

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answered:
        """Send, once; what was answered. Looks at the address each time. Raises `NotSent`."""
        address = checked(self._target, loopback=self._poster.loopback, lookup=self._poster.lookup)
        kept = self._line is not None and self._line.address == address
        if not kept:
            self.close()
        try:
            return self._exchange(address, body, headers)
        except NotSent as error:
            if not (kept and error.reason == "broken"):
                raise
        return self._exchange(address, body, headers)  # a connection that rested was closed by the other side

    def close(self) -> None:
        """Give the connection back."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _exchange(self, address: str, body: bytes, headers: Mapping[str, str]) -> Answered:
        line = self._line = self._line or _Line(self._target, address, self._tls)
        cut = Timer(IN_ALL - _LOOKUP, line.cut)
        cut.daemon = True
        cut.start()
        try:
            line.request("POST", self._target.path, body, {"Connection": "keep-alive", **headers})
            answer = line.getresponse()
            whole = len(answer.read(MOST + 1)) <= MOST and answer.isclosed()
            if line.was_cut:  # what ends the connection also looks like the end of an answer
                raise TimeoutError
            told = Answered(answer.status, _seconds(answer.getheader("Retry-After")))
        except (OSError, http.client.HTTPException, ValueError) as error:
            late = line.was_cut or isinstance(error, TimeoutError)
            self.close()
            raise NotSent("timeout" if late else _reason(error, connected=line.connected)) from None
        finally:
            cut.cancel()
        if not whole:
            self.close()
        return told


class _Line(http.client.HTTPConnection):
    """A connection to an address under the name of the target."""

    def __init__(self, target: Target, address: str, tls: ssl.SSLContext) -> None:
        standard = target.port == (443 if target.secure else 80)
        super().__init__(target.host, target.port, timeout=IN_ALL)
        if standard:
            self.default_port = target.port  # leaves the port out of `Host`
        self._target, self.address, self._tls = target, address, tls
        self._wire: socket.socket | None = None
        self.was_cut = self.connected = False

    def connect(self) -> None:
        """Connect to the address, whatever the name resolves to by now."""
        raw = socket.create_connection((self.address, self._target.port), timeout=_CONNECT)
        self.connected = True
        self._wire = raw.dup()
        raw.settimeout(IN_ALL)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = raw
        if self._target.secure:
            self.sock = self._tls.wrap_socket(raw, server_hostname=self._target.host)

    def cut(self) -> None:
        """End it from another thread, also in the middle of a handshake."""
        self.was_cut = True
        wire = self._wire
        if wire is not None:
            try:
                wire.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def close(self) -> None:
        """Close both ends of what was opened."""
        super().close()
        if self._wire is not None:
            self._wire.close()
            self._wire = None


def _in_time(ask: Callable[[], Sequence[str]]) -> Sequence[str]:
    """What `ask` returns within three seconds: nothing else limits looking up a name. Raises `TimeoutError`."""
    if not _lookups.acquire(timeout=_LOOKUP):
        raise TimeoutError
    future: Future[Sequence[str]] = Future()

    def run() -> None:
        try:
            future.set_result(ask())
        except BaseException as error:  # it goes to the caller's thread
            future.set_exception(error)
        finally:
            _lookups.release()

    Thread(target=run, name="ehc-lookup", daemon=True).start()
    return future.result(timeout=_LOOKUP)


def _reason(error: Exception, *, connected: bool) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "tls-certificate"
    if isinstance(error, ssl.SSLError):
        return "tls"
    return "broken" if connected else "connect"


def _seconds(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) else None


def _refused() -> TargetRefused:
    return TargetRefused(
        Text(
            "该地址不可用：须为 https:// 加公网域名（端口 443 或 1024 以上），不得含用户名、片段或内网地址。",
            "Not an address to send to: https:// and a name on the open network (port 443, or 1024 and above), "
            "without user or fragment, and not in a private network.",
        )
    )
