"""A value that many threads read and one of them reloads now and then, so that workers follow the database."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Generic, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from ehc.errors import Text, Unavailable

Value = TypeVar("Value")

log = structlog.get_logger(__name__)

_PATIENCE = 3.0
_AWAY = Text("系统密钥暂时无法读取，请稍后重试。", "The keys cannot be read now. Try again shortly.")


class Refreshed(Generic[Value]):
    """Loads at first use and again after `every` seconds. While the database is away the last value stands."""

    def __init__(
        self, load: Callable[[], Value], *, every: float = 10.0, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._load, self._every, self._timer = load, every, timer
        self._lock = Lock()
        self._value: Value | None = None
        self._asked_at = self._loaded_at = float("-inf")

    def get(self) -> Value:
        """The value, at most `every` seconds old unless the database is away. One thread reloads, the others go on."""
        if self._value is None:
            with self._alone():
                return self._value if self._value is not None else self._reload()
        if self._timer() - self._asked_at >= self._every and self._lock.acquire(blocking=False):
            try:
                return self._reload()
            except SQLAlchemyError as error:
                self._asked_at = self._timer()
                log.warning("keys not reloaded; the last ones stand", error=type(error).__name__)
            finally:
                self._lock.release()
        return self._value

    def refresh(self, *, at_most_every: float = 1.0) -> Value:
        """The value, reloaded now unless that was done within `at_most_every` seconds."""
        with self._alone():
            if self._value is not None and self._timer() - self._loaded_at < at_most_every:
                return self._value
            return self._reload()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One at a time; while the database hangs they do not wait for one another's time-outs in turn."""
        if not self._lock.acquire(timeout=_PATIENCE):
            raise Unavailable(_AWAY, retry_after=2)
        try:
            yield
        finally:
            self._lock.release()

    def _reload(self) -> Value:
        asked_at = self._timer()
        self._value = self._load()
        self._asked_at, self._loaded_at = asked_at, self._timer()  # as old as the question, not as the answer
        return self._value
