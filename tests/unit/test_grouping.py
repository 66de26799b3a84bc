"""Grouped calls: who leads, who waits, who must not share, and that nothing is ever lost."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, Lock

import pytest

from ehc.errors import Unavailable
from ehc.grouping import Grouped


class Gate:
    """A flush that a test can hold up, and that remembers its batches. Each item's result is its double."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered, self.open = Event(), Event()
        self.error: Exception | None = None

    def flush(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        self.entered.set()
        assert self.open.wait(5)
        if self.error is not None:
            raise self.error
        return [2 * item for item in items]


@pytest.fixture
def gate() -> Gate:
    return Gate()


def queued(pool: ThreadPoolExecutor, grouped: Grouped[int, int], items: list[int]) -> list[Future[int]]:
    """Submit items in this order, each from a thread of its own."""
    waiting = []
    for item in items:
        before = len(grouped._queue)
        waiting.append(pool.submit(grouped.submit, item))
        until(lambda before=before: len(grouped._queue) == before + 1)  # type: ignore[misc]
    return waiting


def until(true: Callable[[], bool]) -> None:
    for _ in range(5000):
        if true():
            return
        time.sleep(0.001)
    raise AssertionError("it did not come true")


def held(pool: ThreadPoolExecutor, gate: Gate, grouped: Grouped[int, int], items: list[int]) -> list[Future[int]]:
    """A leader stuck in its flush with item 0, and these items queued behind it."""
    leader = pool.submit(grouped.submit, 0)
    assert gate.entered.wait(5)
    return [leader, *queued(pool, grouped, items)]


def test_a_lone_caller_is_flushed_at_once() -> None:
    batches: list[list[int]] = []
    grouped = Grouped[int, int](lambda items: batches.append(items) or items)  # type: ignore[func-returns-value]
    assert [grouped.submit(item) for item in (1, 2)] == [1, 2]
    assert batches == [[1], [2]]


def test_whoever_arrives_during_a_flush_shares_the_next_one(gate: Gate) -> None:
    grouped = Grouped(gate.flush)
    with ThreadPoolExecutor(8) as pool:
        waiting = held(pool, gate, grouped, [1, 2, 3])
        gate.open.set()
        assert [caller.result(5) for caller in waiting] == [0, 2, 4, 6]
    assert gate.batches == [[0], [1, 2, 3]]


def test_equal_items_never_share_a_flush(gate: Gate) -> None:
    grouped = Grouped(gate.flush, distinct=lambda item: item % 10)
    with ThreadPoolExecutor(8) as pool:
        waiting = held(pool, gate, grouped, [1, 11, 2, 21])
        gate.open.set()
        assert [caller.result(5) for caller in waiting] == [0, 2, 22, 4, 42]
    assert gate.batches == [[0], [1, 2], [11], [21]]


def test_a_flush_has_so_many_items_at_most(gate: Gate) -> None:
    grouped = Grouped(gate.flush, most=2)
    with ThreadPoolExecutor(8) as pool:
        waiting = held(pool, gate, grouped, [1, 2, 3, 4, 5])
        gate.open.set()
        assert [caller.result(5) for caller in waiting] == [0, 2, 4, 6, 8, 10]
    assert gate.batches == [[0], [1, 2], [3, 4], [5]]


def test_a_failure_reaches_every_caller_of_its_batch_and_no_other(gate: Gate) -> None:
    grouped = Grouped(gate.flush)
    gate.error = ConnectionError("away")
    with ThreadPoolExecutor(8) as pool:
        waiting = held(pool, gate, grouped, [1, 2, 3])
        gate.open.set()
        assert [type(caller.exception(5)) for caller in waiting] == [ConnectionError] * 4
        gate.error = None
        assert grouped.submit(7) == 14


def test_a_flush_that_answers_too_few_fails_all_of_its_callers() -> None:
    grouped = Grouped[int, int](lambda _: [])
    with pytest.raises(ValueError, match="zip"):
        grouped.submit(1)
    with pytest.raises(ValueError, match="zip"):
        grouped.submit(2)


def test_a_caller_waits_no_longer_than_its_patience(gate: Gate) -> None:
    grouped = Grouped(gate.flush, patience=0.05)
    with ThreadPoolExecutor(8) as pool:
        leader, *others = held(pool, gate, grouped, [1, 2])
        for caller in others:
            refusal = caller.exception(5)
            assert isinstance(refusal, Unavailable)
            assert refusal.retry_after == 2
        gate.open.set()
        assert leader.result(5) == 0
        assert grouped.submit(3) == 6
    assert gate.batches == [[0], [3]]  # nothing is done for those who were told it was not


def test_who_gave_up_does_not_lead(gate: Gate) -> None:
    """The next in line leads when the one before it has left."""
    impatient = Grouped(gate.flush, patience=0.2)
    with ThreadPoolExecutor(8) as pool:
        leader, first = held(pool, gate, impatient, [1])
        assert isinstance(first.exception(5), Unavailable)
        (second,) = queued(pool, impatient, [2])
        gate.open.set()
        assert (leader.result(5), second.result(5)) == (0, 4)


def test_no_item_is_lost_or_done_twice_by_64_threads() -> None:
    done: list[int] = []
    flushing = Lock()

    def flush(items: list[int]) -> list[int]:
        assert flushing.acquire(blocking=False), "two flushes at once"
        try:
            done.extend(items)
            return [2 * item for item in items]
        finally:
            flushing.release()

    grouped = Grouped(flush, distinct=lambda item: item % 97, most=32)

    def work(thread: int) -> None:
        for number in range(200):
            item = thread * 1000 + number
            assert grouped.submit(item) == 2 * item

    with ThreadPoolExecutor(64) as pool:
        for worker in [pool.submit(work, thread) for thread in range(64)]:
            worker.result(60)
    assert len(done) == 64 * 200
    assert len(set(done)) == len(done)


def test_failures_among_64_threads_reach_exactly_their_callers() -> None:
    def flush(items: list[int]) -> list[int]:
        if any(item % 7 == 0 for item in items):
            raise ConnectionError
        return items

    grouped = Grouped(flush)

    def work(thread: int) -> tuple[int, int]:
        good = bad = 0
        for number in range(100):
            item = thread * 1000 + number
            try:
                assert grouped.submit(item) == item
                assert item % 7
                good += 1
            except ConnectionError:
                bad += 1
        return good, bad

    with ThreadPoolExecutor(64) as pool:
        ends = [worker.result(60) for worker in [pool.submit(work, thread) for thread in range(64)]]
    assert sum(good + bad for good, bad in ends) == 6400
