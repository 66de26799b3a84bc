"""Version 7 ids: their time, their order, and what they refuse."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import RFC_4122, UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehc.core.ids import uuid7, uuid7_time

TIMES = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


def zeros(size: int) -> bytes:
    return bytes(size)


def ones(size: int) -> bytes:
    return b"\xff" * size


def test_the_example_of_the_standard_has_its_time() -> None:
    example = UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")  # RFC 9562 A.6: 2022-02-22 14:22:22.00 -05:00, to the ms
    read = uuid7_time(example)
    assert read.replace(microsecond=0) == datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC)
    assert read.microsecond < 1000


def test_fields_are_where_the_standard_puts_them() -> None:
    made = uuid7(datetime(2022, 2, 22, 19, 22, 22, 500, tzinfo=UTC), random=zeros)
    assert str(made) == "017f22e2-79b0-7800-8000-000000000000"
    assert (made.version, made.variant) == (7, RFC_4122)


def test_random_bits_fill_the_rest_and_nothing_else() -> None:
    made = uuid7(datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC), random=ones)
    assert str(made) == "017f22e2-79b0-7000-bfff-ffffffffffff"


@given(TIMES)
def test_the_time_comes_back_to_the_microsecond(now: datetime) -> None:
    made = uuid7(now)
    assert uuid7_time(made) == now
    assert (made.version, made.variant) == (7, RFC_4122)


@given(TIMES)
def test_a_microsecond_later_sorts_later_whatever_the_chance(now: datetime) -> None:
    assert uuid7(now, random=ones) < uuid7(now + timedelta(microseconds=1), random=zeros)


def test_two_ids_of_one_instant_differ() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert uuid7(now) != uuid7(now)


def test_the_offset_of_the_clock_does_not_matter() -> None:
    utc = datetime(2025, 12, 31, 16, tzinfo=UTC)
    assert uuid7(utc, random=zeros) == uuid7(utc.astimezone(timezone(timedelta(hours=8))), random=zeros)


def test_a_foreign_fraction_stays_in_its_millisecond() -> None:
    foreign = UUID("017f22e2-79b0-7fff-8000-000000000000")
    assert uuid7_time(foreign) == datetime(2022, 2, 22, 19, 22, 22, 999, tzinfo=UTC)


def test_a_time_without_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="offset"):
        uuid7(datetime(2026, 1, 1))  # noqa: DTZ001  the point of the test


def test_a_time_before_1970_is_refused() -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert uuid7_time(uuid7(epoch)) == epoch
    with pytest.raises(ValueError, match="1970"):
        uuid7(epoch - timedelta(microseconds=1))


def test_an_id_of_another_version_has_no_time() -> None:
    with pytest.raises(ValueError, match="version 7"):
        uuid7_time(uuid4())


def test_an_id_past_the_calendar_has_no_time() -> None:
    with pytest.raises(ValueError, match="9999"):
        uuid7_time(UUID("ffffffff-ffff-7000-8000-000000000000"))
