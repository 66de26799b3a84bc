"""`ehc apps …`: drafts, approval, states and credentials of apps."""

from datetime import datetime
from ipaddress import ip_network
from pathlib import Path
from uuid import UUID

import click
import orjson
from sqlalchemy.orm import Session

from ehc.access import app_keys, client_secrets, clients
from ehc.access import apps as access
from ehc.access.app_states import GO_LIVE, RESUME, SUSPEND, AppMove, AppState
from ehc.access.apps import App, By
from ehc.callers import Scope
from ehc.commands.context import Deployment, deployment
from ehc.crypto.jwk import NotAKey, read_jwk

_BY = click.option("--by", "person", required=True, help="Who does it, for the audit log: a staff number.")


@click.group()
def apps() -> None:
    """应用接入 · apps."""


@apps.command("list")
@click.option("--state", type=click.Choice([str(state) for state in AppState]))
@deployment
def list_apps(place: Deployment, state: str | None) -> None:
    """List the apps, the newest first."""
    with place.work() as session:
        found, before = access.listed(session, state=state, limit=100, before=None), None
        while found[0]:
            for app in found[0]:
                click.echo(_line(app))
            before = (found[0][-1].client.created_at, found[0][-1].id)
            found = access.listed(session, state=state, limit=100, before=before) if found[1] else ([], False)


@apps.command()
@click.argument("client_id")
@deployment
def show(place: Deployment, client_id: str) -> None:
    """Show an app and its credentials."""
    with place.work() as session:
        app = _named(session, client_id)
        click.echo(_line(app))
        for name, value in access.facts_of(session, app).items():
            click.echo(f"{name:14} {value}")
        for secret in client_secrets.live(session, app.id, now=place.clock.now()):
            click.echo(f"secret         {secret.id} until {secret.ends_at or 'it is ended'}")
        for key in app_keys.live_keys(session, app.id):
            click.echo(f"key            {key.id} {key.thumbprint}")


@apps.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice([str(scope) for scope in Scope]))
@click.option("--sandbox", is_flag=True, help="Sees synthetic people and nobody else. Never changes.")
@click.option("--network", "networks", multiple=True, help="From where it may call; anywhere if none is given.")
@_BY
@deployment
def draft(
    place: Deployment, *, name: str, scopes: tuple[str, ...], sandbox: bool, networks: tuple[str, ...], person: str
) -> None:
    """Draft an app. Somebody else approves it."""
    wanted = {"name": name, "scopes": list(scopes), "sandbox": sandbox, "networks": _networks(networks)}
    with place.work() as session:
        app = access.draft(session, wanted, by=_by(person), now=place.clock.now())
        click.echo(_line(app))


@apps.command()
@click.argument("client_id")
@_BY
@deployment
def approve(place: Deployment, client_id: str, person: str) -> None:
    """Approve a draft, or the scopes that a live app asks for. Not by whoever asked."""
    with place.work() as session:
        app = _named(session, client_id)
        click.echo(_line(access.approve(session, app.id, version=None, by=_by(person), now=place.clock.now())))


def _add_move(how: AppMove, about: str) -> None:
    @apps.command(how.name, help=about)
    @click.argument("client_id")
    @click.option("--reason", required=True)
    @_BY
    @deployment
    def move(place: Deployment, client_id: str, reason: str, person: str) -> None:
        with place.work() as session:
            app, now = _named(session, client_id), place.clock.now()
            click.echo(_line(access.move(session, app.id, how, by=_by(person), now=now, reason=reason)))


_add_move(GO_LIVE, "Let an approved app go live. It needs a credential.")
_add_move(SUSPEND, "Suspend an app: its tokens stop within 10 seconds.")
_add_move(RESUME, "Let a suspended app go on.")


