"""`ehc cards …`: the review of applications."""

from uuid import UUID

import click
from sqlalchemy import select

from ehc.cards.models import CardRow
from ehc.cards.states import CardStatus
from ehc.cards.store import no_such_card
from ehc.commands.context import Deployment, deployment
from ehc.issuer import accounts
from ehc.keystore import secret_keys


@click.group()
def cards() -> None:
    """健康卡 · cards."""


@cards.command()
@deployment
def pending(place: Deployment) -> None:
    """List the cards that wait for review, the oldest first."""
    waiting = select(CardRow).where(CardRow.status == CardStatus.PENDING_REVIEW).order_by(CardRow.serial).limit(1000)
    with place.work() as session:
        for card in session.scalars(waiting):
            click.echo(f"{card.id} {card.level:14} {card.created_at:%Y-%m-%dT%H:%M:%SZ}")


@cards.command()
@click.argument("card_id", type=click.UUID)
@click.option("--approve/--reject", required=True)
@click.option("--by", "reviewer", required=True, help="Staff number of the reviewer.")
@click.option("--reason", help="Needed for a rejection; kept sealed.")
@deployment
def review(place: Deployment, card_id: UUID, approve: bool, reviewer: str, reason: str | None) -> None:
    """Decide an application."""
    if not approve and not reason:
        raise click.UsageError("a rejection needs --reason")
    with place.work() as session:
        card = session.scalars(select(CardRow).where(CardRow.id == card_id)).one_or_none()
        if card is None:
            raise no_such_card()
        accounts.review(
            session,
            card,
            approve=approve,
            actor=f"reviewer:{reviewer}",
            reason=reason,
            secrets=secret_keys.load(session, place.kek),
            now=place.clock.now(),
        )
        click.echo(card.status)
