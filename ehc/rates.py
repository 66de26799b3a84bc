"""How often something may be done in a minute or a day. Counted in Redis, for all workers together.

Every worker counts for itself, and tells Redis only when what it has not told is more than a twentieth of what is left: far
from a limit a request costs no round trip, near it each costs one, however many limits it counts against. What each worker did
not tell is at most a twentieth of a limit. Of a day a worker asks at once what the others have counted: it may have just begun.

Fails open: with Redis away each worker still holds its own count against the limit, and says so.
"""

from collections.abc import Sequence
from threading import Lock
from typing import NamedTuple

import structlog
from prometheus_client import Counter
from redis import Redis

from ehc.redis_link import RedisLink

MINUTE, DAY = 60, 86400
_CHINA = 8 * 3600
"""A day begins at midnight in China."""
_SHARE = 20
_REMEMBERED = 50_000

ALONE = Counter("ehc_limits_alone", "Times a worker counted requests for itself because Redis did not answer.")

log = structlog.get_logger(__name__)


class Rule(NamedTuple):
    """At most `limit` in each `seconds` for whoever `key` names."""

    name: str
    key: str
    limit: int
    seconds: int = MINUTE


class Count(NamedTuple):
    """How it stands with a rule: what is left, and when it begins anew."""

    rule: Rule
    left: int
    resets_in: int
    over: bool


class _Tally:
    """What one worker knows of a key in a window: all that it or Redis told it, and its own that Redis was not told."""

    __slots__ = ("told", "total", "untold")

    def __init__(self) -> None:
        self.total, self.untold, self.told = 0, 0, False


class Rates:
    """Counts against rules, for one worker. Any thread may ask."""

    def __init__(self, link: RedisLink) -> None:
        self._link, self._lock = link, Lock()
        self._windows: dict[int, tuple[int, dict[str, _Tally]]] = {}
        self._lamented = -1

    def spend(self, rules: Sequence[Rule], *, now: float) -> list[Count]:
        """Count once against every rule, unless one of them is used up: then against none."""
        with self._lock:
            tallies = [self._tally(rule, now) for rule in rules]
            if any(tally.total + tally.untold >= rule.limit for rule, tally in zip(rules, tallies, strict=True)):
                return [_count(rule, tally, now, 1) for rule, tally in zip(rules, tallies, strict=True)]
            due: list[tuple[Rule, _Tally, int]] = []
            for rule, tally in zip(rules, tallies, strict=True):
                tally.untold += 1
                left = rule.limit - tally.total - tally.untold
                if tally.untold > left // _SHARE or (rule.seconds == DAY and not tally.told):
                    due.append((rule, tally, tally.untold))
                    tally.total, tally.untold = tally.total + tally.untold, 0
        if due:
            self._tell(due, now)
        return [_count(rule, tally, now, 0) for rule, tally in zip(rules, tallies, strict=True)]

    def _tally(self, rule: Rule, now: float) -> _Tally:
        window = _window(rule, now)
        current, tallies = self._windows.get(rule.seconds, (-1, {}))
        if current != window or len(tallies) >= _REMEMBERED:
            tallies = {}
            self._windows[rule.seconds] = window, tallies
        tally = tallies.get(rule.key)
        if tally is None:
            tally = tallies[rule.key] = _Tally()
        return tally

    def _tell(self, due: list[tuple[Rule, _Tally, int]], now: float) -> None:
        totals = self._link.ask(lambda redis: _add(redis, due, now))
        if totals is None:
            self._lament(now)
            return
        with self._lock:
            for (_, tally, _), total in zip(due, totals, strict=True):
                tally.total, tally.told = max(tally.total, total), True

    def _lament(self, now: float) -> None:
        if self._link.answers() is None:
            return  # there is no Redis, and whoever runs it knows
        ALONE.inc()
        minute = int(now) // MINUTE
        if minute != self._lamented:
            self._lamented = minute
            log.warning("limits are counted by each worker for itself: redis does not answer")


def headers_of(counts: Sequence[Count]) -> tuple[tuple[str, str], tuple[str, str]]:
    """`RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10)."""
    policies = ", ".join(f'"{rule.name}";q={rule.limit};w={rule.seconds}' for rule, *_ in counts)
    left = ", ".join(f'"{rule.name}";r={left};t={resets}' for rule, left, resets, _ in counts)
    return ("RateLimit-Policy", policies), ("RateLimit", left)


def _window(rule: Rule, now: float) -> int:
    return int(now + _CHINA) // rule.seconds


def _count(rule: Rule, tally: _Tally, now: float, more: int) -> Count:
    used = tally.total + tally.untold
    return Count(
        rule,
        max(0, rule.limit - used),
        rule.seconds - int(now + _CHINA) % rule.seconds,
        used + more > rule.limit,
    )


def _add(redis: Redis, due: list[tuple[Rule, _Tally, int]], now: float) -> list[int]:
    pipeline = redis.pipeline(transaction=False)
    for rule, _, count in due:
        key = f"ehc:rate:{{{rule.key}}}:{rule.seconds}:{_window(rule, now)}"
        pipeline.incrby(key, count)
        pipeline.expire(key, 2 * rule.seconds)
    return [int(total) for total in pipeline.execute()[::2]]
