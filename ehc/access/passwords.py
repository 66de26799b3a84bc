"""Passwords of the staff: argon2id (RFC 9106), what may be one, and how many are computed at the same time.

19 MiB and 2 passes are OWASP's figures for argon2id with one lane. A process computes two at a time, which is 38 MiB, and lets
fourteen more wait for two seconds; whoever comes then is told to come again, so log-ins cannot eat the memory or the threads.
"""

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from itertools import pairwise
from secrets import choice
from threading import BoundedSemaphore

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from ehc.errors import InvalidValue, Text, Unavailable

SHORTEST, LONGEST = 12, 128
REMEMBERED = 5
"""So many of a person's last passwords may not come again."""

_UNIT = 4
_INITIAL = "abcdefghjkmnpqrstuvwxyz23456789"
_INITIAL_LENGTH = 16  # 79 bits


class Hasher:
    """Computes argon2id, few at a time. One for a process: the service's threads share it."""

    def __init__(
        self,
        *,
        memory_kib: int = 19_456,
        passes: int = 2,
        at_once: int = 2,
        waiting: int = 14,
        patience: float = 2.0,
    ) -> None:
        self._argon = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1, type=Type.ID)
        self._places, self._queue = BoundedSemaphore(at_once), BoundedSemaphore(at_once + waiting)
        self._patience = patience
        self._nobodys = self._argon.hash(initial())

    def hash(self, password: str) -> str:
        """The hash of a password. Raises `Unavailable` where too many are being computed."""
        with self._place():
            return self._argon.hash(normal(password))

    def matches(self, kept: str | None, password: str) -> bool:
        """Whether a password is the one of a hash; takes as long without one. Raises `Unavailable`."""
        with self._place():
            try:
                return self._argon.verify(kept or self._nobodys, normal(password)) and kept is not None
            except (VerificationError, InvalidHashError):
                return False

    def outdated(self, kept: str) -> bool:
        """Whether a hash was made with other parameters than these."""
        return self._argon.check_needs_rehash(kept)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._queue.acquire(blocking=False):
            raise _busy()
        try:
            if not self._places.acquire(timeout=self._patience):
                raise _busy()
            try:
                yield
            finally:
                self._places.release()
        finally:
            self._queue.release()


def initial() -> str:
    """A first password, for somebody else to hand over."""
    return "".join(choice(_INITIAL) for _ in range(_INITIAL_LENGTH))


def normal(password: str) -> str:
    """The form that is hashed: the same characters typed on another keyboard are the same password (NIST SP 800-63B)."""
    return unicodedata.normalize("NFKC", password)


def require_good(password: str, *, login: str, pointer: str) -> None:
    """Raises `InvalidValue` for one that is too short or long, close to the login, or among the first that are guessed.

    No rule asks for kinds of characters.
    """
    plain = normal(password).casefold()
    if not SHORTEST <= len(normal(password)) <= LONGEST:
        sentence = Text(
            f"密码长度为 {SHORTEST} 到 {LONGEST} 个字符。", f"A password has {SHORTEST} to {LONGEST} characters."
        )
        raise InvalidValue.at(pointer, "length", sentence)
    if login in plain or plain in login:
        raise InvalidValue.at(
            pointer, "password-login", Text("密码不能包含登录名。", "The password may not hold the login.")
        )
    if plain in _common() or _repeats(plain) or _counts(plain):
        sentence = Text("此密码过于常见，请换一个。", "This is among the first that are guessed. Choose another.")
        raise InvalidValue.at(pointer, "password-common", sentence)


def _repeats(plain: str) -> bool:
    """Whether it is a few characters over and over."""
    return any((plain[:size] * len(plain))[: len(plain)] == plain for size in range(1, _UNIT + 1))


def _counts(plain: str) -> bool:
    """Whether each character is the next after the one before, up or down: `abcdefghijkl`, `123456789012`."""
    steps = {ord(later) - ord(earlier) for earlier, later in pairwise(plain)}
    return steps <= {1, -9} or steps <= {-1, 9}


@cache
def _common() -> frozenset[str]:
    return frozenset(files("ehc.access").joinpath("data/common_passwords.txt").read_text("utf-8").split())


def _busy() -> Unavailable:
    detail = Text("登录请求过多，请稍后重试。", "Too many log-ins at the same time. Try again shortly.")
    return Unavailable(detail, retry_after=2)
