"""Institutions and clients: making them, and proving who one is. Nothing here commits."""

from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import ip_network
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from ehc import audit
from ehc.access import client_secrets, institutions
from ehc.access.app_models import AppRow
from ehc.access.app_states import AppState
from ehc.access.institution_models import InstitutionCodeRow
from ehc.access.institutions import OPERATOR
from ehc.access.models import ClientRow, InstitutionRow
from ehc.access.terminal_models import TerminalRow
from ehc.callers import Caller, ClientKind, Scope
from ehc.core.ids import uuid7
from ehc.core.institution_codes import kind_of, read_code
from ehc.errors import EhcError, Text
from ehc.sessions import tokens as sessions


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


def add_app(
    session: Session, *, name: str, scopes: frozenset[Scope], now: datetime, sandbox: bool = False
) -> Credentials:
    """Add an app that is live at once: the back end of a mini-program or of a hospital's own app.

    For whoever runs the machines. The staff make a draft, which somebody else approves (`ehc.access.apps`).
    """
    row = add_client(session, kind=ClientKind.APP, name=name, scopes=scopes, sandbox=sandbox, now=now)
    session.add(AppRow(client_id=row.id, state=AppState.LIVE, made_by="operator"))
    session.flush()
    return _with_secret(session, row, now=now)


def add_terminal(
    session: Session,
    *,
    name: str,
    terminal_code: str,
    owner: InstitutionRow,
    now: datetime,
    sandbox: bool = False,
) -> Credentials:
    """Add a terminal (识读终端) of one institution. It may check codes, and nothing else.

    A window that may check at every step, with a secret; staff enrol terminals with keys instead (`ehc.access.enrolments`).
    """
    row = add_client(
        session,
        kind=ClientKind.TERMINAL,
        name=name,
        scopes=frozenset({Scope.VERIFY}),
        sandbox=sandbox,
        now=now,
        institution_id=owner.id,
        terminal_code=terminal_code,
    )
    session.add(TerminalRow(client_id=row.id))
    session.flush()
    return _with_secret(session, row, now=now)


def add_key_terminal(
    session: Session,
    *,
    name: str,
    terminal_code: str,
    institution_id: UUID,
    actor: str,
    now: datetime,
    sandbox: bool = False,
) -> ClientRow:
    """Add the client of a terminal that has a key and no secret. Its caller adds the rest of it."""
    return add_client(
        session,
        kind=ClientKind.TERMINAL,
        name=name,
        scopes=frozenset({Scope.VERIFY}),
        now=now,
        institution_id=institution_id,
        terminal_code=terminal_code,
        actor=actor,
        sandbox=sandbox,
    )


def new_secret(session: Session, client_id: str, *, now: datetime) -> Credentials:
    """Give a client a new secret; the old ones stop. Raises `NoSuchClient`."""
    row = named(session, client_id)
    client_secrets.end_all(session, row.id, now=now)
    made = client_secrets.add(session, row.id, now=now)
    audit.record(session, "client.secret-renewed", actor="operator", subject=client_id, at=now)
    return Credentials(client_id, made.secret)


def disable(session: Session, client_id: str, *, now: datetime) -> None:
    """Stop a client: no new tokens at once, and those it holds within 10 seconds. Raises `NoSuchClient`."""
    _change(session, client_id, "client.disabled", now, disabled_at=now)
    sessions.end_of_client(session, named(session, client_id).id, why="app-disabled", now=now)


def named(session: Session, client_id: str) -> ClientRow:
    """The client with this id. Raises `NoSuchClient`."""
    row = _found(session, client_id)
    if row is None:
        raise _no_such_client()
    return row


def prove(session: Session, client_id: str, secret: str, *, now: datetime) -> Caller | None:
    """The client that knows this secret, unless it may not call. Takes as long for a client that does not exist."""
    row = _found(session, client_id)
    known = client_secrets.proves(session, row.id if row is not None else None, secret, now=now)
    return by_id(session, row.id) if known and row is not None else None


def by_id(session: Session, client: UUID) -> Caller | None:
    """The client; None where it is disabled, gone, an app that is not live, or of an institution that is not."""
    wanted = select(ClientRow, AppRow, InstitutionRow.state, TerminalRow.steps)
    wanted = wanted.outerjoin(AppRow, AppRow.client_id == ClientRow.id)
    wanted = wanted.outerjoin(TerminalRow, TerminalRow.client_id == ClientRow.id)
    wanted = wanted.outerjoin(InstitutionRow, InstitutionRow.id == ClientRow.institution_id)
    found = session.execute(wanted.where(ClientRow.id == client)).one_or_none()
    if found is None or found[0].disabled_at is not None or found[2] not in {None, institutions.LIVE}:
        return None
    row, app, _, steps = found
    who = Caller(row.id, ClientKind(row.kind), frozenset(map(Scope, row.scopes)), row.institution_id, row.sandbox)
    if who.kind is not ClientKind.APP:
        return replace(who, steps=None if steps is None else frozenset(steps))
    if app is None or app.state != AppState.LIVE:
        return None
    networks = tuple(map(ip_network, app.networks))
    return replace(who, networks=networks, per_minute=app.per_minute, per_day=app.per_day)


def add_client(
    session: Session,
    *,
    kind: ClientKind,
    name: str,
    scopes: frozenset[Scope],
    now: datetime,
    sandbox: bool = False,
    institution_id: UUID | None = None,
    terminal_code: str | None = None,
    actor: str = "operator",
) -> ClientRow:
    """A client without a credential. An app still needs its row in `app`."""
    row_id = uuid7(now)
    row = ClientRow(
        id=row_id,
        client_id=f"{kind}-{row_id.hex[-12:]}",
        kind=kind,
        name=name,
        scopes=sorted(scopes),
        sandbox=sandbox,
        institution_id=institution_id,
        terminal_code=terminal_code,
        created_at=now,
    )
    session.add(row)
    session.flush()
    facts = {"scopes": sorted(scopes), "sandbox": sandbox}
    audit.record(session, "client.added", actor=actor, subject=row.client_id, at=now, facts=facts)
    return row


def _with_secret(session: Session, row: ClientRow, *, now: datetime) -> Credentials:
    return Credentials(row.client_id, client_secrets.add(session, row.id, now=now).secret)


def _found(session: Session, client_id: str) -> ClientRow | None:
    if "\x00" in client_id:  # no text column holds one, so no client has such an id
        return None
    return session.scalars(select(ClientRow).where(ClientRow.client_id == client_id)).one_or_none()


def _no_such_client() -> NoSuchClient:
    return NoSuchClient(Text("没有这个客户端。", "There is no client with this id."))


def _change(session: Session, client_id: str, action: str, now: datetime, **values: object) -> None:
    changed = update(ClientRow).where(ClientRow.client_id == client_id).values(**values).returning(ClientRow.id)
    if session.execute(changed).first() is None:
        raise _no_such_client()
    audit.record(session, action, actor="operator", subject=client_id, at=now)
