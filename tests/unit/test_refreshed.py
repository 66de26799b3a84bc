"""Refreshed values: loaded at first use, again after a while, and kept while the database is away."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from sqlalchemy.exc import OperationalError

from ehc.keystore.refreshed import Refreshed

AWAY = OperationalError("SELECT 1", {}, Exception())


class Source:
    """Numbers its loads; raises `error` instead while there is one. `seconds` is the time."""

    def __init__(self) -> None:
        self.loads = 0
        self.seconds = 100.0
        self.error: Exception | None = None

    def load(self) -> int:
        if self.error is not None:
            raise self.error
        self.loads += 1
        return self.loads

    def value(self, every: float = 10.0) -> Refreshed[int]:
        return Refreshed(self.load, every=every, timer=lambda: self.seconds)


@pytest.fixture
def source() -> Source:
    return Source()


def test_nothing_is_loaded_before_it_is_asked_for(source: Source) -> None:
    value = source.value()
    assert source.loads == 0
    assert (value.get(), value.get(), source.loads) == (1, 1, 1)


def test_a_value_is_loaded_again_when_it_is_old(source: Source) -> None:
    value = source.value()
    value.get()
    source.seconds += 9.999
    assert value.get() == 1
    source.seconds += 0.001
    assert (value.get(), value.get()) == (2, 2)


def test_the_time_that_loading_took_makes_a_value_older(source: Source) -> None:
    def slow() -> int:
        found = source.load()
        source.seconds += 4
        return found

    value = Refreshed(slow, timer=lambda: source.seconds)
    value.get()
    source.seconds += 5.999
    assert value.get() == 1
    source.seconds += 0.001  # ten seconds after the database was asked
    assert value.get() == 2


def test_while_the_database_is_away_the_last_value_stands(source: Source) -> None:
    value = source.value()
    value.get()
    source.error = AWAY
    for _ in range(3):
        source.seconds += 10
        assert value.get() == 1
    source.error = None
    assert value.get() == 1  # it asks again after another ten seconds, not at once
    source.seconds += 10
    assert value.get() == 2


def test_without_a_last_value_the_failure_is_told_and_the_next_call_tries_again(source: Source) -> None:
    value = source.value()
    source.error = AWAY
    for _ in range(2):
        with pytest.raises(OperationalError):
            value.get()
    source.error = None
    assert value.get() == 1


def test_a_failure_that_is_not_the_databases_is_told(source: Source) -> None:
    value = source.value()
    value.get()
    source.error = LookupError("no key")
    source.seconds += 10
    with pytest.raises(LookupError):
        value.get()
    source.error = None
    assert value.get() == 2


def test_a_refresh_loads_at_once_but_not_more_than_once_a_second(source: Source) -> None:
    value = source.value()
    assert value.refresh() == 1
    source.seconds += 0.999
    assert value.refresh() == 1
    source.seconds += 0.001
    assert value.refresh() == 2
    assert value.refresh(at_most_every=0) == 3


def test_a_refresh_without_the_database_is_told(source: Source) -> None:
    value = source.value()
    value.get()
    source.error, source.seconds = AWAY, source.seconds + 5
    with pytest.raises(OperationalError):
        value.refresh()
    assert value.get() == 1


def test_one_thread_loads_and_the_others_go_on(source: Source) -> None:
    entered, go = Event(), Event()
    loads: list[int] = []

    def load() -> int:
        loads.append(1)
        if len(loads) > 1:
            entered.set()
            assert go.wait(5)
        return len(loads)

    value = Refreshed(load, every=10, timer=lambda: source.seconds)
    value.get()
    source.seconds += 10
    with ThreadPoolExecutor(2) as pool:
        loader = pool.submit(value.get)
        assert entered.wait(5)
        assert [value.get() for _ in range(3)] == [1, 1, 1]
        go.set()
        assert loader.result(5) == 2
    assert len(loads) == 2


def test_many_threads_at_first_use_load_once() -> None:
    go, loads = Event(), []

    def load() -> int:
        assert go.wait(5)
        loads.append(1)
        return len(loads)

    value = Refreshed(load)
    with ThreadPoolExecutor(16) as pool:
        callers = [pool.submit(value.get) for _ in range(16)]
        go.set()
        assert {caller.result(5) for caller in callers} == {1}
