"""What the simulated parties share: whom they listen to, how they answer, and how they have been told to fail."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from secrets import token_bytes
from threading import Lock
from typing import Any

from ehc.outside.signed_http import FRESH, LIMIT, PartyKey, answer_headers, request_signed

MODES = {
    "normal": "answers",
    "down": "closes the connection without reading the question",
    "slow": "answers after `seconds`",
    "lost-answer": "does what was asked, then closes the connection without an answer",
    "wrong-signature": "signs its answer with another key of the same name",
    "garbage": "signs an answer that is no JSON",
    "http-500": "answers 500 and does nothing",
}


@dataclass
class Special:
    """How one path answers for so many times; 0 is for good."""

    mode: str
    seconds: float
    times: int


@dataclass
class Moody:
    """Something that answers at paths, in a present mode, and counts its questions. Threads share it."""

    acts: Mapping[str, Callable[..., Any]]
    modes: Mapping[str, str] = field(default_factory=lambda: MODES)
    mode: str = "normal"
    seconds: float = 0.0
    limit: int = LIMIT
    """Largest question in bytes."""
    special: dict[str, Special] = field(default_factory=dict)
    """How single paths answer, whatever the mode."""
    asked: int = 0
    waiting: int = 0
    most_waiting: int = 0
    _lock: Lock = field(default_factory=Lock)

    def reset(self) -> None:
        """Back to normal, counting from nought."""
        self.tell(Special("normal", 0.0, 0))
        with self._lock:
            self.asked, self.most_waiting = 0, self.waiting

    def tell(self, how: Special, path: str | None = None) -> None:
        """How to answer from now on: at one path, or at all, whatever was said of single ones."""
        with self._lock:
            if path is not None:
                self.special[path] = how
            else:
                self.mode, self.seconds = how.mode, how.seconds
                self.special.clear()

    def mode_for(self, path: str) -> tuple[str, float]:
        """How a question to this path is answered, and the seconds of `slow`; one that was to happen once has happened."""
        with self._lock:
            special = self.special.get(path)
            if special is None:
                return self.mode, self.seconds
            special.times -= 1
            if special.times == 0:
                del self.special[path]
            return special.mode, special.seconds

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Counts a question for as long as the block runs."""
        with self._lock:
            self.asked, self.waiting = self.asked + 1, self.waiting + 1
            self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            yield
        finally:
            with self._lock:
                self.waiting -= 1


@dataclass
class Party(Moody):
    """One party that shares a key with the service: what it does at each of its paths is signed, both ways."""

    key: PartyKey = field(kw_only=True)
    _seen: dict[str, float] = field(default_factory=dict)

    def admits(self, path: str, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether the request is signed with our key, fresh, and not one that was seen before."""
        nonce, now = headers.get("X-Ehc-Nonce", ""), time.time()
        if not request_signed(path, headers, body, key=self.key, now=int(now)):
            return False
        with self._lock:
            # a request may be dated FRESH ahead, and is fresh for as long again after that
            self._seen = {one: seen for one, seen in self._seen.items() if seen > now - 2 * FRESH - 1}
            known = nonce in self._seen
            self._seen[nonce] = now
        return not known

    def signed(self, path: str, nonce: str, body: bytes, mode: str) -> dict[str, str]:
        """The headers of a 200 answer with this body, as the mode signs."""
        key = PartyKey(self.key.key_id, token_bytes(32)) if mode == "wrong-signature" else self.key
        return answer_headers(path, nonce, body, key=key, now=int(time.time()))
