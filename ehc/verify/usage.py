"""How many checks there were, by hour, for supervision (监管): whole hours are counted anew, so a count is never added to.

The last hours are counted every five minutes, and those of the last days once a night: a check that was written late, by a
transaction that committed out of order or a terminal that was offline, is in the next count of its hour. Counting reads the
rows of the hours alone (by the index on `verified_at`), and the statement of a check knows nothing of it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from typing import cast as typing_cast
from uuid import UUID

from sqlalchemy import CursorResult, Date, Uuid, any_, cast, func, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from ehc.verify.usage_models import UsageRow

RECENT = timedelta(hours=3)
"""How far back every count goes."""
NIGHTLY = timedelta(days=8)
"""How far back the count of the night goes: further than a terminal keeps checks that it could not send."""
HOUR = timedelta(hours=1)
MOST_GROUPS = 5000
LONGEST = timedelta(days=92)

_COUNT = text("""
    INSERT INTO usage_hour (hour, institution_id, step, channel, outcome, checks)
    SELECT date_trunc('hour', verified_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', institution_id, step,
           coalesce(channel, ''), coalesce(reason, 'accepted'), count(*)
    FROM verification WHERE verified_at >= :since AND verified_at < :until AND institution_id IS NOT NULL
    GROUP BY 1, 2, 3, 4, 5
""")


def count(session: Session, *, since: datetime, until: datetime) -> int:
    """Count the whole hours from `since`'s to `until`'s anew; how many rows they came to. Never commits.

    Two at once count one after the other.
    """
    hours = {"since": _hour(since), "until": _hour(until) + HOUR}
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext('ehc.usage'))"))
    session.execute(text("DELETE FROM usage_hour WHERE hour >= :since AND hour < :until"), hours)
    return typing_cast("CursorResult[Any]", session.execute(_COUNT, hours)).rowcount


def _hour(when: datetime) -> datetime:
    return when.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


@dataclass(frozen=True)
class Wanted:
    """What a summary is about: the hours from `since` to before `until`, grouped `by` columns, of what fits `only`."""

    since: datetime
    until: datetime
    by: Sequence[str]
    only: Mapping[str, str] = field(default_factory=dict)
    institutions: Collection[UUID] | None = None
    """None: all of them."""


_COLUMNS: dict[str, Any] = {
    "hour": UsageRow.hour,
    "day": cast(func.timezone("Asia/Shanghai", UsageRow.hour), Date),
    "institution": UsageRow.institution_id,
    "step": UsageRow.step,
    "channel": UsageRow.channel,
    "outcome": UsageRow.outcome,
}
GROUPS = tuple(_COLUMNS)
"""By which checks can be told apart; a day is one of China's."""
FILTERS = ("step", "channel", "outcome")


def summary(session: Session, wanted: Wanted) -> list[dict[str, Any]]:
    """The sums of each group, ordered by the groups; one more than `MOST_GROUPS` where there are too many."""
    columns = [_COLUMNS[name].label(name) for name in wanted.by]
    asked = select(*columns, func.sum(UsageRow.checks).label("checks"))
    asked = asked.where(UsageRow.hour >= wanted.since, UsageRow.hour < wanted.until)
    for name, value in wanted.only.items():
        asked = asked.where(_COLUMNS[name] == value)
    if wanted.institutions is not None:
        here = literal(list(wanted.institutions), ARRAY(Uuid))  # one parameter, however many there are
        asked = asked.where(UsageRow.institution_id == any_(here))
    grouped = asked.group_by(*columns).order_by(*columns).limit(MOST_GROUPS + 1)
    return [
        {**{name: row[name] for name in wanted.by}, "checks": int(row["checks"])}
        for row in session.execute(grouped).mappings()
        if row["checks"]
    ]
