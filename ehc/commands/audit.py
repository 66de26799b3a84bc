"""`ehc audit …`: the audit log."""

import click

from ehc import audit as log
from ehc.commands.context import Deployment, deployment


@click.group()
def audit() -> None:
    """审计 · the audit log."""


@audit.command()
@deployment
def verify(place: Deployment) -> None:
    """Follow every chain; fail if a row was changed, added or taken out."""
    with place.work() as session:
        broken = list(log.broken_links(session))
    for chain, seq in broken[:100]:
        click.echo(f"chain {chain}, row {seq}: does not follow from the row before")
    if broken:
        raise click.ClickException(f"{len(broken)} broken links")
    click.echo("审计链完整。 The audit log is whole.")
