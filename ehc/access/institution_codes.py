"""The codes of an institution elsewhere: added, ended, kept for ever. Nothing here commits."""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ehc import audit
from ehc.access import institutions
from ehc.access.institution_models import InstitutionCodeRow
from ehc.access.institutions import Acting
from ehc.access.models import InstitutionRow
from ehc.clock import local_day
from ehc.core.institution_codes import CodeKind, read_code
from ehc.errors import EhcError, InvalidValue, Text


class NoSuchCode(EhcError):
    """The institution has no such code."""

    code = "institution-code-not-found"


def add(
    session: Session,
    who: Acting,
    institution_id: UUID,
    kind: CodeKind,
    code: str,
    *,
    valid_from: date | None = None,
    now: datetime,
) -> InstitutionCodeRow:
    """Add a code, valid from a day that is not to come. Raises `CodeInUse`, `WrongState`, `InvalidValue`.

    A code that another institution is known by here stays that one's, also when it has ended there.
    """
    row = institutions.locked(session, who, institution_id)
    institutions.require_open(row)
    made = institutions.code_row(row.id, kind, read_code(kind, code), now=now)
    made.valid_from = _past(valid_from, "/valid_from", now=now)
    others = select(InstitutionRow.id).where(InstitutionRow.code == made.code, InstitutionRow.id != row.id)
    if session.scalars(others).first() is not None:
        raise institutions.code_in_use()
    try:
        with session.begin_nested():
            session.add(made)
    except IntegrityError:
        raise institutions.code_in_use() from None
    _note(session, who, row, "institution.code-added", made, now=now)
    return made


def end(
    session: Session,
    who: Acting,
    institution_id: UUID,
    code_id: UUID,
    *,
    valid_until: date | None = None,
    now: datetime,
) -> InstitutionCodeRow:
    """End a code on a day that is not to come; ended already is ended. Raises `NoSuchCode`, `InvalidValue`."""
    row = institutions.locked(session, who, institution_id)
    wanted = (InstitutionCodeRow.id == code_id) & (InstitutionCodeRow.institution_id == row.id)
    found = session.scalars(select(InstitutionCodeRow).where(wanted)).one_or_none()
    if found is None:
        raise NoSuchCode(Text("该机构没有这个代码。", "The institution has no such code."))
    if found.valid_until is None:
        last = _past(valid_until, "/valid_until", now=now)
        if last < found.valid_from:
            message = Text("结束日期不能早于开始日期。", "It cannot end before it began.")
            raise InvalidValue.at("/valid_until", "date-order", message)
        found.valid_until = last
        _note(session, who, row, "institution.code-ended", found, now=now)
    return found


def of(session: Session, institution_id: UUID) -> Sequence[InstitutionCodeRow]:
    """All codes an institution has and had, newest first."""
    mine = select(InstitutionCodeRow).where(InstitutionCodeRow.institution_id == institution_id)
    return session.scalars(mine.order_by(InstitutionCodeRow.valid_from.desc(), InstitutionCodeRow.id.desc())).all()


def _past(day: date | None, pointer: str, *, now: datetime) -> date:
    today = local_day(now)
    if day is not None and day > today:
        raise InvalidValue.at(pointer, "date-future", Text("日期不能晚于今天。", "The day cannot lie in the future."))
    return day or today


def _note(
    session: Session, who: Acting, row: InstitutionRow, action: str, code: InstitutionCodeRow, *, now: datetime
) -> None:
    row.version += 1
    session.flush()
    facts = {
        "kind": code.kind,
        "code": code.code,
        "valid_from": code.valid_from.isoformat(),
        "valid_until": code.valid_until.isoformat() if code.valid_until else None,
    }
    audit.record(session, action, actor=who.actor, subject=str(row.id), at=now, facts=facts)
