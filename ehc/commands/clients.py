"""`ehc clients …`: institutions, apps and terminals."""

import click

from ehc.access import clients as access
from ehc.access.clients import Credentials
from ehc.access.models import ClientRow, InstitutionRow
from ehc.callers import Scope
from ehc.commands.context import Deployment, deployment

_USUAL_SCOPES = [str(scope) for scope in (Scope.CARDS, Scope.CODES)]
_APP_SCOPES = [*_USUAL_SCOPES, str(Scope.BATCH), str(Scope.BINDINGS)]


@click.group()
def clients() -> None:
    """接入管理 · institutions, apps and terminals."""


@clients.command("add-institution")
@click.argument("code")
@click.argument("name")
@deployment
def add_institution(place: Deployment, code: str, name: str) -> None:
    """Add an institution."""
    with place.work() as session:
        row = access.add_institution(session, code=code, name=name, now=place.clock.now())
        click.echo(f"{row.id} {row.code} {row.name}")


@clients.command("static-codes")
@click.argument("institution_code")
@click.option("--allow/--refuse", "allowed", required=True)
@deployment
def static_codes(place: Deployment, institution_code: str, allowed: bool) -> None:
    """Whether printed and other static codes count at an institution. They do not unless allowed."""
    with place.work() as session:
        access.allow_static(session, access.institution(session, institution_code), allowed, now=place.clock.now())


@clients.command("add-app")
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(_APP_SCOPES), default=_USUAL_SCOPES, show_default=True
)
@click.option("--sandbox", is_flag=True, help="Sees synthetic people and nobody else. Never changes.")
@deployment
def add_app(place: Deployment, name: str, scopes: tuple[str, ...], sandbox: bool) -> None:
    """Add an app that is live at once; prints its credentials, once. `ehc apps draft` asks somebody else first."""
    wanted = frozenset(map(Scope, scopes))
    with place.work() as session:
        made = access.add_app(session, name=name, scopes=wanted, sandbox=sandbox, now=place.clock.now())
    _tell(made)


@clients.command("add-terminal")
@click.argument("institution_code")
@click.argument("terminal_code")
@click.argument("name")
@click.option("--sandbox", is_flag=True, help="Sees cards of synthetic people and no others. Never changes.")
@deployment
def add_terminal(place: Deployment, institution_code: str, terminal_code: str, name: str, sandbox: bool) -> None:
    """Add a terminal of an institution; prints its credentials, once."""
    with place.work() as session:
        owner, now = access.institution(session, institution_code), place.clock.now()
        made = access.add_terminal(
            session, name=name, terminal_code=terminal_code, owner=owner, sandbox=sandbox, now=now
        )
    _tell(made)


@clients.command("new-secret")
@click.argument("client_id")
@deployment
def new_secret(place: Deployment, client_id: str) -> None:
    """Give a client a new secret; those it has stop at once. `ehc apps add-secret` leaves them time."""
    with place.work() as session:
        made = access.new_secret(session, client_id, now=place.clock.now())
    _tell(made)


@clients.command()
@click.argument("client_id")
@deployment
def disable(place: Deployment, client_id: str) -> None:
    """Stop a client. Tokens that it holds stop within 10 seconds."""
    with place.work() as session:
        access.disable(session, client_id, now=place.clock.now())


@clients.command("list")
@deployment
def list_clients(place: Deployment) -> None:
    """List the clients."""
    with place.work() as session:
        institutions = {row.id: row.code for row in session.query(InstitutionRow)}
        for row in session.query(ClientRow).order_by(ClientRow.created_at):
            state = "disabled" if row.disabled_at else "live"
            owner = institutions[row.institution_id] if row.institution_id else "-"
            click.echo(f"{row.client_id:24} {row.kind:8} {state:8} {owner:24} {','.join(row.scopes):16} {row.name}")


def _tell(made: Credentials) -> None:
    click.echo(f"client_id     {made.client_id}\nclient_secret {made.client_secret}")
    click.echo("密钥只显示这一次。 The secret is shown only once.", err=True)
