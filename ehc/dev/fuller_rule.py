"""The demo's rule of disclosure for the hospital that works through the gateways: forms there are filled from the answer."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc.access.roles import rights_of
from ehc.access.staff_models import StaffRow
from ehc.approvals.kinds import Approved
from ehc.callers import Branch, Role, Staff
from ehc.clock import Clock
from ehc.core.ids import uuid7
from ehc.crypto.sealed import Sealer
from ehc.dev.administrators import APPROVER, PROPOSER
from ehc.disclosure import versions
from ehc.disclosure.fields import FORMS, word
from ehc.disclosure.table import Rule, Scope, shipped

_TOLD = frozenset(word(name, forms[-1]) for name, forms in FORMS.items())
"""Every field, in clear where there is such a form."""
_REASON = "接口切换示范：医院信息系统按验码结果填表。 The demo of a switch-over: a hospital's system fills its forms."


def tell_all_there(session: Session, institution_id: UUID, *, sealer: Sealer, clock: Clock) -> None:
    """Make the rule, as two of the demo's administrators would, unless the table is not as it was shipped any more."""
    if versions.newest(session) != 0:
        return
    rules = (*shipped().rules, Rule(Scope(institution_id), _TOLD, _REASON))
    approved = Approved(
        id=uuid7(clock.now()),
        arguments=versions.arguments(session, 0, rules),
        reason=_REASON,
        proposed_by=_id_of(session, PROPOSER),
        by=_approver(session),
        now=clock.now(),
    )
    versions.approval_kind(lambda: sealer).carry_out(session, approved)


def _approver(session: Session) -> Staff:
    held, roles = _id_of(session, APPROVER), frozenset({Role.SECURITY_ADMIN})
    return Staff(held, held, roles, rights_of(roles), Branch())


def _id_of(session: Session, login: str) -> UUID:
    return session.scalars(select(StaffRow.id).where(StaffRow.login == login)).one()
