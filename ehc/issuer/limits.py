"""How many codes a card may be given in a minute. Counted in Redis, for all workers together.

Fails open: with Redis away codes are issued without a limit, and the log says so. (Spending a code fails closed.)
"""

from datetime import datetime

from redis import Redis

from ehc.redis_link import RedisLink

WINDOW_SECONDS = 60


class IssueLimit:
    """A fixed window a card: at most `per_minute` codes from one full minute to the next."""

    def __init__(self, link: RedisLink, *, per_minute: int) -> None:
        self._link, self._per_minute = link, per_minute

    def spend(self, serials: list[int], *, now: datetime) -> list[int]:
        """Count one issue for each card; returns, for each, the seconds to wait, or 0 when it is within the limit.

        One round trip for all of them.
        """
        minute, passed = divmod(int(now.timestamp()), WINDOW_SECONDS)
        counts = self._link.ask(lambda redis: self._count(redis, serials, minute))
        return [WINDOW_SECONDS - passed if count > self._per_minute else 0 for count in counts or [0] * len(serials)]

    def _count(self, redis: Redis, serials: list[int], minute: int) -> list[int]:
        pipeline = redis.pipeline(transaction=False)
        for serial in serials:
            key = f"ehc:issue:{{{serial}}}:{minute}"  # the braces keep a card's keys on one node of a cluster
            pipeline.incr(key)
            pipeline.expire(key, 2 * WINDOW_SECONDS)
        return [int(count) for count in pipeline.execute()[::2]]
