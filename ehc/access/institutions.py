"""Institutions (接入机构): made, changed, suspended and closed within the branch of whoever acts. Nothing here commits.

A change locks the institution, within the branch: so one that was moved out of it meanwhile is not there any more, and of two
who change the same version the second is told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, exists, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ehc import audit
from ehc.access import regions
from ehc.access.branches import covers, no_such_institution, prefix_of, within
from ehc.access.institution_models import InstitutionCodeRow
from ehc.access.models import InstitutionRow
from ehc.callers import Branch
from ehc.cards.store import StaleVersion
from ehc.clock import local_day
from ehc.core.ids import uuid7
from ehc.core.institution_codes import CodeKind
from ehc.crypto.sealed import Sealer
from ehc.errors import EhcError, InvalidValue, Text

KINDS: Mapping[str, Text] = {
    "hospital": Text("医院", "hospital"),
    "community-centre": Text("社区卫生服务中心（站）", "community health centre"),
    "township-centre": Text("乡镇卫生院", "township health centre"),
    "village-room": Text("村卫生室", "village health room"),
    "clinic": Text("门诊部、诊所", "clinic"),
    "maternal-child": Text("妇幼保健机构", "maternal and child health institution"),
    "public-health": Text("专业公共卫生机构", "public health institution"),
    "pharmacy": Text("药店", "pharmacy"),
    "other": Text("其他", "other"),
}
LIVE, SUSPENDED, CLOSED = "live", "suspended", "closed"
STATES = (LIVE, SUSPENDED, CLOSED)
MOVES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "suspend": ((LIVE,), SUSPENDED),
    "resume": ((SUSPENDED,), LIVE),
    "close": ((LIVE, SUSPENDED), CLOSED),
}
"""By name: from which states, and to which. What is closed stays closed."""
CONTACTS = ("name", "phone", "email", "address")


class CodeInUse(EhcError):
    """Another institution has this code, or this one has another live code of the kind."""

    code = "institution-code-in-use"


class WrongState(EhcError):
    """The institution is closed, or in a state from which this move does not lead."""

    code = "institution-state"


@dataclass(frozen=True)
class Acting:
    """Who acts, for the audit log, and where they may."""

    actor: str
    branch: Branch


OPERATOR = Acting("operator", Branch())
"""Whoever runs the machines, at the command line."""


@dataclass(frozen=True)
class Filter:
    """Which institutions are wanted; None is any. `region` means all below it."""

    region: str | None = None
    kind: str | None = None
    state: str | None = None
    name: str | None = None
    code: str | None = None


def contacts_place(institution_id: UUID) -> str:
    """Where contacts are sealed."""
    return f"institution.contacts:{institution_id}"


def add(
    session: Session,
    who: Acting,
    *,
    name: str,
    kind: str,
    region: str | None,
    codes: Sequence[tuple[CodeKind, str]],
    contacts: Mapping[str, str] | None = None,
    sealer: Sealer | None = None,
    now: datetime,
) -> InstitutionRow:
    """Add an institution with its codes as `read_code` gives them; the first is the one it is known by here for good.

    Raises `CodeInUse`, or `InvalidValue` for a region outside the branch.
    """
    _require_covered(session, who, region)
    row = InstitutionRow(id=uuid7(now), code=codes[0][1], name=name, kind=kind, region=region, created_at=now)
    row.contacts = _sealed(row.id, contacts, sealer)
    held = select(InstitutionRow.id).where(InstitutionRow.code.in_({code for _, code in codes}))
    if len({kind for kind, _ in codes}) != len(codes) or session.scalars(held).first() is not None:
        raise code_in_use()
    try:
        with session.begin_nested():
            session.add(row)
            session.flush()
            session.add_all(code_row(row.id, *code, now=now) for code in codes)
    except IntegrityError:
        raise code_in_use() from None
    facts = {"after": told(row) | {"codes": [f"{kind}:{code}" for kind, code in codes]}}
    audit.record(session, "institution.added", actor=who.actor, subject=str(row.id), at=now, facts=facts)
    return row


def change(
    session: Session,
    who: Acting,
    institution_id: UUID,
    changes: Mapping[str, Any],
    *,
    version: int | None,
    sealer: Sealer | None = None,
    now: datetime,
) -> InstitutionRow:
    """Change name, kind, region or contacts; what is the same is no change. Static codes are allowed or not here too.

    Raises `NoSuchInstitution`, `WrongState`, `StaleVersion`, or `InvalidValue` for a region outside the branch.
    """
    row = locked(session, who, institution_id, version=version)
    require_open(row)
    if "region" in changes and changes["region"] != row.region:
        _require_covered(session, who, changes["region"])
    before, contacts = told(row), row.contacts
    for name in ("name", "kind", "region", "static_allowed"):
        setattr(row, name, changes.get(name, getattr(row, name)))
    if "contacts" in changes and changes["contacts"] != opened(row, sealer):
        row.contacts = _sealed(row.id, changes["contacts"], sealer)
    changed = {name for name, value in told(row).items() if before[name] != value}
    if changed or contacts != row.contacts:
        row.version += 1
        after = told(row)
        facts: dict[str, Any] = {"before": {n: before[n] for n in changed}, "after": {n: after[n] for n in changed}}
        if contacts != row.contacts:
            facts["contacts"] = "changed" if row.contacts else "removed"
        audit.record(session, "institution.changed", actor=who.actor, subject=str(row.id), at=now, facts=facts)
    session.flush()
    return row


def move(
    session: Session, who: Acting, institution_id: UUID, name: str, *, reason: str, now: datetime
) -> InstitutionRow:
    """Suspend, resume or close an institution: `name` is one of `MOVES`. Done already is done.

    Terminals of one that is not live get no token, and those they hold stop within ten seconds. Raises `WrongState`.
    """
    old, new = MOVES[name]
    row = locked(session, who, institution_id)
    if row.state == new:
        return row
    if row.state not in old:
        raise wrong_state()
    facts = {"before": {"state": row.state}, "after": {"state": new}, "reason": reason}
    row.state, row.version = new, row.version + 1
    action = {"suspend": "institution.suspended", "resume": "institution.resumed", "close": "institution.closed"}[name]
    audit.record(session, action, actor=who.actor, subject=str(row.id), at=now, facts=facts)
    session.flush()
    return row


def listed(
    session: Session, branch: Branch, wanted: Filter, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[InstitutionRow]:
    """The institutions of a branch, newest first, and one more than `limit` if there are more."""
    found = select(InstitutionRow).where(within(branch), *_conditions(wanted))
    if after is not None:
        found = found.where(tuple_(InstitutionRow.created_at, InstitutionRow.id) < tuple_(*after))
    found = found.order_by(InstitutionRow.created_at.desc(), InstitutionRow.id.desc()).limit(limit + 1)
    return list(session.scalars(found))


def locked(session: Session, who: Acting, institution_id: UUID, *, version: int | None = None) -> InstitutionRow:
    """The institution, held until the transaction ends. Raises `NoSuchInstitution`, or `StaleVersion`."""
    wanted = select(InstitutionRow).where(InstitutionRow.id == institution_id, within(who.branch))
    fresh = wanted.with_for_update(of=InstitutionRow).execution_options(populate_existing=True)
    row = session.scalars(fresh).one_or_none()
    if row is None:
        raise no_such_institution()
    if version is not None and row.version != version:
        raise changed_since()
    return row


def is_live(session: Session, institution_id: UUID) -> bool:
    """Whether what belongs to an institution may call, and its staff be let in."""
    return session.scalar(select(InstitutionRow.state).where(InstitutionRow.id == institution_id)) == LIVE


def told(row: InstitutionRow) -> dict[str, Any]:
    """What the audit log is told of an institution; nothing of its contacts."""
    return {"name": row.name, "kind": row.kind, "region": row.region, "static_allowed": bool(row.static_allowed)}


def opened(row: InstitutionRow, sealer: Sealer | None) -> dict[str, str]:
    """The contacts in clear; empty where there are none."""
    if row.contacts is None or sealer is None:
        return {}
    found: dict[str, str] = orjson.loads(sealer.unseal(row.contacts, contacts_place(row.id)))
    return found


def code_row(institution_id: UUID, kind: CodeKind, code: str, *, now: datetime) -> InstitutionCodeRow:
    """A code that is valid from today on."""
    today = local_day(now)
    return InstitutionCodeRow(id=uuid7(now), institution_id=institution_id, kind=kind, code=code, valid_from=today)


def require_open(row: InstitutionRow) -> None:
    """Raises `WrongState` for an institution that is closed."""
    if row.state == CLOSED:
        raise wrong_state()


def wrong_state() -> WrongState:
    """The refusal of a move or change that the state does not allow."""
    return WrongState(
        Text(
            "机构当前状态不允许此操作；已关闭的机构不能再变更。",
            "The institution's state does not allow this. What is closed stays closed.",
        )
    )


def changed_since() -> StaleVersion:
    """The refusal of a change to another version than the present one."""
    return StaleVersion(Text("内容已被他人修改，请重新读取后再改。", "Changed meanwhile. Read it again first."))


def code_in_use() -> CodeInUse:
    """The refusal of a code."""
    return CodeInUse(
        Text(
            "该代码已属于另一机构，或本机构已有同类有效代码，请先停用原代码。",
            "Another institution has this code, or this one has a live code of the same kind: end that first.",
        )
    )


def _require_covered(session: Session, who: Acting, region: str | None) -> None:
    if region is not None:
        regions.require_region(session, region)
    if not covers(who.branch, region):
        message = Text("该行政区划不在您的管辖范围内。", "This region is outside your branch.")
        raise InvalidValue.at("/region", "outside-branch", message)


def _sealed(institution_id: UUID, contacts: Mapping[str, str] | None, sealer: Sealer | None) -> bytes | None:
    kept = {name: contacts[name] for name in CONTACTS if contacts.get(name)} if contacts else {}
    if not kept or sealer is None:
        return None
    return sealer.seal(orjson.dumps(kept).decode(), contacts_place(institution_id))


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.region is not None:
        conditions.append(InstitutionRow.region.startswith(prefix_of(wanted.region), autoescape=True))
    if wanted.kind is not None:
        conditions.append(InstitutionRow.kind == wanted.kind)
    if wanted.state is not None:
        conditions.append(InstitutionRow.state == wanted.state)
    if wanted.name is not None:
        conditions.append(InstitutionRow.name.contains(wanted.name, autoescape=True))
    if wanted.code is not None:
        live = (InstitutionCodeRow.institution_id == InstitutionRow.id) & InstitutionCodeRow.valid_until.is_(None)
        conditions.append(exists().where(live, InstitutionCodeRow.code == wanted.code))
    return conditions
