"""Signed questions to outside parties: what is sent, which answers count, how long a caller waits, and for whom."""

import hashlib
import hmac
import json
import re
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from ehc.outside import signed_http
from ehc.outside.signed_http import FRESH, LIMIT, Misshapen, NoAnswer, PartyKey, SetupError, SignedParty
from tests.support.service import HeldClock

KEY = PartyKey("a-key", b"k" * 32)
NOW = datetime(2026, 3, 1, 4, 0, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "outside-parties.md"
IN_TIME = 3.6
"""A caller waits 0.2 s for a place and 3 s for an answer; the rest is for a busy machine."""


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        (value,) = [value for known, value in self.headers if known == name]
        return value


Script = Callable[[Asked], list[bytes | float]]
"""What to send for a request: bytes, and pauses in seconds. Then the connection is closed."""


@dataclass
class Peer:
    """A party that sends whatever a test wants, one request for each connection."""

    script: Script
    asked: list[Asked] = field(default_factory=list)
    most: int = 0

    def __enter__(self) -> Self:
        self._stopped, self._lock, self._now = threading.Event(), threading.Lock(), 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError), connection:
            asked = _read(connection)
            with self._lock:
                self.asked.append(asked)
                self._now += 1
                self.most = max(self.most, self._now)
            try:
                for piece in self.script(asked):
                    if isinstance(piece, bytes):
                        connection.sendall(piece)
                    elif self._stopped.wait(piece):
                        return
            finally:
                with self._lock:
                    self._now -= 1


def _read(connection: socket.socket) -> Asked:
    file = connection.makefile("rb")
    line = file.readline().decode("latin-1").rstrip("\r\n")
    headers = []
    while (row := file.readline().decode("latin-1").rstrip("\r\n")) != "":
        name, _, value = row.partition(": ")
        headers.append((name, value))
    return Asked(line, headers, file.read(int(dict(headers)["Content-Length"])))


