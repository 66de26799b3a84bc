"""Accounts of the staff: made, renamed, disabled, enabled, reset. Nothing here commits.

An account is made without roles (`staff_roles` has how they come). Whoever resets or enables one takes its roles out of effect:
they wait, proposed, until a security administrator has granted them again to the person who has set the account up. Else
whoever resets could log in as somebody powerful.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select, text, tuple_
from sqlalchemy.orm import Session

from ehc.access import log_ins, own_account, passwords, second_factors, staff_roles, staff_sessions, tries
from ehc.access.passwords import Hasher
from ehc.access.staff_acts import By, locked, no_such_staff, note, require_other
from ehc.access.staff_models import StaffRow
from ehc.callers import Role
from ehc.core.ids import uuid7
from ehc.crypto.sealed import BlindIndex, Sealer
from ehc.errors import EhcError, InvalidValue, Text

INITIAL_LIFE = timedelta(days=7)
"""How long a password may be used that somebody else made."""
LOGIN = re.compile(r"[a-z][a-z0-9._-]{2,39}")


class LoginTaken(EhcError):
    """There is an account with this login."""

    code = "login-taken"


class StaffState(EhcError):
    """The state of the account does not allow this."""

    code = "staff-state"


class StaffChanged(EhcError):
    """The account changed since it was read."""

    code = "staff-changed"


class AdministratorExists(EhcError):
    """There is somebody in this role; they, or a reset, make the next."""

    code = "administrator-exists"


@dataclass(frozen=True)
class Handed:
    """A first password, to be handed to its person. It is told once; only its hash is kept."""

    password: str
    hash: str

    @classmethod
    def new(cls, hasher: Hasher) -> "Handed":
        """A new one. Takes as long as a log-in: not in a transaction."""
        password = passwords.initial()
        return cls(password, hasher.hash(password))


def create(
    session: Session,
    login: str,
    name: str,
    handed: Handed,
    *,
    sealer: Sealer,
    by: By,
    now: datetime,
    demo: bool = False,
) -> StaffRow:
    """Make an account, without roles. Raises `InvalidValue`, `LoginTaken`."""
    if not LOGIN.fullmatch(login):
        sentence = Text(
            "登录名为 3 到 40 个字符：小写字母开头，其余为小写字母、数字或 ._-。",
            "A login is 3 to 40 characters: a small letter, then small letters, digits or ._-",
        )
        raise InvalidValue.at("/login", "login", sentence)
    _one_at_a_time(session, f"login:{login}")
    if session.scalar(select(StaffRow.id).where(StaffRow.login == login)) is not None:
        raise LoginTaken(Text("该登录名已被使用。", "There is an account with this login."))
    staff_id = uuid7(now)
    row = StaffRow(
        id=staff_id, login=login, name=sealer.seal(name, _name_place(staff_id)), roles=[], demo=demo, created_at=now
    )
    session.add(row)
    session.flush()
    _hand_over(session, row, handed, now)
    note(session, "staff.added", staff_id, by=by, at=now, login=login)
    return row


def first_admin(
    session: Session, role: Role, login: str, name: str, handed: Handed, *, sealer: Sealer, by: By, now: datetime,
    demo: bool = False,
) -> StaffRow:  # fmt: skip
    """The first system, security or audit administrator, with the role in effect. Raises `AdministratorExists`."""
    staff_roles.one_change_at_a_time(session)
    if session.scalar(select(StaffRow.id).where(StaffRow.roles.contains([role.value])).limit(1)) is not None:
        detail = Text(
            "已有此类管理员。请由系统管理员建立账户，再由安全管理员授予角色；或用 ehc staff reset 重置。",
            "There is one already. A system administrator makes the account, a security administrator grants the role; "
            "or use `ehc staff reset`.",
        )
        raise AdministratorExists(detail)
    row = create(session, login, name, handed, sealer=sealer, by=by, now=now, demo=demo)
    row.roles = [role.value]
    session.flush()
    note(session, "staff.first-administrator", row.id, by=by, at=now, roles=row.roles)
    return row


def rename(
    session: Session, staff_id: UUID, name: str, *, sealer: Sealer, version: int, by: By, now: datetime
) -> StaffRow:
    """Correct a name. Raises `NoSuchStaff`, `StaffChanged`, `OwnAccount`."""
    row = locked(session, staff_id)
    require_other(row, by)
    if row.version != version:
        raise StaffChanged(Text("账户已被修改，请重新读取。", "The account changed. Read it again."))
    row.name = sealer.seal(name, _name_place(row.id))
    changed(session, row)
    note(session, "staff.changed", row.id, by=by, at=now, changed=["name"])
    return row


def disable(
    session: Session, staff_id: UUID, *, reason: str, by: By, now: datetime, spare_last: bool = True
) -> StaffRow:
    """Stop an account: its sessions end at once. Raises `OwnAccount`, `LastOfTheirRole`, `StaffState`, `NoSuchStaff`."""
    staff_roles.one_change_at_a_time(session)
    row = locked(session, staff_id)
    require_other(row, by)
    if row.disabled_at is not None:
        raise StaffState(Text("该账户已停用。", "The account is disabled already."))
    if spare_last:
        staff_roles.require_successor(session, row)
    row.disabled_at = now
    changed(session, row)
    staff_sessions.end_sessions(session, row, now=now)
    note(session, "staff.disabled", row.id, by=by, at=now, reason=reason, before={"state": "live"}, roles=row.roles)
    return row


def enable(session: Session, staff_id: UUID, *, by: By, now: datetime, keep_roles: bool = False) -> StaffRow:
    """Let an account log in again; its roles wait to be granted anew. Raises `OwnAccount`, `StaffState`, `NoSuchStaff`."""
    staff_roles.one_change_at_a_time(session)
    row = locked(session, staff_id)
    require_other(row, by)
    if row.disabled_at is None:
        raise StaffState(Text("该账户未停用。", "The account is not disabled."))
    row.disabled_at = None
    before = list(row.roles)
    if not keep_roles:
        staff_roles.suspend(session, row, by=by, now=now)
    changed(session, row)
    note(session, "staff.enabled", row.id, by=by, at=now, before={"roles": before}, after={"roles": row.roles})
    return row


def reset(
    session: Session, staff_id: UUID, handed: Handed | None, *, second_factor: bool, by: By, now: datetime,
    keep_roles: bool = False,
) -> StaffRow:  # fmt: skip
    """Give somebody a new first password, or take their second factors away, or both.

    Their sessions end, their devices are strange again, and their roles wait to be granted anew unless `keep_roles`.
    Raises `OwnAccount`, `LastOfTheirRole`, `NoSuchStaff`.
    """
    staff_roles.one_change_at_a_time(session)
    row = locked(session, staff_id)
    require_other(row, by)
    before = list(row.roles)
    if not keep_roles:
        staff_roles.require_successor(session, row)
        staff_roles.suspend(session, row, by=by, now=now)
    if handed is not None:
        _hand_over(session, row, handed, now)
    if second_factor:
        second_factors.remove_all(session, row)
    row.set_up_at = None
    second_factors.settle(session, row, now=now)
    staff_sessions.end_sessions(session, row, now=now)
    log_ins.forget_devices(session, row)
    changed(session, row)
    facts = {"password": handed is not None, "second_factor": second_factor}
    note(session, "staff.reset", row.id, by=by, at=now, before={"roles": before}, after={"roles": row.roles}, **facts)
    return row


def unlock(session: Session, staff_id: UUID, *, blind_index: BlindIndex, by: By, now: datetime) -> tuple[StaffRow, str]:
    """Forget the wrong tries at an account, and make a device token to hand over, since strangers may try again at once.

    Raises `OwnAccount`, `NoSuchStaff`.
    """
    row = locked(session, staff_id)
    require_other(row, by)
    count = tries.forget(session, log_ins.login_subject(blind_index, row.login))
    count += tries.forget(session, log_ins.proof_subject(blind_index, row.id))
    token = log_ins.new_device(session, row, life=log_ins.UNLOCK_LIFE, now=now)
    note(session, "staff.unlocked", row.id, by=by, at=now, tries=count)
    return row, token


def by_login(session: Session, login: str) -> StaffRow:
    """The account of a login. Raises `NoSuchStaff`."""
    row = session.scalars(select(StaffRow).where(StaffRow.login == login)).one_or_none()
    if row is None:
        raise no_such_staff()
    return row


def page(session: Session, *, after: tuple[datetime, UUID] | None, limit: int) -> list[StaffRow]:
    """Accounts, the newest first; one more than `limit` where there are more."""
    wanted = select(StaffRow).order_by(StaffRow.created_at.desc(), StaffRow.id.desc()).limit(limit + 1)
    if after is not None:
        wanted = wanted.where(tuple_(StaffRow.created_at, StaffRow.id) < tuple_(*after))
    return list(session.scalars(wanted))


def changed(session: Session, row: StaffRow) -> None:
    """The account has a new version."""
    row.version += 1
    session.flush()


def name_of(row: StaffRow, sealer: Sealer) -> str:
    """The person's name."""
    return sealer.unseal(row.name, _name_place(row.id))


def _name_place(staff_id: UUID) -> str:
    return f"staff.name:{staff_id}"


def _hand_over(session: Session, row: StaffRow, handed: Handed, now: datetime) -> None:
    own_account.keep(session, row, handed.hash, must_change=True, expires_at=now + INITIAL_LIFE, now=now)
    second_factors.settle(session, row, now=now)


def _one_at_a_time(session: Session, what: str) -> None:
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:what, 0))"), {"what": f"staff:{what}"})
