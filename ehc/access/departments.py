"""Departments of an institution (科室): a tree of their own, each with its standard code where it has one. Never commits.

Whoever changes one holds the institution, so that two changes together cannot close a circle.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ehc import audit
from ehc.access import institutions
from ehc.access.institution_models import DepartmentRow
from ehc.access.institutions import Acting
from ehc.core import tables
from ehc.core.ids import uuid7
from ehc.errors import EhcError, InvalidValue, Text

MOST = 500
"""Live departments of one institution."""
DEEPEST = 5
FIELDS = ("name", "standard_code", "local_code", "parent_id")


class NoSuchDepartment(EhcError):
    """The institution has no such department, or no more."""

    code = "department-not-found"


class DepartmentRefused(EhcError):
    """A department with others below it, a local code that is taken, or too many departments."""

    code = "department-conflict"


def add(
    session: Session, who: Acting, institution_id: UUID, facts: Mapping[str, Any], *, now: datetime
) -> DepartmentRow:
    """Add a department: `facts` are `FIELDS`. Raises `DepartmentRefused`, `WrongState`, `InvalidValue`."""
    institutions.require_open(institutions.locked(session, who, institution_id))
    live = DepartmentRow.institution_id == institution_id, DepartmentRow.ended_at.is_(None)
    if (session.scalar(select(func.count()).where(*live)) or 0) >= MOST:
        raise DepartmentRefused(Text(f"科室最多 {MOST} 个。", f"An institution has at most {MOST} departments."))
    row = DepartmentRow(id=uuid7(now), institution_id=institution_id, created_at=now)
    _set(session, row, facts)
    session.add(row)
    _flush(session)
    audit.record(
        session,
        "department.added",
        actor=who.actor,
        subject=str(row.id),
        at=now,
        facts={"institution_id": str(institution_id), "after": told(row)},
    )
    return row


def change(
    session: Session,
    who: Acting,
    institution_id: UUID,
    department_id: UUID,
    changes: Mapping[str, Any],
    *,
    version: int | None,
    now: datetime,
) -> DepartmentRow:
    """Change a department. Raises `NoSuchDepartment`, `InstitutionChanged`, `DepartmentRefused`, `InvalidValue`."""
    institutions.require_open(institutions.locked(session, who, institution_id))
    row = one(session, institution_id, department_id)
    if version is not None and row.version != version:
        raise institutions.changed_since()
    before = told(row)
    _set(session, row, changes)
    after = told(row)
    if before != after:
        row.version += 1
        _flush(session)
        facts = {"institution_id": str(institution_id), "before": before, "after": after}
        audit.record(session, "department.changed", actor=who.actor, subject=str(row.id), at=now, facts=facts)
    return row


def end(session: Session, who: Acting, institution_id: UUID, department_id: UUID, *, now: datetime) -> None:
    """End a department. Raises `NoSuchDepartment`, or `DepartmentRefused` while there are others below it."""
    institutions.locked(session, who, institution_id)
    row = one(session, institution_id, department_id)
    below = (DepartmentRow.parent_id == row.id) & DepartmentRow.ended_at.is_(None)
    if session.scalars(select(DepartmentRow.id).where(below)).first() is not None:
        raise DepartmentRefused(
            Text("请先停用或移走其下级科室。", "There are departments below it. End or move those first.")
        )
    row.ended_at, row.version = now, row.version + 1
    session.flush()
    facts = {"institution_id": str(institution_id), "before": told(row)}
    audit.record(session, "department.ended", actor=who.actor, subject=str(row.id), at=now, facts=facts)


def one(session: Session, institution_id: UUID, department_id: UUID) -> DepartmentRow:
    """A live department of an institution. Raises `NoSuchDepartment`."""
    row = session.get(DepartmentRow, department_id, populate_existing=True)
    if row is None or row.institution_id != institution_id or row.ended_at is not None:
        raise NoSuchDepartment(Text("该机构没有这个科室。", "The institution has no such department."))
    return row


def of(session: Session, institution_id: UUID) -> Sequence[DepartmentRow]:
    """The live departments of an institution, oldest first."""
    live = DepartmentRow.institution_id == institution_id, DepartmentRow.ended_at.is_(None)
    return session.scalars(
        select(DepartmentRow).where(*live).order_by(DepartmentRow.created_at, DepartmentRow.id)
    ).all()


def told(row: DepartmentRow) -> dict[str, Any]:
    """What the audit log is told of a department."""
    return {
        "name": row.name,
        "standard_code": row.standard_code,
        "local_code": row.local_code,
        "parent_id": str(row.parent_id) if row.parent_id else None,
    }


def _set(session: Session, row: DepartmentRow, facts: Mapping[str, Any]) -> None:
    if facts.get("standard_code") is not None and facts["standard_code"] not in tables.departments():
        message = Text("标准科室代码不存在，请查阅标准科室代码表。", "Not one of the standard departments' codes.")
        raise InvalidValue.at("/standard_code", "unknown-department", message)
    if "parent_id" in facts:
        _require_above(session, row, facts["parent_id"])
    for name in FIELDS:
        if name in facts:
            setattr(row, name, facts[name])


def _require_above(session: Session, row: DepartmentRow, parent_id: UUID | None) -> None:
    """Raises `InvalidValue` for a parent elsewhere or ended, in a circle, or too deep."""
    above = {found.id: found.parent_id for found in of(session, row.institution_id)}
    steps, at = 0, parent_id
    while at is not None:
        steps += 1
        if at not in above or at == row.id:
            message = Text("上级科室应为本机构的其他有效科室。", "Above it stands another live department of the same.")
            raise InvalidValue.at("/parent_id", "unknown-parent", message)
        at = above[at]
    if steps + _height(above, row.id) > DEEPEST:
        message = Text(f"科室最多 {DEEPEST} 级。", f"Departments go {DEEPEST} levels deep at most.")
        raise InvalidValue.at("/parent_id", "too-deep", message)


def _height(above: Mapping[UUID, UUID | None], root: UUID) -> int:
    """How many levels a department and those below it take."""
    level, height = {root}, 0
    while level:
        height += 1
        level = {child for child, parent in above.items() if parent in level}
    return height


def _flush(session: Session) -> None:
    try:
        with session.begin_nested():
            session.flush()
    except IntegrityError:
        raise DepartmentRefused(
            Text("本机构已有同一本地编码的科室。", "A department with this local code is there already.")
        ) from None
