"""`ehc bindings …`: what is bound to cards. Each kind of binding has commands of its own."""

import click

from ehc.commands.bank import bank
from ehc.commands.patients import patients
from ehc.commands.plastic import plastic_cards


@click.group()
def bindings() -> None:
    """绑定 · plastic cards, hospital patient ids, bank accounts."""


for group in (bank, patients, plastic_cards):
    bindings.add_command(group)
