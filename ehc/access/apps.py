"""Apps as the staff manage them: a draft, what somebody else approves, and what is live. Nothing here commits.

A change goes to the version that was read, or not at all. Whoever had a hand in a draft, or in a wish for other scopes, does
not approve it, whatever their role is by then.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, tuple_, update
from sqlalchemy.orm import Session

from ehc import audit
from ehc.access import app_keys, client_secrets, clients
from ehc.access.app_models import AppRow
from ehc.access.app_states import APPROVE, GO_LIVE, SUSPEND, AppMove, AppState
from ehc.access.models import ClientRow
from ehc.callers import ClientKind, Scope
from ehc.cards.store import StaleVersion
from ehc.errors import EhcError, InvalidValue, Text
from ehc.sessions import tokens as sessions

SANDBOX_SCOPES = frozenset({Scope.CARDS, Scope.CODES, Scope.VERIFY})
"""What there is in the sandbox."""


class NoSuchApp(EhcError):
    """No app with this id."""

    code = "app-not-found"


class WrongAppState(EhcError):
    """The app is in a state, or has just moved to one, from which this does not start."""

    code = "app-state"


class OwnDraft(EhcError):
    """Whoever asks does not approve."""

    code = "own-draft"


class NoCredential(EhcError):
    """An app goes live with a secret, a key, or an address of keys."""

    code = "no-credential"


@dataclass(frozen=True)
class App:
    """An app: its rows in `client` and `app`."""

    client: ClientRow
    row: AppRow

    @property
    def id(self) -> UUID:
        """The id in every address and in the audit log of what the app does."""
        return self.client.id


@dataclass(frozen=True)
class By:
    """Who changes an app."""

    actor: str


def draft(session: Session, wanted: dict[str, Any], *, by: By, now: datetime) -> App:
    """A new app: `name`, `scopes`, and if given `sandbox`, `networks`, `per_minute`, `per_day`. Raises `InvalidValue`."""
    scopes, sandbox = frozenset(map(Scope, wanted["scopes"])), wanted.get("sandbox", False)
    _require_scopes(scopes, sandbox=sandbox)
    client = clients.add_client(
        session, kind=ClientKind.APP, name=wanted["name"], scopes=scopes, sandbox=sandbox, now=now, actor=by.actor
    )
    limits = {name: wanted.get(name) for name in ("per_minute", "per_day")}
    row = AppRow(
        client_id=client.id,
        state=AppState.DRAFT,
        made_by=by.actor,
        authors=[by.actor],
        networks=wanted.get("networks", []),
        **limits,
    )
    session.add(row)
    session.flush()
    app = App(client, row)
    if wanted.get("jwks_url") is not None:
        app_keys.set_url(session, app.id, wanted["jwks_url"])
    _record(session, "app.drafted", app, by, now, after=facts_of(session, app))
    return app


def find(session: Session, app_id: UUID) -> App:
    """The app with this id. Raises `NoSuchApp`."""
    wanted = select(ClientRow, AppRow).join(AppRow, AppRow.client_id == ClientRow.id).where(ClientRow.id == app_id)
    found = session.execute(wanted).one_or_none()
    if found is None:
        raise NoSuchApp(Text("没有这个应用。", "There is no such app."))
    return App(*found)


def listed(
    session: Session, *, state: str | None = None, limit: int, before: tuple[datetime, UUID] | None
) -> tuple[list[App], bool]:
    """A page of apps, the newest first, and whether more follow."""
    wanted = select(ClientRow, AppRow).join(AppRow, AppRow.client_id == ClientRow.id)
    if state is not None:
        wanted = wanted.where(AppRow.state == state)
    if before is not None:
        wanted = wanted.where(tuple_(ClientRow.created_at, ClientRow.id) < before)
    newest = wanted.order_by(ClientRow.created_at.desc(), ClientRow.id.desc()).limit(limit + 1)
    found = [App(*row) for row in session.execute(newest)]
    return found[:limit], len(found) > limit


def change(
    session: Session, app_id: UUID, wanted: dict[str, Any], *, version: int | None, by: By, now: datetime
) -> App:
    """Change what is known of an app. Other scopes of an approved app make it a draft again; those of a live one wait for
    approval, and it goes on with those it has. Raises `NoSuchApp`, `StaleVersion`, or `InvalidValue`.
    """
    app = find(session, app_id)
    before = facts_of(session, app)
    values: dict[str, Any] = {name: wanted[name] for name in ("networks", "per_minute", "per_day") if name in wanted}
    if "scopes" in wanted:
        values |= _asked(app, frozenset(map(Scope, wanted["scopes"])), by)
    if app.row.state == AppState.DRAFT:
        values |= {"made_by": by.actor, "authors": _joined(app, by)}
    _write(session, app, version, values)
    if "name" in wanted:
        app.client.name = wanted["name"]
    if "scopes" in wanted and app.row.asked_scopes is None:
        app.client.scopes = sorted(wanted["scopes"])
    if "jwks_url" in wanted and wanted["jwks_url"] != before["jwks_url"]:
        app_keys.set_url(session, app.id, wanted["jwks_url"])
    session.flush()
    _record(session, "app.changed", app, by, now, before=before, after=facts_of(session, app))
    return app


def approve(session: Session, app_id: UUID, *, version: int | None, by: By, now: datetime) -> App:
    """Approve a draft, or the scopes that a live app asks for.

    Raises `OwnDraft`, `WrongAppState`, `StaleVersion` or `NoSuchApp`.
    """
    app = find(session, app_id)
    asked = app.row.asked_scopes
    if app.row.state not in APPROVE.sources and asked is None:
        raise _wrong_state()
    if by.actor in {app.row.made_by, *app.row.authors}:
        raise OwnDraft(
            Text("起草人或申请人不能审批自己的申请，请由他人审批。", "Somebody else than who asked has to approve it.")
        )
    before = facts_of(session, app)
    values: dict[str, Any] = {"approved_by": by.actor, "approved_at": now, "asked_scopes": None}
    if asked is None:
        values["state"] = APPROVE.target
    _write(session, app, version, values, only_from=AppState(app.row.state))
    if asked is not None:
        app.client.scopes = asked
        session.flush()
    _record(session, "app.approved", app, by, now, before=before, after=facts_of(session, app))
    return app


def move(
    session: Session,
    app_id: UUID,
    how: AppMove,
    *,
    by: By,
    now: datetime,
    version: int | None = None,
    reason: str | None = None,
) -> App:
    """Move an app; `approve` approves. Raises `NoSuchApp`, `WrongAppState`, `NoCredential` or `StaleVersion`."""
    app = find(session, app_id)
    if app.row.state not in how.sources:
        raise _wrong_state()
    if how is GO_LIVE:
        _require_credential(session, app, now=now)
    old = AppState(app.row.state)
    _write(session, app, version, {"state": how.target}, only_from=old)
    if how is SUSPEND:  # a resident's session does not come back with the app
        sessions.end_of_client(session, app.id, why="app-suspended", now=now)
    _record(session, f"app.{how.name}", app, by, now, before={"state": old}, after={"state": how.target}, reason=reason)
    return app


def held(session: Session, app_id: UUID) -> App:
    """The app, locked until the transaction ends: what hangs on it is changed one at a time. Raises `NoSuchApp`."""
    app = find(session, app_id)
    session.refresh(app.row, with_for_update=True)
    return app


def touch(session: Session, app_id: UUID, *, by: By, now: datetime, action: str, **facts: Any) -> App:
    """Lock an app and note a change of its credentials: those of one app are changed one at a time. Raises `NoSuchApp`."""
    app = held(session, app_id)
    _write(session, app, None, {})
    _record(session, action, app, by, now, **facts)
    return app


def facts_of(session: Session, app: App) -> dict[str, Any]:
    """What the audit log tells of an app: everything but its secrets."""
    names = ("state", "asked_scopes", "networks", "per_minute", "per_day", "made_by", "authors", "approved_by")
    told = {name: getattr(app.row, name) for name in names}
    url = app_keys.url_of(session, app.id)
    return {
        "name": app.client.name,
        "scopes": app.client.scopes,
        "sandbox": app.client.sandbox,
        "jwks_url": url,
        **told,
    }


def _asked(app: App, scopes: frozenset[Scope], by: By) -> dict[str, Any]:
    """The columns that a wish for other scopes changes."""
    _require_scopes(scopes, sandbox=app.client.sandbox)
    if app.row.state == AppState.DRAFT:
        return {}
    if scopes == frozenset(app.client.scopes):
        return {"asked_scopes": None}
    authors = (
        [by.actor] if app.row.asked_scopes is None else _joined(app, by)
    )  # of a wish that is open, all who formed it
    asked = {"made_by": by.actor, "authors": authors, "approved_by": None, "approved_at": None}
    if app.row.state == AppState.APPROVED:
        return {"state": AppState.DRAFT, **asked}
    return {"asked_scopes": sorted(scopes), **asked}


def _joined(app: App, by: By) -> list[str]:
    """Who had a hand in what waits, and whoever takes a hand in it now."""
    return sorted({*app.row.authors, by.actor})


def _require_scopes(scopes: frozenset[Scope], *, sandbox: bool) -> None:
    if not scopes or (sandbox and not scopes <= SANDBOX_SCOPES):
        message = Text(
            "至少一项权限；沙箱应用仅限 cards、codes、verify。",
            "At least one scope; for an app of the sandbox of cards, codes and verify.",
        )
        raise InvalidValue.at("/scopes", "scopes", message)


def _require_credential(session: Session, app: App, *, now: datetime) -> None:
    held = client_secrets.live(session, app.id, now=now) or app_keys.live_keys(session, app.id)
    if not held and app_keys.url_of(session, app.id) is None:
        raise NoCredential(
            Text("请先添加密钥或公钥，再上线。", "Add a secret, a key, or the address of its keys before it goes live.")
        )


def _write(
    session: Session, app: App, version: int | None, values: dict[str, Any], *, only_from: AppState | None = None
) -> None:
    """Write columns of an app as it was read, if nobody did meanwhile."""
    if version is not None and version != app.row.version:
        raise _stale()
    here = (AppRow.client_id == app.id) & (AppRow.version == app.row.version)
    if only_from is not None:
        here &= AppRow.state == only_from
    written = update(AppRow).where(here).values(**values, version=AppRow.version + 1).returning(AppRow.version)
    if session.execute(written.execution_options(synchronize_session=False)).first() is None:
        raise _stale()
    session.refresh(app.row)


def _record(session: Session, action: str, app: App, by: By, now: datetime, **facts: Any) -> None:
    told = {name: value for name, value in facts.items() if value is not None}
    audit.record(session, action, actor=by.actor, subject=str(app.id), at=now, facts=told)


def _wrong_state() -> WrongAppState:
    return WrongAppState(
        Text("应用的当前状态不能执行该操作，请先查询。", "The app's state does not allow this. Read the app first.")
    )


def _stale() -> StaleVersion:
    return StaleVersion(
        Text("该应用已被修改，请重新读取后再试。", "The app changed meanwhile. Read it again, then repeat.")
    )