def answer(
    asked: Asked, body: bytes = b'{"ok":true}', *, key: PartyKey = KEY, at: int = AT, nonce: str | None = None,
    status: int = 200, claim: int | None = None, more: str = "", **headers: str,
) -> bytes:  # fmt: skip
    """A signed answer as it travels; `claim` is a status to send that is not the one signed."""
    nonce = asked.header("X-Ehc-Nonce") if nonce is None else nonce
    path = asked.line.split(" ")[1]
    told = {
        "Connection": "close",
        "Content-Length": str(len(body)),
        "X-Ehc-Key": key.key_id,
        "X-Ehc-Time": str(at),
        "X-Ehc-Nonce": nonce,
        "X-Ehc-Signature": key.sign_answer(status, path, at, nonce, body),
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {claim or status} x", *(f"{name}: {value}" for name, value in told.items())]
    return ("\r\n".join(lines) + f"\r\n{more}\r\n").encode("latin-1") + body


def party(url: str, **more: Any) -> SignedParty:
    """One that reads the time `NOW`."""
    return SignedParty("test-party", url, KEY, clock=HeldClock(NOW), **more)


def ask(one: SignedParty, question: dict[str, Any] | None = None) -> dict[str, Any]:
    return one.ask("/v1/things", question or {"a": 1}, dict)


def reason(one: SignedParty) -> str:
    """Why a question was not answered."""
    with pytest.raises(NoAnswer) as caught:
        ask(one)
    return caught.value.reason


class Stopwatch:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


# --- the format


def vectors() -> list[dict[str, Any]]:
    (block,) = re.findall(r"```json\n(\[.*?\])\n```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    found: list[dict[str, Any]] = json.loads(block)
    return found


@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector["what"])
def test_the_vectors_of_the_document_hold_by_any_hmac_and_by_ours(vector: dict[str, Any]) -> None:
    lines, body = vector["signed"], vector["body"].encode()
    assert lines[6] == hashlib.sha256(body).hexdigest()
    secret = bytes(range(32))
    assert hmac.new(secret, "\n".join(lines).encode(), hashlib.sha256).hexdigest() == vector["signature"]
    key = PartyKey(lines[5], secret)
    kind, second, path, at, nonce = lines[:5]
    if kind == "EHC1-REQUEST":
        assert (second, key.sign_request(path, int(at), nonce, body)) == ("POST", vector["signature"])
    else:
        assert key.sign_answer(int(second), path, int(at), nonce, body) == vector["signature"]


def test_there_are_vectors_for_both_directions() -> None:
    assert {vector["signed"][0] for vector in vectors()} == {"EHC1-REQUEST", "EHC1-ANSWER"}


def test_what_travels_is_one_signed_post() -> None:
    with Peer(lambda asked: [answer(asked)]) as peer:
        one = party(peer.url + "/bridge/")
        assert ask(one, {"name": "王小明\r\nX-Evil: 1"}) == {"ok": True}
        ask(one)
    first, second = peer.asked
    assert first.line == "POST /bridge/v1/things HTTP/1.1"
    assert json.loads(first.body) == {"name": "王小明\r\nX-Evil: 1"}
    nonce = first.header("X-Ehc-Nonce")
    assert re.fullmatch("[0-9a-f]{32}", nonce)
    assert nonce != second.header("X-Ehc-Nonce")
    lines = [
        "EHC1-REQUEST",
        "POST",
        "/bridge/v1/things",
        str(AT),
        nonce,
        "a-key",
        hashlib.sha256(first.body).hexdigest(),
    ]
    expected = hmac.new(KEY.secret, "\n".join(lines).encode(), hashlib.sha256).hexdigest()
    assert (first.header("X-Ehc-Signature"), first.header("X-Ehc-Time")) == (expected, str(AT))
    names = {name for name, _ in first.headers}
    assert names == {
        *("Host", "Content-Length", "Content-Type", "Accept-Encoding", "User-Agent"),
        *("X-Ehc-Key", "X-Ehc-Time", "X-Ehc-Nonce", "X-Ehc-Signature"),
    }
    assert len(names) == len(first.headers)


# --- which answers count


@pytest.mark.parametrize("seconds", [-FRESH, 0, FRESH])
def test_an_answer_is_fresh_for_five_minutes_either_way(seconds: int) -> None:
    with Peer(lambda asked: [answer(asked, at=AT + seconds)]) as peer:
        assert ask(party(peer.url)) == {"ok": True}


def test_an_answer_of_exactly_the_largest_size_counts() -> None:
    body = b'{"a":"' + b"x" * (LIMIT - 8) + b'"}'
    assert len(body) == LIMIT
    with Peer(lambda asked: [answer(asked, body)]) as peer:
        assert len(ask(party(peer.url))["a"]) == LIMIT - 8


def test_an_answer_in_chunks_counts() -> None:
    def chunked(asked: Asked) -> list[bytes | float]:
        whole = answer(asked, b'{"ok":true}').replace(b"Content-Length: 11", b"Transfer-Encoding: chunked")
        return [whole.replace(b'{"ok":true}', b'5\r\n{"ok"\r\n6\r\n:true}\r\n0\r\n\r\n')]

    with Peer(chunked) as peer:
        assert ask(party(peer.url)) == {"ok": True}


def test_an_answer_that_takes_its_time_but_not_too_much_counts() -> None:
    with Peer(lambda asked: [1.5, answer(asked)]) as peer:
        assert ask(party(peer.url)) == {"ok": True}


def too_large_without_length(asked: Asked) -> list[bytes | float]:
    body = b'{"a":"' + b"x" * LIMIT + b'"}'
    return [answer(asked, body).replace(f"Content-Length: {len(body)}\r\n".encode(), b"")]


REFUSED: dict[str, tuple[str, Script]] = {
    "too old": ("signature", lambda asked: [answer(asked, at=AT - FRESH - 1)]),
    "from the future": ("signature", lambda asked: [answer(asked, at=AT + FRESH + 1)]),
    "without signature": ("signature", lambda asked: [b"HTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\n{}"]),
    "an empty signature": ("signature", lambda asked: [answer(asked, X_Ehc_Signature="")]),
    "a signature that is not ASCII": ("signature", lambda asked: [answer(asked, X_Ehc_Signature="\xe9" * 64)]),
    "another secret": ("signature", lambda asked: [answer(asked, key=PartyKey("a-key", b"x" * 32))]),
    "another key id": ("signature", lambda asked: [answer(asked, key=PartyKey("b-key", b"k" * 32))]),
    "another key id beside our signature": ("signature", lambda asked: [answer(asked, X_Ehc_Key="b-key")]),
    "another nonce beside our signature": ("signature", lambda asked: [answer(asked, X_Ehc_Nonce="0" * 32)]),
    "a body that was changed": ("signature", lambda asked: [answer(asked).replace(b"true", b"null")]),
    "the answer to an earlier request": ("signature", lambda asked: [answer(asked, nonce="0" * 32)]),
    "an earlier answer under this nonce": (
        "signature",
        lambda asked: [answer(asked, nonce="0" * 32, X_Ehc_Nonce=asked.header("X-Ehc-Nonce"))],
    ),
    "our own signature": ("signature", lambda asked: [answer(asked, X_Ehc_Signature=asked.header("X-Ehc-Signature"))]),
    "a time that is no number": ("signature", lambda asked: [answer(asked, X_Ehc_Time="now")]),
    "a time too long for a number": ("signature", lambda asked: [answer(asked, X_Ehc_Time="9" * 5000)]),
    "two signatures": ("signature", lambda asked: [answer(asked, more="X-Ehc-Signature: 0\r\n")]),
    "a signed 201": ("status", lambda asked: [answer(asked, status=201)]),
    "a signed 500": ("status", lambda asked: [answer(asked, status=500)]),
    "a 500 sent as 200": ("signature", lambda asked: [answer(asked, status=500, claim=200)]),
    "one byte too large": ("too-large", lambda asked: [answer(asked, b'{"a":"' + b"x" * (LIMIT - 7) + b'"}')]),
    "too large, of no stated length": ("too-large", too_large_without_length),
    "less than the stated length": ("signature", lambda asked: [answer(asked)[:-1]]),
    "not JSON": ("misshapen", lambda asked: [answer(asked, b"\x00garbage")]),
    "JSON, not an object": ("misshapen", lambda asked: [answer(asked, b"[1]")]),
    "compressed": ("misshapen", lambda asked: [answer(asked, b"\x1f\x8b\x08\x00\x00", Content_Encoding="gzip")]),
    "nothing at all": ("unreachable", lambda asked: []),
    "not HTTP": ("unreachable", lambda asked: [b"SSH-2.0-OpenSSH_9.2\r\n"]),
    "a header without end": ("unreachable", lambda asked: [b"HTTP/1.1 200 x\r\nA: " + b"x" * 70_000]),
}


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_no_answer_is(case: str) -> None:
    expected, script = REFUSED[case]
    with Peer(script) as peer:
        assert reason(party(peer.url)) == expected


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_even_if_signed(status: int) -> None:
    with Peer(lambda asked: [answer(asked)]) as other, Peer(lambda asked: []) as peer:
        peer.script = lambda asked: [answer(asked, status=status, Location=other.url + "/v1/things")]
        assert reason(party(peer.url)) == "status"
    assert other.asked == []


def test_an_answer_cannot_be_used_twice() -> None:
    kept: list[bytes] = []

    def replaying(asked: Asked) -> list[bytes | float]:
        kept.append(answer(asked))
        return [kept[0]]

    with Peer(replaying) as peer:
        one = party(peer.url)
        assert ask(one) == {"ok": True}
        assert reason(one) == "signature"


def test_what_the_reader_cannot_read_is_no_answer() -> None:
    def read(_: dict[str, Any]) -> str:
        raise Misshapen

    with Peer(lambda asked: [answer(asked)]) as peer, pytest.raises(NoAnswer, match="misshapen"):
        party(peer.url).ask("/v1/things", {}, read)


@given(sent=st.binary(max_size=300) | st.binary(max_size=200).map(lambda tail: b"HTTP/1.1 200 OK\r\n" + tail))
@hypothesis_settings(max_examples=150)
def test_whatever_comes_back_it_is_no_answer_and_nothing_else(sent: bytes) -> None:
    with Peer(lambda asked: [sent]) as peer:
        assert reason(party(peer.url)) in {"unreachable", "signature", "status", "timeout"}


# --- how long it takes


_DROPS: list[bytes | float] = [b"x", 0.3] * 40


def headers_by_drops(asked: Asked) -> list[bytes | float]:
    return [b"HTTP/1.1 200 x\r\nA: ", *_DROPS]


def body_by_drops(asked: Asked) -> list[bytes | float]:
    head, _, _ = answer(asked, b"x" * 100).partition(b"\r\n\r\n")
    return [head + b"\r\n\r\n", *_DROPS]


@pytest.mark.parametrize(
    ("script", "least"),
    [(lambda asked: [30.0], 1.9), (headers_by_drops, 2.9), (body_by_drops, 2.9)],
    ids=["silence", "headers by drops", "body by drops"],
)
def test_a_caller_waits_three_seconds_at_most(script: Script, least: float) -> None:
    with Peer(script) as peer:
        began = time.monotonic()
        assert reason(party(peer.url)) == "timeout"
        assert least < time.monotonic() - began < IN_TIME


def test_a_party_that_does_not_take_the_connection_costs_one_second() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:  # more than the queue holds: the system leaves the next one without an answer
            one.setblocking(False)
            one.connect_ex(address)
        began = time.monotonic()
        assert reason(party(f"http://127.0.0.1:{address[1]}")) == "timeout"
        assert 0.9 < time.monotonic() - began < 2
        for one in waiting:
            one.close()


def test_where_nobody_listens_it_is_known_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    began = time.monotonic()
    assert reason(party(f"http://127.0.0.1:{port}")) == "unreachable"
    assert time.monotonic() - began < 1


def test_32_threads_hold_8_connections_to_a_slow_party_and_none_waits_long() -> None:
    with Peer(lambda asked: [10.0]) as peer, ThreadPoolExecutor(32) as threads:
        one = party(peer.url)

        def timed(_: int) -> tuple[str, float]:
            began = time.monotonic()
            return reason(one), time.monotonic() - began

        ends = list(threads.map(timed, range(64)))
    assert peer.most == 8
    assert max(seconds for _, seconds in ends) < IN_TIME
    assert {why for why, _ in ends} <= {"timeout", "busy", "paused"}
    assert sum(seconds > 1 for _, seconds in ends) == 8  # the others were told at once


def test_32_threads_are_all_answered_by_a_party_that_is_quick() -> None:
    with Peer(lambda asked: [0.01, answer(asked)]) as peer, ThreadPoolExecutor(32) as threads:
        one = party(peer.url)
        assert list(threads.map(lambda _: ask(one), range(32))) == [{"ok": True}] * 32
    assert peer.most <= 8


def test_where_the_system_has_no_thread_left_the_place_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoThread:
        def __init__(self, **_: Any) -> None: ...

        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    with Peer(lambda asked: [answer(asked)]) as peer:
        one = party(peer.url)
        with monkeypatch.context() as patch:
            patch.setattr(signed_http, "Thread", NoThread)
            assert [reason(one) for _ in range(20)] == ["busy"] * 20
        assert ask(one) == {"ok": True}


# --- a party that is silent is left alone


@pytest.fixture
def watch() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
def peer() -> Iterator[Peer]:
    """One that closes every connection, until it is given another script."""
    with Peer(lambda asked: []) as made:
        yield made


def test_after_three_silences_nobody_asks_for_five_seconds(peer: Peer, watch: Stopwatch) -> None:
    one = party(peer.url, timer=watch)
    assert [reason(one) for _ in range(4)] == ["unreachable"] * 3 + ["paused"]
    watch.now += 4.999
    assert reason(one) == "paused"
    assert len(peer.asked) == 3
    watch.now += 0.001
    assert reason(one) == "unreachable"
    assert reason(one) == "paused"
    assert len(peer.asked) == 4


def test_who_is_left_alone_is_said_with_the_time_to_wait(peer: Peer, watch: Stopwatch) -> None:
    one = party(peer.url, timer=watch)
    for _ in range(3):
        reason(one)
    watch.now += 2.5
    with pytest.raises(NoAnswer) as caught:
        ask(one)
    assert (caught.value.reason, caught.value.retry_after) == ("paused", 3)


def test_one_answer_ends_the_pause_and_the_count(peer: Peer, watch: Stopwatch) -> None:
    one = party(peer.url, timer=watch)
    for _ in range(3):
        reason(one)
    watch.now += 5
    silent, peer.script = peer.script, lambda asked: [answer(asked)]
    assert [ask(one), ask(one)] == [{"ok": True}] * 2
    peer.script = silent
    assert [reason(one) for _ in range(4)] == ["unreachable"] * 3 + ["paused"]


def test_two_silences_do_not_make_a_pause(peer: Peer, watch: Stopwatch) -> None:
    one = party(peer.url, timer=watch)
    silent = peer.script
    for _ in range(3):
        peer.script = silent
        assert [reason(one), reason(one)] == ["unreachable"] * 2
        peer.script = lambda asked: [answer(asked)]
        assert ask(one) == {"ok": True}


def test_quick_wrong_answers_make_no_pause(peer: Peer) -> None:
    peer.script = lambda asked: [answer(asked, key=PartyKey("a-key", b"x" * 32))]
    one = party(peer.url)
    assert [reason(one) for _ in range(6)] == ["signature"] * 6


def test_after_a_pause_one_tries_while_the_others_wait(peer: Peer, watch: Stopwatch) -> None:
    one = party(peer.url, timer=watch)
    for _ in range(3):
        reason(one)
    watch.now += 5
    release = threading.Event()

    def held(asked: Asked) -> list[bytes | float]:
        release.wait(2)
        return [answer(asked)]

    peer.script = held
    with ThreadPoolExecutor(1) as thread:
        trying = thread.submit(ask, one)
        while len(peer.asked) < 4:
            time.sleep(0.005)
        assert [reason(one) for _ in range(3)] == ["paused"] * 3
        release.set()
        assert trying.result() == {"ok": True}
    assert ask(one) == {"ok": True}


def test_each_end_is_counted(peer: Peer) -> None:
    def counted(outcome: str) -> float:
        found = REGISTRY.get_sample_value("ehc_outside_asked_total", {"party": "test-party", "outcome": outcome})
        return found or 0

    before = {outcome: counted(outcome) for outcome in ("answered", "unreachable", "paused")}
    one = party(peer.url)
    for _ in range(5):
        reason(one)
    with Peer(lambda asked: [answer(asked)]) as good:
        ask(party(good.url))
    assert {outcome: counted(outcome) - before[outcome] for outcome in before} == {
        "answered": 1,
        "unreachable": 3,
        "paused": 2,
    }


# --- the key and the address


def key_file(folder: Path, content: object, mode: int = 0o600) -> Path:
    path = folder / "key"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    path.chmod(mode)
    return path


def b64(length: int, byte: bytes = b"s") -> str:
    return b64encode(byte * length).decode()


def test_a_made_key_is_its_owners_alone_and_never_the_same_twice(tmp_path: Path) -> None:
    keys = []
    for name in ("a", "b"):
        PartyKey.make_file(tmp_path / "new" / name, "authority-2026")
        assert (tmp_path / "new" / name).stat().st_mode & 0o777 == 0o600
        keys.append(PartyKey.from_file(tmp_path / "new" / name))
    assert [key.key_id for key in keys] == ["authority-2026"] * 2
    assert len({key.secret for key in keys}) == 2
    with pytest.raises(FileExistsError):
        PartyKey.make_file(tmp_path / "new" / "a", "authority-2026")


@pytest.mark.parametrize("key_id", ["", "a b", "a\r\nX-Evil: 1", "a\n", "钥", "a" * 65])
def test_a_key_id_that_does_not_fit_a_header_is_refused(tmp_path: Path, key_id: str) -> None:
    with pytest.raises(SetupError):
        PartyKey.make_file(tmp_path / "made", key_id)
    assert not (tmp_path / "made").exists()
    with pytest.raises(SetupError, match="not as docs"):
        PartyKey.from_file(key_file(tmp_path, {"key_id": key_id, "secret": b64(32)}))


@pytest.mark.parametrize("length", [32, 64])
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o660])
def test_a_key_file_closed_to_others_is_read(tmp_path: Path, length: int, mode: int) -> None:
    key = PartyKey.from_file(key_file(tmp_path, {"key_id": "a" * 64, "secret": b64(length)}, mode))
    assert key == PartyKey("a" * 64, b"s" * length)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o644])
