"""`ehc cards family …`: families, for staff."""

from uuid import UUID

import click

from ehc.cards import store as cards
from ehc.commands.context import Deployment, deployment
from ehc.issuer import family_ties
from ehc.issuer.family_ties import Relative
from ehc.keystore import secret_keys


@click.group()
def family() -> None:
    """家庭成员 · who acts for whom."""


@family.command("list")
@click.argument("card_id", type=click.UUID)
@deployment
def list_(place: Deployment, card_id: UUID) -> None:
    """List the links of a card's holder; no names."""
    with place.work() as session:
        secrets = secret_keys.load(session, place.kek)
        card = cards.by_id(session, card_id)
        found = family_ties.family_of(session, card, secrets=secrets, now=place.clock.now())
    for relative in found.members:
        click.echo(_line("acts-for", relative))
    for relative in found.guardians:
        click.echo(_line("acted-for-by", relative))


@family.command()
@click.argument("link_id", type=click.UUID)
@click.option("--by", "staff", required=True, help="Staff number of who decides.")
@click.option("--reason", required=True, help="Kept sealed.")
@deployment
def end(place: Deployment, link_id: UUID, staff: str, reason: str) -> None:
    """End a link at once, with the guardian's access."""
    with place.work() as session:
        secrets = secret_keys.load(session, place.kek)
        family_ties.end_by_staff(
            session, link_id, actor=f"staff:{staff}", reason=reason, secrets=secrets, now=place.clock.now()
        )
    click.echo("ended")


def _line(how: str, relative: Relative) -> str:
    until = f"{relative.link.until:%Y-%m-%dT%H:%M:%SZ}" if relative.link.until else "-"
    return f"{relative.link.id} {how:12} {relative.link.relation} {until} {relative.card.id}"
