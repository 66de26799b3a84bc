"""Institutions and clients: making them, and proving who one is. Nothing here commits."""

import hmac
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from secrets import token_urlsafe
from uuid import UUID

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from ehc import audit
from ehc.access import institutions
from ehc.access.institution_models import InstitutionCodeRow
from ehc.access.institutions import OPERATOR
from ehc.access.models import ClientRow, InstitutionRow
from ehc.callers import Caller, ClientKind, Scope
from ehc.core.ids import uuid7
from ehc.core.institution_codes import kind_of, read_code
from ehc.errors import EhcError, Text


class NoSuchClient(EhcError):
    """No client, or no institution, by this name."""

    code = "client-not-found"


@dataclass(frozen=True)
class Credentials:
    """What a new client is told, once. The secret is not kept: only its hash."""

    client_id: str
    client_secret: str


def add_institution(session: Session, *, code: str, name: str, now: datetime) -> InstitutionRow:
    """Add an institution (机构) that nobody has placed in a region yet. Raises `CodeInUse`, or `InvalidValue` for its code."""
    kind = kind_of(code)
    codes = [(kind, read_code(kind, code))]
    return institutions.add(session, OPERATOR, name=name, kind="other", region=None, codes=codes, now=now)


def allow_static(session: Session, owner: InstitutionRow, allowed: bool, *, now: datetime) -> None:
    """Let printed and other static codes count at an institution, or no longer; from the next check on."""
    institutions.change(session, OPERATOR, owner.id, {"static_allowed": allowed}, version=None, now=now)


def institution(session: Session, code: str) -> InstitutionRow:
    """The institution known by this code, or else the one that has it now, of whatever kind. Raises `NoSuchClient`."""
    row = session.scalars(select(InstitutionRow).where(InstitutionRow.code == code)).one_or_none()
    if row is not None:
        return row
    live = (InstitutionCodeRow.institution_id == InstitutionRow.id) & InstitutionCodeRow.valid_until.is_(None)
    wanted = select(InstitutionRow).join(InstitutionCodeRow, live).where(InstitutionCodeRow.code == code)
    found = session.scalars(wanted).unique().all()
    if len(found) != 1:
        raise NoSuchClient(Text("没有这个机构代码。", "There is no institution with this code."))
    return found[0]


def institution_names(session: Session, ids: set[UUID]) -> dict[UUID, str]:
    """Names by id, for lists that residents read."""
    rows = session.execute(select(InstitutionRow.id, InstitutionRow.name).where(InstitutionRow.id.in_(ids)))
    return {row.id: row.name for row in rows}


def institution_kinds(session: Session) -> dict[UUID, str]:
    """The kind of each institution, by id."""
    return {row.id: row.kind for row in session.execute(select(InstitutionRow.id, InstitutionRow.kind))}


def add_app(session: Session, *, name: str, scopes: frozenset[Scope], now: datetime) -> Credentials:
    """Add an app: the back end of a mini-program or of a hospital's own app."""
    return _add(session, kind=ClientKind.APP, name=name, scopes=scopes, now=now)


def add_terminal(
    session: Session, *, name: str, terminal_code: str, owner: InstitutionRow, now: datetime
) -> Credentials:
    """Add a terminal (识读终端) of one institution. It may check codes, and nothing else."""
    return _add(
        session,
        kind=ClientKind.TERMINAL,
        name=name,
        scopes=frozenset({Scope.VERIFY}),
        now=now,
        institution_id=owner.id,
        terminal_code=terminal_code,
    )


def new_secret(session: Session, client_id: str, *, now: datetime) -> Credentials:
    """Give a client a new secret; the old one stops. Raises `NoSuchClient`."""
    secret = token_urlsafe(32)
    _change(session, client_id, "client.secret-renewed", now, secret_hash=_hash(secret))
    return Credentials(client_id, secret)


def disable(session: Session, client_id: str, *, now: datetime) -> None:
    """Stop a client: no new tokens at once, and those it holds within 10 seconds. Raises `NoSuchClient`."""
    _change(session, client_id, "client.disabled", now, disabled_at=now)


def prove(session: Session, client_id: str, secret: str) -> Caller | None:
    """The client that knows this secret, unless it may not call. Takes as long for a client that does not exist."""
    if "\x00" in client_id:  # no text column holds one, so no client has such an id
        return None
    row, state = _found(session, ClientRow.client_id == client_id)
    held = row.secret_hash if row is not None else bytes(32)
    known = hmac.compare_digest(held, _hash(secret))
    return _caller(row, state) if known and row is not None else None


def by_id(session: Session, client: UUID) -> Caller | None:
    """The client, unless it is disabled or gone, or its institution suspended or closed."""
    row, state = _found(session, ClientRow.id == client)
    return _caller(row, state) if row is not None else None


def _found(session: Session, which: ColumnElement[bool]) -> tuple[ClientRow | None, str | None]:
    """A client and the state of its institution, in one statement."""
    wanted = select(ClientRow, InstitutionRow.state).outerjoin(
        InstitutionRow, InstitutionRow.id == ClientRow.institution_id
    )
    found = session.execute(wanted.where(which)).one_or_none()
    return (found[0], found[1]) if found is not None else (None, None)


def _add(
    session: Session,
    *,
    kind: ClientKind,
    name: str,
    scopes: frozenset[Scope],
    now: datetime,
    institution_id: UUID | None = None,
    terminal_code: str | None = None,
) -> Credentials:
    row_id, secret = uuid7(now), token_urlsafe(32)
    row = ClientRow(
        id=row_id,
        client_id=f"{kind}-{row_id.hex[-12:]}",
        kind=kind,
        name=name,
        secret_hash=_hash(secret),
        scopes=sorted(scopes),
        institution_id=institution_id,
        terminal_code=terminal_code,
        created_at=now,
    )
    session.add(row)
    session.flush()
    audit.record(
        session, "client.added", actor="operator", subject=row.client_id, at=now, facts={"scopes": sorted(scopes)}
    )
    return Credentials(row.client_id, secret)


def _change(session: Session, client_id: str, action: str, now: datetime, **values: object) -> None:
    changed = update(ClientRow).where(ClientRow.client_id == client_id).values(**values).returning(ClientRow.id)
    if session.execute(changed).first() is None:
        raise NoSuchClient(Text("没有这个客户端。", "There is no client with this id."))
    audit.record(session, action, actor="operator", subject=client_id, at=now)


def _hash(secret: str) -> bytes:
    # A secret is 256 random bits of our making: one hash is enough, there is nothing to guess.
    return sha256(secret.encode()).digest()


def _caller(row: ClientRow, state: str | None) -> Caller | None:
    """The client, unless it may not call; `state` is its institution's."""
    if row.disabled_at is not None or state not in {None, institutions.LIVE}:
        return None
    return Caller(row.id, ClientKind(row.kind), frozenset(map(Scope, row.scopes)), row.institution_id)