def test_a_key_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SetupError, match="open to every user"):
        PartyKey.from_file(key_file(tmp_path, {"key_id": "a", "secret": b64(32)}, mode))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        {"key_id": "a"},
        {"secret": b64(32)},
        {"key_id": 7, "secret": b64(32)},
        {"key_id": "a", "secret": 7},
        {"key_id": "a", "secret": b64(31)},
        {"key_id": "a", "secret": b64(65)},
        {"key_id": "a", "secret": b64(32)[:-1]},
        {"key_id": "a", "secret": b64(32) + " "},
        {"key_id": "a", "secret": "密钥"},
        {"key_id": "a", "secret": b64(32), "more": 1},
    ],
    ids=str,
)
def test_what_is_not_a_key_is_refused_without_repeating_it(tmp_path: Path, content: object) -> None:
    with pytest.raises(SetupError, match="not as docs") as caught:
        PartyKey.from_file(key_file(tmp_path, content))
    assert b64(30)[:20] not in str(caught.value)


def test_the_key_of_the_document_is_refused(tmp_path: Path) -> None:
    secret = b64encode(bytes(range(32))).decode()
    with pytest.raises(SetupError, match="documentation"):
        PartyKey.from_file(key_file(tmp_path, {"key_id": "example-authority", "secret": secret}))


