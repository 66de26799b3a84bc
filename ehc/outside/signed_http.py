"""One signed question to an outside party and its signed answer (docs/outside-parties.md, sections 1 to 3).

A question costs its caller about three seconds at most, whatever the party does, and holds one of a few slots; after three
silences in a row nobody asks for five seconds, and then one question tries. Anything but a whole, fresh answer that is
signed for this very question is no answer. Nothing is sent twice here: the caller retries, from a job.
"""

import binascii
import hmac
import ipaddress
import math
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path
from secrets import token_bytes
from threading import BoundedSemaphore, Lock, Thread
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

import orjson
import structlog
from prometheus_client import Counter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as HttpTimeout

from ehc.clock import Clock
from ehc.core.randomness import random_bytes

Found = TypeVar("Found")

log = structlog.get_logger(__name__)

ASKED = Counter("ehc_outside_asked", "Questions to outside parties, by party and how they ended.", ["party", "outcome"])

LIMIT = 64 * 1024
"""Bytes of an answer's body, at most."""

FRESH = 300
"""Seconds by which the clocks of the two sides may differ."""

_CONNECT, _SILENCE, _IN_ALL = 1.0, 2.0, 3.0
_SLOTS, _SLOT_WAIT = 8, 0.2
_PATIENCE, _PAUSE = 3, 5.0  # the pause outlasts one question, so that one question at a time tries a silent party

_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_SECONDS = re.compile(r"\d{1,12}", re.ASCII)
_NONCE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+", re.ASCII)
_BASE_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*", re.ASCII)
_PRINTED_IN_OUR_DOCUMENTATION = bytes(range(32))


class SetupError(Exception):
    """A party's address or key file cannot be used; the text says what to do and holds no part of the key."""


class Misshapen(Exception):
    """A signed answer that does not say what the format says."""


class NoAnswer(Exception):
    """The party did not answer this question. It may have acted on it. `reason` is one word for logs and metrics."""

    def __init__(self, reason: str, *, retry_after: float = _PAUSE) -> None:
        super().__init__(reason)
        self.reason, self.retry_after = reason, math.ceil(retry_after)


@dataclass(frozen=True)
class PartyKey:
    """The secret shared with one party, and the name both sides call it by."""

    key_id: str
    secret: bytes = field(repr=False)

    @classmethod
    def make_file(cls, path: Path, key_id: str) -> None:
        """Write a new random key to `path`, readable by its owner alone. Raises `FileExistsError`; `SetupError` for an id."""
        if not _KEY_ID.fullmatch(key_id):
            raise SetupError("a key id is 1 to 64 ASCII letters, digits, dots, hyphens and underscores")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(orjson.dumps({"key_id": key_id, "secret": b64encode(token_bytes(32)).decode()}) + b"\n")

    @classmethod
    def from_file(cls, path: Path) -> "PartyKey":
        """The key in a file: a JSON object of `key_id` and `secret`, base64 of 32 to 64 bytes. Raises `SetupError`."""
        try:
            mode, text = path.stat().st_mode, path.read_bytes()
        except OSError as error:
            raise SetupError(f"the key file of an outside party cannot be read: {type(error).__name__}") from None
        if mode & 0o007:
            raise SetupError("the key file of an outside party is open to every user of this machine: chmod o= it")
        try:
            found = orjson.loads(text)
            key = cls(found["key_id"], b64decode(found["secret"], validate=True))
            whole = len(found) == 2 and _KEY_ID.fullmatch(key.key_id) and 32 <= len(key.secret) <= 64
        except (orjson.JSONDecodeError, binascii.Error, KeyError, TypeError, ValueError):
            whole = None
        if not whole:
            raise SetupError("the key file of an outside party is not as docs/outside-parties.md describes it")
        if key.secret.startswith(_PRINTED_IN_OUR_DOCUMENTATION):
            raise SetupError(
                "the key of an outside party is the one printed in the documentation; agree on a secret one"
            )
        return key

    def sign_request(self, path: str, at: int, nonce: str, body: bytes) -> str:
        """The signature of a POST to `path` at `at` (Unix seconds): 64 hex digits."""
        return self._sign("EHC1-REQUEST", "POST", path, str(at), nonce, self.key_id, sha256(body).hexdigest())

    def sign_answer(self, status: int, path: str, at: int, nonce: str, body: bytes) -> str:
        """The signature of the answer to the request to `path` that bore this nonce: 64 hex digits."""
        return self._sign("EHC1-ANSWER", str(status), path, str(at), nonce, self.key_id, sha256(body).hexdigest())

    def _sign(self, *lines: str) -> str:
        return hmac.digest(self.secret, "\n".join(lines).encode(), "sha256").hex()


