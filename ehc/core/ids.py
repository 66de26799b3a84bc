"""Ids that sort by the time they were made: UUID version 7 (RFC 9562)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from ehc.core.randomness import random_bytes

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RANDOM_BITS = 62


def uuid7(now: datetime, random: Callable[[int], bytes] = random_bytes) -> UUID:
    """A new id: Unix milliseconds, 12 bits of the fraction below, 62 random bits (RFC 9562 5.7 and 6.2 method 3).

    Ids made in different microseconds sort by time. Raises `ValueError` for a time without offset or before 1970.
    """
    milliseconds, microseconds = divmod(_unix_microseconds(now), 1000)
    fraction = microseconds * 4096 // 1000
    tail = int.from_bytes(random(8), "big") >> 2  # 62 of the 64 bits drawn
    return UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << _RANDOM_BITS | tail)


def uuid7_time(made: UUID) -> datetime:
    """When an id was made, in UTC: to the microsecond for ours, to the millisecond for other makers'.

    Raises `ValueError` for any version but 7 and for a time past the year 9999.
    """
    if made.version != 7:
        raise ValueError("only a version 7 UUID carries a time")
    milliseconds, fraction = made.int >> 80, made.int >> 64 & 0xFFF
    # Rounded up, since making it rounded down; a foreign fraction near 1 must not reach the next millisecond.
    microseconds = min(-(-fraction * 1000 // 4096), 999)
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds, microseconds=microseconds)
    except OverflowError as error:
        raise ValueError("the time in this UUID is past the year 9999") from error


def _unix_microseconds(now: datetime) -> int:
    if now.tzinfo is None:
        raise ValueError("a time needs its offset")
    since = (now - _EPOCH) // timedelta(microseconds=1)
    if since < 0:
        raise ValueError("a version 7 UUID cannot hold a time before 1970")
    return since
