"""How many codes a card may be given in a minute. Counted in Redis, for all workers together.

Every worker counts for itself first, and asks Redis only about cards that it has given more than a tenth of the limit: a
phone that fetches two codes a minute costs no round trip. What a worker did not tell Redis is at most that tenth.

Fails open: with Redis away each worker still holds its own count against the limit. (Spending a code fails closed.)
"""

from collections import Counter
from datetime import datetime

from redis import Redis

from ehc.redis_link import RedisLink

WINDOW_SECONDS = 60
_UNTOLD_SHARE = 10


class IssueLimit:
    """A fixed window a card: at most `per_minute` codes from one full minute to the next.

    `spend` is called by one thread at a time (`ehc/grouping.py` sees to that).
    """

    def __init__(self, link: RedisLink, *, per_minute: int) -> None:
        self._link, self._per_minute = link, per_minute
        self._untold = per_minute // _UNTOLD_SHARE
        self._minute = 0
        self._own: Counter[int] = Counter()
        self._told: Counter[int] = Counter()

    def spend(self, serials: list[int], *, now: datetime) -> list[int]:
        """Count one issue for each card; returns, for each, the seconds to wait, or 0 when it is within the limit.

        One round trip at most for all of them.
        """
        minute, passed = divmod(int(now.timestamp()), WINDOW_SECONDS)
        own = self._count_own(serials, minute)
        shared = self._count_shared({serial: count for serial, count in own.items() if count > self._untold}, minute)
        return [
            WINDOW_SECONDS - passed if shared.get(serial, own[serial]) > self._per_minute else 0 for serial in serials
        ]

    def _count_own(self, serials: list[int], minute: int) -> dict[int, int]:
        """This worker's counts, these issues included."""
        if minute != self._minute:
            self._minute, self._own, self._told = minute, Counter(), Counter()
        self._own.update(serials)
        return {serial: self._own[serial] for serial in serials}

    def _count_shared(self, own: dict[int, int], minute: int) -> dict[int, int]:
        """All workers' counts of these cards; empty where Redis does not answer."""
        return (own and self._link.ask(lambda redis: self._ask(redis, own, minute))) or {}

    def _ask(self, redis: Redis, own: dict[int, int], minute: int) -> dict[int, int]:
        pipeline = redis.pipeline(transaction=False)
        for serial, count in own.items():
            key = f"ehc:issue:{{{serial}}}:{minute}"  # the braces keep a card's keys on one node of a cluster
            pipeline.incrby(key, count - self._told[serial])
            pipeline.expire(key, 2 * WINDOW_SECONDS)
        totals = [int(total) for total in pipeline.execute()[::2]]
        self._told.update({serial: count - self._told[serial] for serial, count in own.items()})
        return dict(zip(own, totals, strict=True))