def signed_by(signature: str, headers: Mapping[str, str], *, key: PartyKey, now: int) -> bool:
    """Whether the headers name this key, a time within `FRESH` of `now`, and bear this signature."""
    at = headers.get("X-Ehc-Time", "")
    return (
        headers.get("X-Ehc-Key") == key.key_id
        and bool(_SECONDS.fullmatch(at))
        and abs(now - int(at)) <= FRESH
        # as bytes: a header may hold characters that compare_digest refuses in a str
        and hmac.compare_digest(headers.get("X-Ehc-Signature", "").encode(), signature.encode())
    )


def request_signed(path: str, headers: Mapping[str, str], body: bytes, *, key: PartyKey, now: int) -> bool:
    """Whether a POST to `path` is signed with this key, for this path and body, within `FRESH` seconds of `now`.

    Whoever must not act twice on a request looks at its `X-Ehc-Nonce` besides, or at an id in its body.
    """
    at, nonce = headers.get("X-Ehc-Time", ""), headers.get("X-Ehc-Nonce", "")
    if not (_SECONDS.fullmatch(at) and _NONCE.fullmatch(nonce)):
        return False
    return signed_by(key.sign_request(path, int(at), nonce, body), headers, key=key, now=now)


def answer_headers(path: str, nonce: str, body: bytes, *, key: PartyKey, now: int) -> dict[str, str]:
    """The headers of a 200 answer with this body to the request to `path` that bore this nonce."""
    return {
        "X-Ehc-Key": key.key_id,
        "X-Ehc-Time": str(now),
        "X-Ehc-Nonce": nonce,
        "X-Ehc-Signature": key.sign_answer(200, path, now, nonce, body),
    }


class HttpParty:
    """One party over HTTP, asked in bounded time through a few slots. What its answers are worth is for the child to say."""

    def __init__(self, party: str, url: str, *, timer: Callable[[], float] = time.monotonic) -> None:
        """`party` names it in logs and metrics. Raises `SetupError` for a URL that may not be used."""
        address = _address(url)
        self._party, self._base = party, address.path.rstrip("/")
        self._pause = _Pause(timer)
        self._slots = BoundedSemaphore(_SLOTS)
        pool = HTTPSConnectionPool if address.scheme == "https" else HTTPConnectionPool
        timeout = Timeout(connect=_CONNECT, read=_SILENCE)
        self._pool = pool(address.hostname or "", address.port, maxsize=_SLOTS, timeout=timeout)

    def _told(self, answer: Callable[[], Found]) -> Found:
        """What `answer` gives, counted and logged by how it ended. Raises `NoAnswer`, also where it raises `Misshapen`."""
        try:
            found = answer()
        except (NoAnswer, Misshapen) as error:
            none = error if isinstance(error, NoAnswer) else NoAnswer("misshapen")
            ASKED.labels(self._party, none.reason).inc()
            if none.reason != "paused":
                log.warning("outside party does not answer", party=self._party, reason=none.reason)
            raise none from None
        ASKED.labels(self._party, "answered").inc()
        return found

    def _require_no_pause(self) -> None:
        wait = self._pause.seconds()
        if wait > 0:
            raise NoAnswer("paused", retry_after=wait)

    def _in_time(self, exchange: "Callable[[], _Raw]") -> "_Raw":
        """What `exchange` returns, if it does within `_IN_ALL` seconds. One that is late keeps its slot until it ends.

        A thread, because a socket's timeout counts from the last byte received, and nothing limits looking up a name.
        """
        if not self._slots.acquire(timeout=_SLOT_WAIT):
            raise NoAnswer("busy")
        future: Future[_Raw] = Future()

        def run() -> None:
            try:
                future.set_result(exchange())
            except BaseException as error:  # it goes to the caller's thread
                future.set_exception(error)
            finally:
                self._slots.release()

        try:
            Thread(target=run, name=f"ehc-{self._party}", daemon=True).start()
        except RuntimeError:  # the system has no thread to give
            self._slots.release()
            raise NoAnswer("busy") from None
        try:
            raw = future.result(timeout=_IN_ALL)
        except (TimeoutError, NoAnswer) as error:
            self._pause.missed()
            raise (error if isinstance(error, NoAnswer) else NoAnswer("timeout")) from None
        self._pause.heard()
        return raw

    def _exchange(self, path: str, headers: Mapping[str, str], body: bytes | None, method: str = "POST") -> "_Raw":
        try:
            response = self._pool.urlopen(
                method, path, body, headers, retries=False, redirect=False, preload_content=False, decode_content=False
            )
            try:
                return _Raw(response.status, response.headers, response.read(LIMIT + 1))
            finally:
                response.close()  # after a whole answer its connection is back in the pool already, and stays open
                response.release_conn()
        except (HTTPError, HTTPException, OSError) as error:
            # urllib3 counts a connection that was refused among the timeouts
            late = isinstance(error, HttpTimeout | TimeoutError) and not isinstance(error, NewConnectionError)
            raise NoAnswer("timeout" if late else "unreachable") from None


