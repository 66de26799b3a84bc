"""Who does something to an account of the staff, and from where, as the audit log tells it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from ehc import audit
from ehc.access.roles import rights_of
from ehc.access.staff_models import StaffRow
from ehc.callers import Right, Role, Staff
from ehc.errors import EhcError, Text

NOBODY = "nobody"
"""The actor of what somebody did who had not proved who they are."""


class NoSuchStaff(EhcError):
    """Nobody of the staff by this id or login."""

    code = "staff-not-found"


class OwnAccount(EhcError):
    """Nobody does this to their own account."""

    code = "own-account"


class LastOfTheirRole(EhcError):
    """The platform would be without a system, security or audit administrator."""

    code = "last-administrator"


@dataclass(frozen=True)
class By:
    """Who acts: one of the staff, or an operator at the command line. `source` is a keyed hash of their address."""

    actor: str
    id: UUID | None = None
    source: str | None = None

    @classmethod
    def staff(cls, who: Staff, source: str) -> "By":
        """Somebody who is logged in."""
        return cls(who.actor, who.id, source)


OPERATOR = By("operator")


def note(session: Session, action: str, subject: UUID | str, *, by: By, at: datetime, **facts: Any) -> None:
    """Record an act, with where it came from."""
    told = facts | ({"from": by.source} if by.source else {})
    audit.record(session, action, actor=by.actor, subject=str(subject), at=at, facts=told)


def locked(session: Session, staff_id: UUID) -> StaffRow:
    """An account, held until the transaction ends. Raises `NoSuchStaff`."""
    row = session.get(StaffRow, staff_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise no_such_staff()
    return row


def entitled(session: Session, staff_id: UUID, right: Right) -> bool:
    """Whether somebody of the staff holds a right now."""
    person = session.get(StaffRow, staff_id, populate_existing=True)
    if person is None or person.disabled_at is not None or person.limited:
        return False
    return right in rights_of(map(Role, person.roles))


def found(session: Session, staff_id: UUID) -> StaffRow:
    """An account, to be read. Raises `NoSuchStaff`."""
    row = session.get(StaffRow, staff_id)
    if row is None:
        raise no_such_staff()
    return row


def require_other(row: StaffRow, by: By) -> None:
    """Raises `OwnAccount` for one's own account."""
    if row.id == by.id:
        raise OwnAccount(
            Text("不能对本人账户执行此操作，请由他人办理。", "Nobody does this to their own account. Ask a colleague.")
        )


def no_such_staff() -> NoSuchStaff:
    """The answer for an unknown id or login."""
    return NoSuchStaff(Text("没有这个工作人员账户。", "There is no such account."))
