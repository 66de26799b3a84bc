"""Accounts of the gateways as operators make and change them. Each act is audited. Nothing here commits.

An account is locked before anything of it changes, so that its secrets and places are changed one act at a time.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.errors import UniqueViolation
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ehc import audit
from ehc.access.apps import By, find
from ehc.access.models import InstitutionRow
from ehc.cards.store import StaleVersion
from ehc.core.ids import uuid7
from ehc.core.randomness import random_bytes
from ehc.crypto.sealed import Sealer
from ehc.errors import EhcError, InvalidValue, Text
from ehc.gateways import secrets
from ehc.gateways.accounts import LIVE, SUSPENDED
from ehc.gateways.kinds import PLACES, GatewayKind, PlaceKind, code_fits, name_fits
from ehc.gateways.models import AccountRow, PlaceRow
from ehc.gateways.secrets import NewSecret

SETTINGS = ("strict", "replay", "window_seconds")
"""What may be changed of an account, besides its state."""


class NoSuchAccount(EhcError):
    """No account with this id, or name."""

    code = "gateway-account-not-found"


class NameTaken(EhcError):
    """An account of the gateway is, or was, called so."""

    code = "gateway-name-taken"


class PlaceTaken(EhcError):
    """The account has this code already."""

    code = "gateway-place-taken"


class NoSuchPlace(EhcError):
    """The account has no such code now."""

    code = "gateway-place-not-found"


class WrongAccountState(EhcError):
    """The account is in that state already."""

    code = "gateway-account-state"


def add(
    session: Session,
    kind: GatewayKind,
    app_id: UUID,
    *,
    by: By,
    now: datetime,
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> AccountRow:
    """An account of an app, without a secret yet. `name` is its `userName`, or `appId`; one is made up where none is given.

    Raises `NoSuchApp`, `NameTaken`, or `InvalidValue` for a name that the interface cannot carry.
    """
    app = find(session, app_id)
    name = name or random_bytes(16).hex()
    if not name_fits(kind, name):
        raise InvalidValue.at(
            "/name",
            "characters",
            Text(
                "账号名应为接口可承载的字母和数字（省级接口不超过 32 位；开放平台 16 至 32 位）。",
                "Letters and digits as the interface carries them: up to 32; for the open platform 16 to 32.",
            ),
        )
    row = AccountRow(id=uuid7(now), client_id=app.id, kind=kind, name=name, created_at=now, **(settings or {}))
    _insert(session, row, NameTaken(Text("已有同名接入账号。", "An account of this gateway has this name.")))
    _record(session, "gateway.account-added", row, by, now, after=facts_of(row), app=str(app.id))
    return row


def one(session: Session, account: UUID) -> AccountRow:
    """The account with this id. Raises `NoSuchAccount`."""
    row = session.get(AccountRow, account)
    if row is None:
        raise no_such_account()
    return row


def named(session: Session, name: str) -> AccountRow:
    """The account with this id, `appId` or `userName`. Raises `NoSuchAccount`, also where both gateways have one of a name."""
    found = list(session.scalars(select(AccountRow).where(AccountRow.name == name))) if "\x00" not in name else []
    if len(found) == 1:
        return found[0]
    try:
        return one(session, UUID(name))
    except ValueError:
        raise no_such_account() from None


def change(
    session: Session, account: UUID, wanted: Mapping[str, Any], *, by: By, now: datetime, version: int | None = None
) -> AccountRow:
    """Change `strict`, `replay` or `window_seconds`. Raises `NoSuchAccount` or `StaleVersion`."""
    row = _hold(session, account)
    if version is not None and version != row.version:
        raise StaleVersion(
            Text("该账号已被修改，请重新读取后再试。", "The account changed meanwhile. Read it again, then repeat.")
        )
    before = facts_of(row)
    for name in SETTINGS:
        if name in wanted:
            setattr(row, name, wanted[name])
    _touch(session, row)
    _record(session, "gateway.account-changed", row, by, now, before=before, after=facts_of(row))
    return row


def suspend(session: Session, account: UUID, *, reason: str, by: By, now: datetime) -> AccountRow:
    """Refuse every call of the account, everywhere within ten seconds. Raises `NoSuchAccount` or `WrongAccountState`."""
    return _move(session, account, SUSPENDED, "gateway.account-suspended", reason=reason, by=by, now=now)


def resume(session: Session, account: UUID, *, reason: str, by: By, now: datetime) -> AccountRow:
    """Let a suspended account go on. Raises `NoSuchAccount` or `WrongAccountState`."""
    return _move(session, account, LIVE, "gateway.account-resumed", reason=reason, by=by, now=now)


def add_secret(
    session: Session, account: UUID, *, sealer: Sealer, by: By, now: datetime, ends_at: datetime | None = None
) -> NewSecret:
    """A second secret, so that it can replace the first without a gap. Raises `NoSuchAccount` or `TooManySecrets`."""
    row = _hold(session, account)
    made = secrets.add(session, row, sealer=sealer, now=now, ends_at=ends_at)
    _touch(session, row)
    until = None if ends_at is None else ends_at.isoformat()
    _record(session, "gateway.secret-added", row, by, now, secret=str(made.id), ends_at=until)
    return made


def end_secret(session: Session, account: UUID, secret: UUID, *, by: By, now: datetime) -> AccountRow:
    """End a secret, everywhere within ten seconds. Raises `NoSuchAccount` or `NoSuchSecret`."""
    row = _hold(session, account)
    secrets.end(session, row, secret, now=now)
    _touch(session, row)
    _record(session, "gateway.secret-ended", row, by, now, secret=str(secret))
    return row


def add_place(
    session: Session, account: UUID, kind: PlaceKind, code: str, institution: UUID | None, *, by: By, now: datetime
) -> PlaceRow:
    """A code that the account may call with from now on. Raises `NoSuchAccount`, `PlaceTaken`, or `InvalidValue`."""
    row = _hold(session, account)
    _require_place(session, GatewayKind(row.kind), kind, code, institution)
    place = PlaceRow(id=uuid7(now), account_id=row.id, kind=kind, code=code, institution_id=institution, created_at=now)
    _insert(session, place, PlaceTaken(Text("该账号已有此代码。", "The account has this code already.")))
    _touch(session, row)
    told = None if institution is None else str(institution)
    _record(session, "gateway.place-added", row, by, now, place=kind, code=code, institution=told)
    return place


def end_place(session: Session, account: UUID, place: UUID, *, by: By, now: datetime) -> AccountRow:
    """Take a code away from the account. Raises `NoSuchAccount` or `NoSuchPlace`."""
    row = _hold(session, account)
    found = next((each for each in places(session, row.id) if each.id == place), None)
    if found is None:
        raise _no_such_place()
    found.ended_at = now
    _touch(session, row)
    _record(session, "gateway.place-ended", row, by, now, place=found.kind, code=found.code)
    return row


def place_named(session: Session, account: UUID, kind: PlaceKind, code: str) -> PlaceRow:
    """The code of the account. Raises `NoSuchPlace`."""
    found = next((each for each in places(session, account) if (each.kind, each.code) == (kind, code)), None)
    if found is None:
        raise _no_such_place()
    return found


def places(session: Session, account: UUID) -> list[PlaceRow]:
    """The codes that an account has now."""
    mine = PlaceRow.account_id == account, PlaceRow.ended_at.is_(None)
    return list(session.scalars(select(PlaceRow).where(*mine).order_by(PlaceRow.kind, PlaceRow.code)))


def facts_of(row: AccountRow) -> dict[str, Any]:
    """What the audit log tells of an account."""
    return {name: getattr(row, name) for name in ("kind", "name", "state", *SETTINGS)}


def _require_place(
    session: Session, gateway: GatewayKind, kind: PlaceKind, code: str, institution: UUID | None
) -> None:
    if kind not in PLACES[gateway]:
        raise InvalidValue.at("/kind", "choice", Text("该接口没有这种代码。", "The gateway has no codes of this kind."))
    if not code_fits(kind, code):
        message = Text("代码应为字母和数字，长度按接口规定。", "Letters and digits, as long as the interface carries.")
        raise InvalidValue.at("/code", "characters", message)
    if (kind is PlaceKind.APP) != (institution is None):
        message = Text(
            "医院和机构代码须指定机构，APP 编码不指定。", "An institution for `hospital` and `org`; none for `app`."
        )
        raise InvalidValue.at("/institution_id", "required", message)
    if institution is not None and session.get(InstitutionRow, institution) is None:
        raise InvalidValue.at("/institution_id", "unknown", Text("没有这个机构。", "There is no such institution."))


def _move(session: Session, account: UUID, new: str, action: str, *, reason: str, by: By, now: datetime) -> AccountRow:
    row = _hold(session, account)
    if row.state == new:
        raise WrongAccountState(
            Text("接入账号的当前状态不能执行该操作。", "The state of the account does not allow this.")
        )
    before, row.state = {"state": row.state}, new
    _touch(session, row)
    _record(session, action, row, by, now, before=before, after={"state": new}, reason=reason)
    return row


def _hold(session: Session, account: UUID) -> AccountRow:
    wanted = select(AccountRow).where(AccountRow.id == account).with_for_update(key_share=True)
    row = session.scalars(wanted.execution_options(populate_existing=True)).one_or_none()
    if row is None:
        raise no_such_account()
    return row


def _touch(session: Session, row: AccountRow) -> None:
    row.version += 1
    session.flush()


def _insert(session: Session, row: AccountRow | PlaceRow, taken: EhcError) -> None:
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        if isinstance(error.orig, UniqueViolation):
            raise taken from None
        raise


def _record(session: Session, action: str, row: AccountRow, by: By, now: datetime, **facts: Any) -> None:
    told = {name: value for name, value in facts.items() if value is not None}
    audit.record(session, action, actor=by.actor, subject=str(row.id), at=now, facts=told)


def _no_such_place() -> NoSuchPlace:
    return NoSuchPlace(Text("该账号没有此代码。", "The account has no such code."))


def no_such_account() -> NoSuchAccount:
    """What is said of an account that is elsewhere or nowhere."""
    return NoSuchAccount(Text("没有这个接入账号。", "There is no such account of a gateway."))
