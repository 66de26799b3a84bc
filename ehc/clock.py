"""Time comes in by the door, so that a test can hold it still."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Protocol

CHINA_TIME = timezone(timedelta(hours=8))
"""The one legal time of the country; ages and 'today' go by it."""


class Clock(Protocol):
    """Anything that tells the time."""

    def now(self) -> datetime:
        """The present instant, with an offset."""
        ...


class SystemClock:
    """The machine's clock, in UTC."""

    def now(self) -> datetime:
        """The present instant in UTC."""
        return datetime.now(UTC)


def local_day(now: datetime) -> date:
    """The calendar day of an instant in China: a child born today must not be born tomorrow."""
    return now.astimezone(CHINA_TIME).date()
