"""The demo's administrators. Their accounts are marked: a service that is not the demo lets none of them in."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc.access import own_account, second_factors, staff_accounts, totp
from ehc.access.passwords import Hasher
from ehc.access.staff_accounts import Handed
from ehc.access.staff_acts import OPERATOR, By, note
from ehc.access.staff_login_models import StaffPasswordRow, StaffTotpRow
from ehc.access.staff_models import StaffRow
from ehc.callers import Role
from ehc.clock import Clock
from ehc.db import UnitOfWork
from ehc.keystore.secret_keys import Secrets

PROPOSER, APPROVER = "demo-security", "demo-security-2"
"""The two whom an act that takes two people can be tried with."""
_WHO = {
    "admin": (Role.SYSTEM_ADMIN, "demo-system", "示范系统管理员"),
    "security_admin": (Role.SECURITY_ADMIN, PROPOSER, "示范安全管理员"),
    "second_security_admin": (Role.SECURITY_ADMIN, APPROVER, "示范安全管理员二"),
    "audit_admin": (Role.AUDIT_ADMIN, "demo-audit", "示范审计管理员"),
}


def administrators(
    work: UnitOfWork, kept: dict[str, Any], *, clock: Clock, secrets: Callable[[Session], Secrets]
) -> dict[str, dict[str, str]]:
    """What each logs in with: what the file still knows, if it is right; else a new password and secret."""
    hasher = Hasher()
    return {
        member: _administrator(work, kept.get(member, {}), *facts, hasher=hasher, clock=clock, secrets=secrets)
        for member, facts in _WHO.items()
    }


def _administrator(
    work: UnitOfWork, kept: dict[str, str], role: Role, login: str, name: str, *,
    hasher: Hasher, clock: Clock, secrets: Callable[[Session], Secrets],
) -> dict[str, str]:  # fmt: skip
    if _is_right(work, kept, login, hasher, secrets):
        return kept
    handed, now = Handed.new(hasher), clock.now()
    with work() as session:
        sealer = secrets(session).sealer
        row = session.scalars(select(StaffRow).where(StaffRow.login == login)).one_or_none()
        if row is None:
            make = _second if login == APPROVER else staff_accounts.first_admin
            row = make(session, role, login, name, handed, sealer=sealer, by=OPERATOR, now=now, demo=True)
        second_factors.remove_all(session, row)
        secret = second_factors.begin_totp(session, row, sealer=sealer, now=now)
        earlier = now - timedelta(hours=1)  # so that the present code is still to be used
        code = totp.code(secret, totp.step_at(earlier))
        second_factors.confirm_totp(session, row, code, sealer=sealer, now=earlier)
        own_account.keep(session, row, handed.hash, must_change=False, expires_at=None, now=now)
        second_factors.settle(session, row, now=now)
    return {"login": login, "password": handed.password, "totp_secret": secret}


def _second(session: Session, role: Role, *facts: Any, by: By, now: datetime, **more: Any) -> StaffRow:
    """One more of a role, without the grant that it takes two people to make elsewhere."""
    row = staff_accounts.create(session, *facts, by=by, now=now, **more)
    row.roles = [role.value]
    session.flush()
    note(session, "staff.demo-administrator", row.id, by=by, at=now, roles=row.roles)
    return row


def _is_right(
    work: UnitOfWork, kept: dict[str, str], login: str, hasher: Hasher, secrets: Callable[[Session], Secrets]
) -> bool:
    if kept.keys() != {"login", "password", "totp_secret"} or kept["login"] != login:
        return False
    with work() as session:
        row = session.scalars(select(StaffRow).where(StaffRow.login == login, StaffRow.demo)).one_or_none()
        if row is None or row.limited or row.disabled_at is not None:
            return False
        newest = StaffPasswordRow.created_at.desc(), StaffPasswordRow.id.desc()
        mine = select(StaffPasswordRow.hash).where(StaffPasswordRow.staff_id == row.id).order_by(*newest)
        hashed = session.scalars(mine.limit(1)).one_or_none()
        held = session.scalars(select(StaffTotpRow).where(StaffTotpRow.staff_id == row.id)).first()
        sealer = secrets(session).sealer
        secret = sealer.unseal(held.secret, f"staff_totp.secret:{held.id}") if held is not None else None
    return secret == kept["totp_secret"] and hasher.matches(hashed, kept["password"])
