"""The command line: `ehc …`, for operators. Each module here is one group of commands."""

import click

from ehc.commands.approvals import approvals
from ehc.commands.apps import apps
from ehc.commands.audit import audit
from ehc.commands.bindings import bindings
from ehc.commands.cards import cards
from ehc.commands.clients import clients
from ehc.commands.context import Group
from ehc.commands.db import db
from ehc.commands.dev import dev
from ehc.commands.disclosure import disclosure
from ehc.commands.family import family
from ehc.commands.gateways import gateways
from ehc.commands.imports import export_people, import_people
from ehc.commands.institutions import institutions
from ehc.commands.jobs import jobs
from ehc.commands.keys import keys
from ehc.commands.sessions import sessions
from ehc.commands.staff import staff
from ehc.commands.terminals import terminals
from ehc.commands.usage import usage
from ehc.commands.webhooks import webhooks
from ehc.commands.worker import worker


@click.group(cls=Group)
@click.version_option(package_name="ehc")
def main() -> None:
    """电子健康卡服务 · the electronic health card service."""


for command in (export_people, family, import_people):
    cards.add_command(command)
for command in (
    approvals,
    apps,
    audit,
    bindings,
    cards,
    clients,
    db,
    dev,
    disclosure,
    gateways,
    institutions,
    jobs,
    keys,
    sessions,
    staff,
    terminals,
    usage,
    webhooks,
    worker,
):
    main.add_command(command)
