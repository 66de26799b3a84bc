"""`ehc bindings plastic …`: what staff do with the plastic cards of a card."""

from uuid import UUID

import click

from ehc import audit
from ehc.binding import plastic, plastic_moves
from ehc.binding.plastic_moves import Shown, state_of
from ehc.cards import blacklist, store
from ehc.cards.binding_events import Why
from ehc.cards.bindings import number_place
from ehc.cards.plastic_states import CONFIRM_LOSS, END, FIND, PlasticMove
from ehc.cards.states import Party
from ehc.cards.store import Acting
from ehc.commands.context import Deployment, deployment
from ehc.core.masking import mask_number
from ehc.keystore import secret_keys

_MOVES = {
    "confirm-loss": (CONFIRM_LOSS, "Report a plastic card lost, the holder's document in sight; until it is found."),
    "found": (FIND, "Have a lost plastic card count again, the holder's document in sight."),
    "cancel": (END, "Cancel a plastic card; it may be bound again."),
}


@click.group("plastic")
def plastic_cards() -> None:
    """实体卡 · plastic cards."""


@plastic_cards.command("list")
@click.argument("card_id", type=click.UUID)
@deployment
def list_plastic(place: Deployment, card_id: UUID) -> None:
    """List every plastic card that was ever on a card, the oldest first: id, kind, state, since when, masked number."""
    now = place.clock.now()
    with place.work() as session:
        card, sealer = store.by_id(session, card_id), secret_keys.load(session, place.kek).sealer
        for row in plastic.history_of(session, card):
            number = mask_number(sealer.unseal(row.number, number_place("plastic_card", row.id)))
            click.echo(f"{row.id} {row.kind} {state_of(row, now)} {row.state_changed_at:%Y-%m-%dT%H:%M:%SZ} {number}")


@plastic_cards.command()
@click.option("--by", "staff", required=True, help="Staff number.")
@deployment
def relist(place: Deployment, staff: str) -> None:
    """Have the whole blacklist told to all terminals anew: after the database was restored to an earlier point."""
    now = place.clock.now()
    with place.work() as session:
        count = blacklist.tell_anew(session, now=now)
        facts = {"entries": count}
        audit.record(session, "blacklist.told-anew", actor=f"staff:{staff}", subject="blacklist", at=now, facts=facts)
    click.echo(f"{count} entries")


def _add_move(name: str, how: PlasticMove, about: str) -> None:
    @plastic_cards.command(name, help=about)
    @click.argument("card_id", type=click.UUID)
    @click.argument("binding_id", type=click.UUID)
    @click.option("--by", "staff", required=True, help="Staff number.")
    @click.option("--reason", required=True, help="Kept sealed.")
    @deployment
    def move(place: Deployment, card_id: UUID, binding_id: UUID, staff: str, reason: str) -> None:
        with place.work() as session:
            card, sealer = store.by_id(session, card_id), secret_keys.load(session, place.kek).sealer
            row = plastic.of_card(session, card, binding_id)
            plastic_moves.hold(session, card, row)
            shown = Shown(Acting(f"staff:{staff}", Party.STAFF), sealer, place.clock.now())
            ended_for = "staff" if how is END else None
            plastic_moves.move(session, card, row, how, shown=shown, why=Why(reason, sealer), ended_for=ended_for)
            click.echo(row.state)


for _name, (_how, _about) in _MOVES.items():
    _add_move(_name, _how, _about)
