"""Redis as a convenience: whatever is asked of it may go unanswered, quickly, and the service goes on without.

After a failure nobody asks again for two seconds, so an absent or hanging Redis costs one short wait in a while, not one
a request.
"""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from redis import Redis
from redis.exceptions import RedisError

Answer = TypeVar("Answer")

log = structlog.get_logger(__name__)

_TIMEOUT = 0.1
_PAUSE = 2.0


class RedisLink:
    """Asks Redis and gives None where it does not answer within 100 ms. `url` None means there is no Redis."""

    def __init__(self, url: str | None, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._silent_until = float("-inf")
        self._redis: Redis | None = None
        if url is not None:
            self._redis = Redis.from_url(url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT, retry=None)

    def ask(self, question: Callable[["Redis"], Answer]) -> Answer | None:
        """What `question` returns, or None when Redis is absent or does not answer. Never raises Redis's errors."""
        if self._redis is None or self._timer() < self._silent_until:
            return None
        try:
            return question(self._redis)
        except (RedisError, OSError) as error:
            self._silent_until = self._timer() + _PAUSE
            log.warning("redis does not answer; going on without", error=type(error).__name__)
            return None

    def answers(self) -> bool | None:
        """Whether Redis answers now; None where none is configured."""
        return None if self._redis is None else self.ask(lambda redis: redis.ping()) is not None
