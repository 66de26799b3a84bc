"""The regions that institutions lie in. Nothing here commits."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc import audit
from ehc.access.branches import prefix_of
from ehc.access.institution_models import RegionRow
from ehc.access.models import InstitutionRow
from ehc.callers import Branch
from ehc.core import tables
from ehc.errors import EhcError, InvalidValue, Text


class NoSuchRegion(EhcError):
    """There is no such region in the branch of whoever asks."""

    code = "region-not-found"


@dataclass(frozen=True)
class Loaded:
    """What a loading changed: codes that are new, have another name, and are no more."""

    added: Sequence[str]
    renamed: Sequence[str]
    retired: Sequence[str]


def listed(session: Session, branch: Branch, *, parent: str | None) -> list[RegionRow]:
    """The regions right below one; without one the provinces, or where the branch begins. Raises `NoSuchRegion`."""
    top = _top(session, branch)
    if parent is None:
        mine = RegionRow.parent.is_(None) if top is None else RegionRow.code == top
    elif session.get(RegionRow, parent) is None or not (top is None or parent.startswith(prefix_of(top))):
        raise NoSuchRegion(Text("没有这个行政区划。", "There is no such region."))
    else:
        mine = RegionRow.parent == parent
    wanted = select(RegionRow).where(mine, RegionRow.retired_at.is_(None)).order_by(RegionRow.code)
    return list(session.scalars(wanted))


def require_region(session: Session, code: str, *, pointer: str = "/region") -> RegionRow:
    """A region where institutions may be put. Raises `InvalidValue` for one that is not there, or no more."""
    row = session.get(RegionRow, code)
    if row is None or row.retired_at is not None:
        message = Text(
            "行政区划代码不存在或已撤销，请用现行的 6 位代码（GB/T 2260）。",
            "No region has this code now. Use the six digits of GB/T 2260.",
        )
        raise InvalidValue.at(pointer, "unknown-region", message)
    return row


def names(session: Session, codes: set[str | None]) -> dict[str | None, str]:
    """Names by code, of retired ones too."""
    rows = session.execute(select(RegionRow.code, RegionRow.name).where(RegionRow.code.in_(codes - {None})))
    return {row.code: row.name for row in rows}


def load(session: Session, *, actor: str, now: datetime) -> Loaded:
    """Make the table as the data file of this release is. What the file has no more is retired, never deleted."""
    told = tables.regions()
    held = {row.code: row for row in session.scalars(select(RegionRow).with_for_update())}
    renamed = [code for code, row in held.items() if code in told and row.name != told[code].name_zh]
    returned = [code for code, row in held.items() if code in told and row.retired_at is not None]
    retired = [code for code, row in held.items() if code not in told and row.retired_at is None]
    added = [code for code in told if code not in held]
    for code in added:
        region = told[code]
        session.add(RegionRow(code=code, name=region.name_zh, level=region.level, parent=region.parent))
        session.flush()
    for code in {*renamed, *returned}:
        held[code].name, held[code].retired_at = told[code].name_zh, None
    for code in retired:
        held[code].retired_at = now
    session.flush()
    loaded = Loaded(sorted([*added, *returned]), sorted(renamed), sorted(retired))
    if added or renamed or returned or retired:
        audit.record(session, "regions.loaded", actor=actor, subject="regions", at=now, facts=vars(loaded))
    return loaded


def _top(session: Session, branch: Branch) -> str | None:
    """The region that a branch begins with. Raises `NoSuchRegion` for an institution without one."""
    if branch.institution_id is None:
        return branch.region
    found = session.scalar(
        select(InstitutionRow.region).where(
            InstitutionRow.id == branch.institution_id, InstitutionRow.region.is_not(None)
        )
    )
    if found is None:
        raise NoSuchRegion(Text("本机构尚未设置行政区划。", "Your institution has no region yet."))
    return found