@apps.command("limit")
@click.argument("client_id")
@click.option("--per-minute", type=click.IntRange(1, 1_000_000))
@click.option("--per-day", type=click.IntRange(1, 1_000_000_000))
@_BY
@deployment
def limit(place: Deployment, client_id: str, per_minute: int | None, per_day: int | None, person: str) -> None:
    """Give an app limits of its own; what is left out is as the deployment has it."""
    wanted = {"per_minute": per_minute, "per_day": per_day}
    with place.work() as session:
        app = _named(session, client_id)
        access.change(session, app.id, wanted, version=None, by=_by(person), now=place.clock.now())


@apps.command("add-secret")
@click.argument("client_id")
@click.option("--until", type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z"]), help="When it stops by itself.")
@_BY
@deployment
def add_secret(place: Deployment, client_id: str, until: datetime | None, person: str) -> None:
    """Add a secret, which is printed once. Two are live at a time."""
    now = place.clock.now()
    if until is not None and until <= now:
        raise click.BadParameter("须晚于当前时间。 A time that is still to come.", param_hint="--until")
    with place.work() as session:
        app = access.touch(session, _named(session, client_id).id, by=_by(person), now=now, action="app.secret-added")
        made = client_secrets.add(session, app.id, now=now, ends_at=until)
    click.echo(f"client_id     {client_id}\nclient_secret {made.secret}")
    click.echo("密钥只显示这一次。 The secret is shown only once.", err=True)


@apps.command("end-secret")
@click.argument("client_id")
@click.argument("secret_id", type=click.UUID)
@_BY
@deployment
def end_secret(place: Deployment, client_id: str, secret_id: UUID, person: str) -> None:
    """End a secret."""
    now = place.clock.now()
    with place.work() as session:
        app = access.touch(session, _named(session, client_id).id, by=_by(person), now=now, action="app.secret-ended")
        client_secrets.end(session, app.id, secret_id, now=now)


@apps.command("add-key")
@click.argument("client_id")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_BY
@deployment
def add_key(place: Deployment, client_id: str, file: Path, person: str) -> None:
    """Add a public key on P-256: a file with one JSON Web Key."""
    try:
        found = orjson.loads(file.read_bytes())
        jwk = read_jwk(found if isinstance(found, dict) else {})
    except orjson.JSONDecodeError:
        raise click.ClickException("文件不是 JSON。 The file is not JSON.") from None
    except NotAKey as error:
        raise click.ClickException(f"{error.detail.zh} {error.detail.en}") from None
    now = place.clock.now()
    with place.work() as session:
        app = access.touch(session, _named(session, client_id).id, by=_by(person), now=now, action="app.key-added")
        click.echo(f"{app_keys.add_key(session, app.id, jwk, now=now).id} {jwk.thumbprint}")


@apps.command("end-key")
@click.argument("client_id")
@click.argument("key_id", type=click.UUID)
@_BY
@deployment
def end_key(place: Deployment, client_id: str, key_id: UUID, person: str) -> None:
    """End a public key."""
    now = place.clock.now()
    with place.work() as session:
        app = access.touch(session, _named(session, client_id).id, by=_by(person), now=now, action="app.key-ended")
        app_keys.end_key(session, app.id, key_id, now=now)


def _by(person: str) -> By:
    return By(f"operator:{person}")


def _named(session: Session, client_id: str) -> App:
    return access.find(session, clients.named(session, client_id).id)


def _networks(given: tuple[str, ...]) -> list[str]:
    try:
        return [str(ip_network(each)) for each in given]
    except ValueError:
        raise click.BadParameter("应为网段。 A network such as 203.0.113.0/24.", param_hint="--network") from None


def _line(app: App) -> str:
    world = "sandbox" if app.client.sandbox else "real"
    asked = f" asks for {','.join(app.row.asked_scopes)}" if app.row.asked_scopes else ""
    return f"{app.client.client_id:24} {app.row.state:10} {world:8} {','.join(app.client.scopes):24} {app.client.name}{asked}"