class SignedParty(HttpParty):
    """One party at `url`, asked with `key`. Threads may share it. Ask outside a database transaction: it can take 3 s."""

    def __init__(
        self, party: str, url: str, key: PartyKey, *, clock: Clock, timer: Callable[[], float] = time.monotonic
    ) -> None:
        """`party` names it in logs and metrics. Raises `SetupError` for a URL that may not be used."""
        super().__init__(party, url, timer=timer)
        self._key, self._clock = key, clock

    def ask(self, path: str, question: Mapping[str, Any], read: Callable[[dict[str, Any]], Found]) -> Found:
        """What `read` makes of the signed answer. Raises `NoAnswer`, also where `read` raises `Misshapen`."""
        return self._told(lambda: read(self._answer(self._base + path, orjson.dumps(question))))

    def _answer(self, path: str, body: bytes) -> dict[str, Any]:
        self._require_no_pause()
        nonce, at = random_bytes(16).hex(), int(self._clock.now().timestamp())
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "ehc",
            "X-Ehc-Key": self._key.key_id,
            "X-Ehc-Time": str(at),
            "X-Ehc-Nonce": nonce,
            "X-Ehc-Signature": self._key.sign_request(path, at, nonce, body),
        }
        raw = self._in_time(lambda: self._exchange(path, headers, body))
        return self._opened(raw, path, nonce)

    def _opened(self, raw: "_Raw", path: str, nonce: str) -> dict[str, Any]:
        """The members of an answer that passes every check, in the order of what each costs. Raises `NoAnswer`."""
        if raw.status != 200:
            raise NoAnswer("status")
        if len(raw.body) > LIMIT:
            raise NoAnswer("too-large")
        at = raw.headers.get("X-Ehc-Time", "")
        if not _SECONDS.fullmatch(at) or raw.headers.get("X-Ehc-Nonce") != nonce:
            raise NoAnswer("signature")
        signature = self._key.sign_answer(raw.status, path, int(at), nonce, raw.body)
        if not signed_by(signature, raw.headers, key=self._key, now=int(self._clock.now().timestamp())):
            raise NoAnswer("signature")
        try:
            found = orjson.loads(raw.body)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise NoAnswer("misshapen")
        return found


@dataclass(frozen=True)
class _Raw:
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class _Pause:
    """Fails closed: after `_PATIENCE` silences in a row nobody asks for `_PAUSE` seconds, then one tries for all."""

    def __init__(self, timer: Callable[[], float]) -> None:
        self._timer, self._lock = timer, Lock()
        self._missed, self._until = 0, float("-inf")

    def seconds(self) -> float:
        """How long to leave the party alone; 0 to go ahead."""
        with self._lock:
            if self._missed < _PATIENCE:
                return 0.0
            now = self._timer()
            if now < self._until:
                return self._until - now
            self._until = now + _PAUSE
            return 0.0

    def heard(self) -> None:
        """The party answered, rightly or wrongly: whoever answers quickly holds up nobody."""
        with self._lock:
            self._missed = 0

    def missed(self) -> None:
        """The party was silent."""
        with self._lock:
            self._missed += 1
            self._until = self._timer() + _PAUSE


def _address(url: str) -> SplitResult:
    """The parts of a party's base URL. Raises `SetupError`."""
    try:
        address = urlsplit(url)
        bare = not (address.query or address.fragment or "@" in address.netloc or address.port == 0)
        well_formed = _HOST.fullmatch(address.hostname or "") and _BASE_PATH.fullmatch(address.path.rstrip("/"))
    except ValueError:
        raise SetupError("the URL of an outside party cannot be read") from None
    if not (bare and well_formed):
        raise SetupError("the URL of an outside party is https://host[:port][/path], without user, query or fragment")
    if address.scheme == "https" or (address.scheme == "http" and _is_loopback(address.hostname or "")):
        return address
    raise SetupError(
        "an outside party is asked over https://; http:// is for loopback addresses such as 127.0.0.1 only"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, even localhost, is whatever the resolver says
        return False
