"""Counting: what a limit lets through, how seldom Redis is asked, and what happens without it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from redis import Redis
from structlog.testing import capture_logs

from ehc.rates import ALONE, DAY, Rates, Rule, headers_of

NOW = 1_800_000_000.0 - 1_800_000_000 % 60


class CountedLink:
    """Stands for `RedisLink`: a Redis in memory that counts how often it is asked, and can fall silent."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.asked, self.silent, self.absent = 0, False, False

    def ask(self, question: Callable[[Redis], Any]) -> Any:
        self.asked += 1
        return None if self.silent or self.absent else question(self)  # type: ignore[arg-type]  # stands for it

    def answers(self) -> bool | None:
        return None if self.absent else not self.silent

    def pipeline(self, *, transaction: bool) -> "_Pipeline":
        assert not transaction
        return _Pipeline(self)


class _Pipeline:
    def __init__(self, link: CountedLink) -> None:
        self.link, self.answers = link, list[int]()

    def incrby(self, key: str, count: int) -> None:
        self.link.counts[key] = self.link.counts.get(key, 0) + count
        self.answers.append(self.link.counts[key])

    def expire(self, key: str, seconds: int) -> None:
        self.answers.append(1)

    def execute(self) -> list[int]:
        return self.answers


@pytest.fixture
def link() -> CountedLink:
    return CountedLink()


def rates(link: CountedLink) -> Rates:
    return Rates(link)  # type: ignore[arg-type]  # stands for it


def let_through(counter: Rates, rule: Rule, times: int, now: float = NOW) -> int:
    return sum(not counter.spend([rule], now=now)[0].over for _ in range(times))


@pytest.mark.parametrize("limit", [1, 2, 7, 19, 20, 21, 100, 1000])
def test_a_worker_lets_through_exactly_the_limit(link: CountedLink, limit: int) -> None:
    counter = rates(link)
    rule = Rule("app", "a", limit)
    assert let_through(counter, rule, limit + 50) == limit
    assert let_through(counter, rule, limit + 50, NOW + 59.9) == 0
    assert let_through(counter, rule, limit + 50, NOW + 60) == limit


def test_far_from_a_limit_redis_is_not_asked(link: CountedLink) -> None:
    let_through(rates(link), Rule("app", "a", 6000), 250)
    assert link.asked == 0


def test_to_the_very_limit_redis_is_asked_seldom_and_after_it_not_at_all(link: CountedLink) -> None:
    counter, rule = rates(link), Rule("app", "a", 6000)
    let_through(counter, rule, 6000)
    assert link.asked < 200
    asked = link.asked
    assert let_through(counter, rule, 1000) == 0
    assert link.asked == asked


def test_several_rules_cost_one_question(link: CountedLink) -> None:
    counter = rates(link)
    counter.spend([Rule("app", "a", 3), Rule("app-day", "a", 5, DAY), Rule("card", "c", 2)], now=NOW)
    assert link.asked == 1
    assert len(link.counts) == 3


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_share_a_limit_but_for_what_they_did_not_tell(link: CountedLink, workers: int) -> None:
    counters, rule = [rates(link) for _ in range(workers)], Rule("app", "a", 1000)
    passed = sum(let_through(counter, rule, 1) for _ in range(1000) for counter in counters)
    assert 1000 <= passed <= 1000 + workers * 1000 // 20


def test_a_worker_that_begins_later_knows_what_was_used_of_the_day(link: CountedLink) -> None:
    rule = Rule("app-day", "a", 100, DAY)
    assert let_through(rates(link), rule, 100) == 100
    assert let_through(rates(link), rule, 100) == 0


def test_a_day_begins_at_midnight_in_china(link: CountedLink) -> None:
    rule, counter = Rule("app-day", "a", 1, DAY), rates(link)
    midnight = 1_800_028_800.0 - (1_800_028_800 + 8 * 3600) % DAY
    assert let_through(counter, rule, 1, midnight - 1) == 1
    (count,) = counter.spend([rule], now=midnight - 1)
    assert (count.over, count.resets_in) == (True, 1)
    assert let_through(counter, rule, 1, midnight) == 1


def test_what_one_limit_refuses_counts_against_no_other(link: CountedLink) -> None:
    counter = rates(link)
    for _ in range(5):
        counter.spend([Rule("app", "a", 100), Rule("card", "c", 2)], now=NOW)
    (app, card) = counter.spend([Rule("app", "a", 100), Rule("card", "c", 2)], now=NOW)
    assert (app.over, app.left) == (False, 98)
    assert (card.over, card.left) == (True, 0)


def test_without_redis_each_worker_holds_its_own_count_and_says_so(link: CountedLink) -> None:
    link.silent = True
    before = ALONE._value.get()
    with capture_logs() as logs:
        assert let_through(rates(link), Rule("app", "a", 40), 100) == 40
        assert let_through(rates(link), Rule("app", "a", 40), 100) == 40
    assert ALONE._value.get() > before
    told = [line for line in logs if line["event"].startswith("limits are counted by each worker")]
    assert len(told) == 2  # once a minute and worker


def test_a_deployment_without_redis_is_not_told_about_it_all_the_time(link: CountedLink) -> None:
    link.absent = True
    with capture_logs() as logs:
        assert let_through(rates(link), Rule("app", "a", 40), 100) == 40
    assert logs == []


def test_headers_name_every_limit_and_what_is_left(link: CountedLink) -> None:
    counts = rates(link).spend([Rule("app", "a", 10), Rule("app-day", "a", 99, DAY)], now=NOW + 20)
    assert headers_of(counts[:1]) == (
        ("RateLimit-Policy", '"app";q=10;w=60'),
        ("RateLimit", '"app";r=9;t=40'),
    )
    assert headers_of(counts)[0] == ("RateLimit-Policy", '"app";q=10;w=60, "app-day";q=99;w=86400')


def test_what_is_remembered_is_bounded(link: CountedLink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ehc.rates._REMEMBERED", 100)
    counter = rates(link)
    for number in range(1000):
        counter.spend([Rule("card", f"c{number}", 10)], now=NOW)
    assert len(counter._windows[60][1]) <= 101


@pytest.mark.parametrize("silent", [True, False])
def test_threads_that_come_together_pass_no_more_than_the_limit(link: CountedLink, silent: bool) -> None:
    link.silent = silent
    counter, rule, at_once = rates(link), Rule("app", "a", 500), Barrier(16)

    def many(_: int) -> int:
        at_once.wait()
        return let_through(counter, rule, 100)

    with ThreadPoolExecutor(16) as pool:
        passed = sum(pool.map(many, range(16)))
    assert passed == 500 if silent else 450 <= passed <= 500  # some told together see each other's as their own
