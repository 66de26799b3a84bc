"""`ehc db …`: migrations, partitions, purges."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click
import flask_migrate
from flask import Flask

from ehc.app import create_app, database
from ehc.clock import local_day
from ehc.commands import roles
from ehc.commands.context import Deployment, deployment
from ehc.db import until_none
from ehc.edge.upkeep import PURGES
from ehc.settings import Settings
from ehc.verify.partitions import ensure_partitions, purge_spent_codes
from ehc.web.idempotency import purge_keys

MIGRATIONS = Path(__file__).parents[2] / "migrations"


@click.group()
def db() -> None:
    """数据库维护 · database upkeep."""


@db.command()
@deployment
def upgrade(place: Deployment) -> None:
    """Bring the tables up to date and make the partitions ahead. Safe to run twice."""
    upgrade_tables(place)
    make_partitions(place)


@db.command()
@deployment
def check(place: Deployment) -> None:
    """Fail if the tables and the models differ."""
    with _app(place):
        flask_migrate.check()


@db.command("app-role")
@click.argument("name", required=False)
@click.option(
    "--check", "check_only", is_flag=True, help="Only fail if NAME, or EHC_DATABASE_URL's role, is too strong."
)
@deployment
def app_role(place: Deployment, name: str | None, check_only: bool) -> None:
    """Let a role do what the service needs and no more. Run it as the owner of the tables, again after every upgrade."""
    if name is None and not check_only:
        raise click.UsageError("NAME is missing")
    with place.work() as session:
        if name is None or check_only:
            roles.require_weak(session, name)
            return
        tables = roles.grant(session, name)
    click.echo(f"{len(tables)} tables")


@db.command()
@deployment
def partitions(place: Deployment) -> None:
    """Make the monthly partitions ahead. Safe to run twice; run it daily."""
    for name in make_partitions(place):
        click.echo(name)


@db.command()
@deployment
def purge(place: Deployment) -> None:
    """Forget what has had its time: spent codes and assertions, enrolments, tries, idempotency keys, events, uploads."""
    codes, keys = purge_old(place)
    click.echo(f"codes {codes}, idempotency keys {keys}")


@db.command()
@deployment
def upkeep(place: Deployment) -> None:
    """Partitions and purge in one: what a timer runs every few minutes. Safe to run twice, and at the same time."""
    made = make_partitions(place)
    codes, keys = purge_old(place)
    click.echo(f"partitions {len(made)}, codes {codes}, idempotency keys {keys}")


def upgrade_tables(place: Deployment) -> None:
    """Run the migrations that the database lacks."""
    with _app(place):
        flask_migrate.upgrade()


def migrating(settings: Settings) -> Flask:
    """The app with what migrations need besides. Here and not in every worker, each of which would hold 11 MB for it."""
    app = create_app(settings)
    flask_migrate.Migrate(app, database, directory=str(MIGRATIONS))
    return app


@contextmanager
def _app(place: Deployment) -> Iterator[None]:
    """The app that migrations run in; its connections are closed afterwards, since this process may live on."""
    with migrating(place.settings).app_context():
        try:
            yield
        finally:
            database.engine.dispose()


def make_partitions(place: Deployment) -> list[str]:
    """Make what is missing; returns the names."""
    with place.work() as session:
        return ensure_partitions(session, today=local_day(place.clock.now()))


def purge_old(place: Deployment) -> tuple[int, int]:
    """Forget what has had its time; returns how many codes and how many keys."""
    now = place.clock.now()
    forgotten = {forget: until_none(place.work, partial(forget, now=now)) for forget in PURGES}
    return forgotten[purge_spent_codes], forgotten[purge_keys]
