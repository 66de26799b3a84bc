"""`ehc disclosure …`: what a check may tell whom. A new version takes two of the staff, over /v1/admin/disclosure."""

from datetime import datetime

import click
from sqlalchemy.orm import Session

from ehc.access.explaining import Explained
from ehc.access.explaining import explain as explain_terminal
from ehc.access.models import InstitutionRow
from ehc.callers import Branch
from ehc.commands.context import Deployment, deployment
from ehc.core.tables import MEDICAL_STEPS, medical_step
from ehc.disclosure import versions
from ehc.disclosure.fields import DEFAULT, ordered
from ehc.disclosure.table import Rule, difference

_STEP = click.Choice([name for step in MEDICAL_STEPS for name in (step.word, *step.codes)])
_VERSION = click.IntRange(0, 2**31 - 1)


@click.group()
def disclosure() -> None:
    """信息披露 · what a check tells an institution."""


@disclosure.command()
@click.option("--version", type=_VERSION, help="[default: the one in force]")
@deployment
def show(place: Deployment, version: int | None) -> None:
    """Show the table, the one in force or an older one. 0 is what the service ships with."""
    with place.work() as session:
        table = versions.table_of(session, version)
        click.echo(f"version {table.version}")
        for rule in table.rules:
            click.echo(_line(session, rule))
        click.echo(f"{'default':42} {' '.join(ordered(DEFAULT))}")


@disclosure.command("versions")
@deployment
def list_versions(place: Deployment) -> None:
    """List the versions: since when, who proposed and who approved it."""
    with place.work() as session:
        for row in versions.history(session):
            click.echo(f"{row.version:4} {row.since:%Y-%m-%dT%H:%M:%SZ} {row.proposed_by} {row.approved_by}")


@disclosure.command()
@click.argument("old", type=_VERSION)
@click.argument("new", type=_VERSION)
@deployment
def diff(place: Deployment, old: int, new: int) -> None:
    """Tell what became of the rows from one version to another."""
    with place.work() as session:
        found = difference(versions.table_of(session, old), versions.table_of(session, new))
        for sign, rules in (("-", found.removed), ("+", found.added)):
            for rule in rules:
                click.echo(f"{sign} {_line(session, rule)}")


@disclosure.command()
@click.option("--terminal", required=True, help="Its terminal code, or its client id.")
@click.option("--step", required=True, type=_STEP, help="Medical step: its word or its code.")
@click.option("--at", type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z"]), help="[default: now]")
@deployment
def explain(place: Deployment, terminal: str, step: str, at: datetime | None) -> None:
    """Tell what a terminal would see at a step, the row that decides, and why the others do not."""
    with place.work() as session:
        when = at or place.clock.now()
        found = explain_terminal(session, terminal, medical_step(step) or "other", branch=Branch(), at=when)
        for line in _explained(session, found):
            click.echo(line)


def _explained(session: Session, found: Explained) -> list[str]:
    why = "the default: no row is about it" if found.rule is None else _line(session, found.rule)
    return [
        f"terminal    {found.terminal} of {found.institution} ({found.kind or 'no kind'}), step {found.step}",
        f"version     {found.version}",
        f"sees        {' '.join(found.told)}",
        f"at least    {' '.join(found.told_least)}  (a temporary card, or a plastic card alone)",
        "static code name:masked  (alone, and not where payment is the step)",
        "not shared  nothing",
        f"decided by  {why}",
        *(f"{row.fate:11} {_line(session, row.rule)}" for row in found.rows),
    ]


def _line(session: Session, rule: Rule) -> str:
    whom = rule.scope.kind or "any"
    if rule.scope.institution_id is not None:
        row = session.get(InstitutionRow, rule.scope.institution_id)
        whom = row.code if row else str(rule.scope.institution_id)
    since = f"{rule.valid_from:%Y-%m-%dT%H:%M:%SZ}" if rule.valid_from else "-"
    until = f"{rule.valid_until:%Y-%m-%dT%H:%M:%SZ}" if rule.valid_until else "-"
    return f"{whom:24} {rule.scope.step or 'any':13} {since} {until} {' '.join(ordered(rule.told))}  # {rule.reason}"
