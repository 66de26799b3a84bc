"""The command line: `ehc …`, for operators. Each module here is one group of commands."""

import click

from ehc.commands.audit import audit
from ehc.commands.cards import cards
from ehc.commands.clients import clients
from ehc.commands.context import Group
from ehc.commands.db import db
from ehc.commands.keys import keys


@click.group(cls=Group)
@click.version_option(package_name="ehc")
def main() -> None:
    """电子健康卡服务 · the electronic health card service."""


for group in (audit, cards, clients, db, keys):
    main.add_command(group)
