"""How much the service is used, as the staff of a branch may know it: sums of `usage_hour`, grouped and filtered.

The region is the institution's own, now: one that was moved counts, with all its past, where it is. A count of fewer than 5
checks could point at a person; it is told to the institution's own staff alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from ehc.access.branches import prefix_of, within
from ehc.access.models import InstitutionRow
from ehc.access.usage_models import UsageHourRow, UsageRunRow, UsageTouchedRow
from ehc.callers import Branch
from ehc.errors import EhcError, Text

SMALL = 5
"""A count below this is withheld from staff of more than the institution."""
MOST = 2000
"""Rows of an answer."""

_DAY = func.date(func.timezone("Asia/Shanghai", UsageHourRow.hour))
GROUPS: dict[str, ColumnElement[Any]] = {
    "region": InstitutionRow.region.expression,
    "institution": UsageHourRow.institution_id.expression,
    "step": UsageHourRow.step.expression,
    "channel": UsageHourRow.channel.expression,
    "day": _DAY,
    "hour": UsageHourRow.hour.expression,
    "outcome": UsageHourRow.outcome.expression,
}
"""By what counts may be grouped. A day is one of China's calendar."""


class TooManyCounts(EhcError):
    """The answer would have more rows than an answer may."""

    code = "too-many-counts"


@dataclass(frozen=True)
class Question:
    """What is asked: whole hours, from the first to before the last, and what the counts have in common."""

    since: datetime
    until: datetime
    groups: Sequence[str] = ()
    region: str | None = None
    institution_id: UUID | None = None
    like: dict[str, str] = field(default_factory=dict)
    """Of `step`, `channel` and `outcome`."""

    def told(self) -> dict[str, Any]:
        """What the audit log keeps of it."""
        place = {"region": self.region, "institution_id": self.institution_id and str(self.institution_id)}
        only = {name: value for name, value in place.items() if value is not None} | self.like
        bounds = {"since": self.since.isoformat(), "until": self.until.isoformat()}
        return bounds | {"by": list(self.groups), "only": only}


@dataclass(frozen=True)
class Count:
    """One sum. `checks` None: there are some, and fewer than `SMALL`."""

    of: dict[str, Any]
    checks: int | None


def summary(session: Session, branch: Branch, wanted: Question) -> list[Count]:
    """The sums, in the order of their groups. Raises `TooManyCounts`.

    What lies outside the branch is not there. Checks by apps belong to no institution: the whole tree's staff see them.
    """
    columns = [GROUPS[name].label(name) for name in wanted.groups]
    asked = select(*columns, func.sum(UsageHourRow.checks).label("checks")).select_from(UsageHourRow)
    asked = asked.outerjoin(InstitutionRow, InstitutionRow.id == UsageHourRow.institution_id)
    asked = asked.where(within(branch), *_conditions(wanted))
    asked = asked.group_by(*columns).order_by(*columns) if columns else asked
    rows = session.execute(asked.limit(MOST + 1)).all()
    if len(rows) > MOST:
        raise TooManyCounts(
            Text(
                f"结果超过 {MOST} 行，请缩短时间或减少分组。",
                f"The answer would have more than {MOST} rows. Ask for less time, or group by less.",
            )
        )
    open_to_all = branch.institution_id is not None
    return [
        Count(dict(zip(wanted.groups, row[:-1], strict=True)), _told(int(row[-1]), whole=open_to_all))
        for row in rows
        if row[-1] is not None
    ]


def counted_at(session: Session) -> datetime | None:
    """When the last run looked. None where none did, or while hours that it found still wait."""
    waits = select(UsageTouchedRow.id).exists()
    return session.scalar(select(func.max(UsageRunRow.at)).where(~waits))


def _told(checks: int, *, whole: bool) -> int | None:
    return checks if whole or checks >= SMALL else None


def _conditions(wanted: Question) -> list[ColumnElement[bool]]:
    found = [UsageHourRow.hour >= wanted.since, UsageHourRow.hour < wanted.until]
    if wanted.region is not None:
        found.append(InstitutionRow.region.startswith(prefix_of(wanted.region), autoescape=True))
    if wanted.institution_id is not None:
        found.append(InstitutionRow.id == wanted.institution_id)
    return found + [GROUPS[name] == value for name, value in wanted.like.items()]
