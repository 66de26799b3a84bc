"""How roles come into effect: one person proposes, another grants, and neither is whom they are for. Nothing here commits.

| act | who | asks for |
|---|---|---|
| propose | a system administrator | the account exists; it may be new |
| grant | a security administrator, not who proposed | the person has set the account up and says their confirmation code |
| refuse, revoke | a security administrator | alone: it makes nobody powerful |

The **confirmation code** (确认码) is shown to the person, in their own session, once they have changed the first password and
set up the second factor. The security administrator takes it from the person themselves, not from who made the account: a
system administrator who used the first password has another code than the person who comes.
"""

import hmac
from base64 import b32encode
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from ehc.access import regions
from ehc.access.models import InstitutionRow
from ehc.access.roles import APART, require_fitting
from ehc.access.staff_acts import By, LastOfTheirRole, entitled, locked, note, require_other
from ehc.access.staff_login_models import StaffGrantRow
from ehc.access.staff_models import StaffRow
from ehc.callers import Branch, Right, Role
from ehc.core.ids import uuid7
from ehc.crypto.sealed import BlindIndex
from ehc.errors import EhcError, InvalidValue, Text

GRANT_LIFE = timedelta(days=30)
"""How long a proposal may wait."""
_CODE_BYTES = 5


class NoSuchGrant(EhcError):
    """The account has no such proposal that is open."""

    code = "grant-not-found"


class GrantOpen(EhcError):
    """Roles were proposed for this account already, and nobody has decided."""

    code = "grant-open"


class TwoPeople(EhcError):
    """Who proposed does not grant."""

    code = "two-people"


class GrantOutdated(EhcError):
    """Who proposed may propose no more."""

    code = "grant-outdated"


class NotSetUp(EhcError):
    """The person has still to change the first password and to set up the second factor, or is disabled."""

    code = "account-not-set-up"


class WrongConfirmation(EhcError):
    """The confirmation code is not that of who set the account up."""

    code = "wrong-confirmation"


def confirmation(blind_index: BlindIndex, row: StaffRow) -> str | None:
    """The code by which a security administrator knows that the person before them set the account up."""
    if row.set_up_at is None:
        return None
    digest = blind_index.of("staff-confirmation", f"{row.id}:{row.set_up_at.timestamp():.6f}")
    return b32encode(digest[:_CODE_BYTES]).decode()


def propose(
    session: Session, staff_id: UUID, roles: frozenset[Role], branch: Branch, *, by: By, now: datetime
) -> StaffGrantRow:
    """Propose roles for somebody. Raises `OwnAccount`, `RolesApart`, `GrantOpen`, `InvalidValue`, `NoSuchStaff`."""
    require_fitting(roles, branch)
    row = locked(session, staff_id)
    require_other(row, by)
    if branch.region is not None:
        regions.require_region(session, branch.region, pointer="/branch/region")
    if branch.institution_id is not None and session.get(InstitutionRow, branch.institution_id) is None:
        raise InvalidValue.at(
            "/branch/institution_id", "unknown", Text("没有这个机构。", "There is no such institution.")
        )
    held = open_grant(session, row.id)
    if held is not None and now < held.proposed_at + GRANT_LIFE:
        raise GrantOpen(
            Text("该账户已有待授予的角色。", "Roles wait for this account already. Have them granted or refused first.")
        )
    if held is not None:
        _decide(session, held, "expired", by=None, now=now)
    made = _propose(session, row, roles, branch, by=by, now=now)
    note(session, "staff.roles-proposed", row.id, by=by, at=now, **_facts(row, roles, branch), grant=str(made.id))
    return made


def grant(
    session: Session, staff_id: UUID, grant_id: UUID, code: str, *, blind_index: BlindIndex, by: By, now: datetime
) -> StaffRow:
    """Let proposed roles take effect.

    Raises `OwnAccount`, `TwoPeople`, `GrantOutdated`, `NotSetUp`, `WrongConfirmation`, `RolesApart`, `LastOfTheirRole`,
    `NoSuchGrant`.
    """
    one_change_at_a_time(session)
    row, held = _held(session, staff_id, grant_id, by, now)
    if held.proposed_by == by.id:
        raise TwoPeople(Text("提出人不能自己授予，请由另一人办理。", "Who proposed does not grant. Ask a colleague."))
    if held.proposed_by is not None and not entitled(session, held.proposed_by, Right.STAFF_WRITE):
        raise GrantOutdated(
            Text(
                "提出人已无此权限，请驳回后由他人重新提出。",
                "Who proposed may propose no more. Refuse it, and have it proposed anew.",
            )
        )
    due = confirmation(blind_index, row)
    if due is None or row.limited or row.disabled_at is not None:
        raise NotSetUp(
            Text(
                "本人尚未修改初始密码并设置第二因素，或账户已停用。",
                "The person has still to change the first password and to set up the second factor, or is disabled.",
            )
        )
    if not hmac.compare_digest(due.encode(), code.strip().upper().encode()):
        raise WrongConfirmation(
            Text(
                "确认码不符，请当面向本人核对。", "Not this account's confirmation code. Ask the person, face to face."
            )
        )
    roles, branch = frozenset(map(Role, held.roles)), Branch(held.region, held.institution_id)
    require_fitting(roles, branch)
    if not set(row.roles) & APART <= roles:
        require_successor(session, row)
    facts = _facts(row, roles, branch)
    _decide(session, held, "granted", by=by.id, now=now)
    row.roles, row.region, row.institution_id = sorted(roles), branch.region, branch.institution_id
    row.version += 1
    session.flush()
    note(session, "staff.roles-granted", row.id, by=by, at=now, **facts, grant=str(held.id))
    return row