def test_a_key_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="FileNotFoundError"):
        PartyKey.from_file(tmp_path / "nothing")


def test_a_key_does_not_print_its_secret() -> None:
    assert repr(KEY) == "PartyKey(key_id='a-key')"


@pytest.mark.parametrize(
    "url",
    [
        "https://bridge.example",
        "https://bridge.example:8443/a/b-1/",
        "https://192.0.2.7/",
        "http://127.0.0.1:8010",
        "http://127.9.9.9",
        "http://[::1]:8010/",
    ],
)
def test_a_url_that_may_be_used(url: str) -> None:
    party(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "bridge.example",
        "ftp://127.0.0.1",
        "http://bridge.example",
        "http://localhost:8010",
        "http://127.0.0.1.example",
        "http://192.0.2.7",
        "http://[::ffff:192.0.2.7]",
        "http://0.0.0.0",
        "https://",
        "https://a b",
        "https://a/b c",
        "https://a/b\r\nX-Evil: 1",
        "https://a/b%0d%0a",
        "https://a/../b",
        "https://a/.",
        "https://a/b?c=d",
        "https://a/b#c",
        "https://user:word@a",
        "https://@a",
        "https://a:0",
        "https://a:65536",
        "https://a:b",
        "https://[::1",
        "https://医保.example",
        "https://a//b",
        "https://a\\b",
    ],
)
def test_a_url_that_may_not_be_used(url: str) -> None:
    with pytest.raises(SetupError) as caught:
        party(url)
    assert "word" not in str(caught.value)