def refuse(session: Session, staff_id: UUID, grant_id: UUID, reason: str, *, by: By, now: datetime) -> StaffRow:
    """Turn a proposal down. Raises `OwnAccount`, `NoSuchGrant`, `NoSuchStaff`."""
    row, held = _held(session, staff_id, grant_id, by, now)
    _decide(session, held, "refused", by=by.id, now=now)
    note(session, "staff.roles-refused", row.id, by=by, at=now, grant=str(held.id), reason=reason)
    return row


def revoke(session: Session, staff_id: UUID, reason: str, *, by: By, now: datetime) -> StaffRow:
    """Take all roles from somebody, at once. Raises `OwnAccount`, `LastOfTheirRole`, `NoSuchStaff`."""
    one_change_at_a_time(session)
    row = locked(session, staff_id)
    require_other(row, by)
    require_successor(session, row)
    before = list(row.roles)
    row.roles, row.region, row.institution_id = [], None, None
    row.version += 1
    session.flush()
    note(
        session,
        "staff.roles-revoked",
        row.id,
        by=by,
        at=now,
        before={"roles": before},
        after={"roles": []},
        reason=reason,
    )
    return row


def suspend(session: Session, row: StaffRow, *, by: By, now: datetime) -> None:
    """Take somebody's roles out of effect: they wait, proposed, for a security administrator. Needs the account held."""
    if not row.roles:
        return
    held = open_grant(session, row.id)
    if held is not None:
        _decide(session, held, "replaced", by=None, now=now)
    _propose(session, row, frozenset(map(Role, row.roles)), Branch(row.region, row.institution_id), by=by, now=now)
    row.roles, row.region, row.institution_id = [], None, None
    session.flush()


def require_successor(session: Session, row: StaffRow) -> None:
    """Raises `LastOfTheirRole` where somebody is the last active system, security or audit administrator.

    Needs `one_change_at_a_time`. Whoever has still to set the account up does not count: they can do nothing.
    """
    for role in set(row.roles) & APART:
        others = StaffRow.id != row.id, StaffRow.disabled_at.is_(None), StaffRow.limited.is_(False)
        in_role = StaffRow.roles.contains([str(role)])
        if row.disabled_at is None and not session.scalar(select(func.count()).where(*others, in_role)):
            raise LastOfTheirRole(
                Text(
                    "这是最后一名此类管理员，请先另设一名。",
                    "This is the last administrator of this kind. Set up another one first.",
                )
            )


def open_grant(session: Session, staff_id: UUID) -> StaffGrantRow | None:
    """What was proposed for an account and waits."""
    waiting = StaffGrantRow.staff_id == staff_id, StaffGrantRow.decided_at.is_(None)
    return session.scalars(select(StaffGrantRow).where(*waiting)).one_or_none()


def open_grants(session: Session, staff_ids: set[UUID]) -> dict[UUID, StaffGrantRow]:
    """What waits for each of several accounts."""
    waiting = StaffGrantRow.staff_id.in_(staff_ids), StaffGrantRow.decided_at.is_(None)
    return {row.staff_id: row for row in session.scalars(select(StaffGrantRow).where(*waiting))}


def one_change_at_a_time(session: Session) -> None:
    """Whoever takes from, or gives to, an administrator waits for whoever does: so that the last one is known for that."""
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('staff:roles', 0))"))


def _held(session: Session, staff_id: UUID, grant_id: UUID, by: By, now: datetime) -> tuple[StaffRow, StaffGrantRow]:
    """The account, held, and its proposal."""
    row = locked(session, staff_id)
    require_other(row, by)
    held = open_grant(session, row.id)
    if held is None or held.id != grant_id or now >= held.proposed_at + GRANT_LIFE:
        raise NoSuchGrant(Text("没有这项待授予的角色。", "There is no such proposal that waits."))
    return row, held


def _propose(
    session: Session, row: StaffRow, roles: frozenset[Role], branch: Branch, *, by: By, now: datetime
) -> StaffGrantRow:
    made = StaffGrantRow(
        id=uuid7(now),
        staff_id=row.id,
        roles=sorted(roles),
        region=branch.region,
        institution_id=branch.institution_id,
        proposed_by=by.id,
        proposed_at=now,
    )
    session.add(made)
    session.flush()
    return made


def _decide(session: Session, held: StaffGrantRow, outcome: str, *, by: UUID | None, now: datetime) -> None:
    done = update(StaffGrantRow).where(StaffGrantRow.id == held.id)
    session.execute(done.values(outcome=outcome, decided_by=by, decided_at=now))
    session.flush()


def _facts(row: StaffRow, roles: frozenset[Role], branch: Branch) -> dict[str, object]:
    before = {"roles": list(row.roles), "region": row.region, "institution": _text(row.institution_id)}
    after = {"roles": sorted(roles), "region": branch.region, "institution": _text(branch.institution_id)}
    return {"before": before, "after": after}


def _text(found: UUID | None) -> str | None:
    return str(found) if found is not None else None
