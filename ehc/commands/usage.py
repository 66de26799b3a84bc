"""`ehc usage …`: how much the service is used, and counting it anew."""

from datetime import UTC, datetime, timedelta

import click

from ehc.access import usage_counts
from ehc.access.usage_summary import GROUPS, Question, summary
from ehc.callers import Branch
from ehc.clock import CHINA_TIME
from ehc.commands.context import Deployment, deployment

_DAY = click.DateTime(["%Y-%m-%d"])


@click.group()
def usage() -> None:
    """使用统计 · how much the service is used."""


@usage.command("summary")
@click.option("--from", "first", type=_DAY, required=True, help="First day, in China's calendar.")
@click.option("--until", type=_DAY, required=True, help="The day behind the last.")
@click.option("--by", "groups", multiple=True, type=click.Choice(list(GROUPS)), help="Group by this; may be repeated.")
@click.option("--region", help="GB/T 2260, six digits, and all below it.")
@deployment
def usage_summary(place: Deployment, first: datetime, until: datetime, groups: tuple[str, ...], region: str) -> None:
    """Count checks. Counts of fewer than 5 are not told."""
    wanted = Question(_instant(first), _instant(until), list(dict.fromkeys(groups)), region=region)
    with place.work() as session:
        for count in summary(session, Branch(), wanted):
            told = "<5" if count.checks is None else str(count.checks)
            click.echo(f"{told:>12} {' '.join(str(value or '-') for value in count.of.values())}".rstrip())


@usage.command("rebuild")
@click.option("--from", "first", type=_DAY, required=True, help="First day, in China's calendar.")
@click.option("--until", type=_DAY, required=True, help="The day behind the last.")
@deployment
def usage_rebuild(place: Deployment, first: datetime, until: datetime) -> None:
    """Count days anew from the record of checks. Days whose checks are no longer there lose their counts."""
    if until <= first:
        raise click.UsageError("--until 应晚于 --from。 --until is behind --from.")
    while first < until:
        with place.work() as session:
            counts = usage_counts.rebuild(session, since=_instant(first), until=_instant(first + timedelta(days=1)))
        click.echo(f"{first.date()} {counts}")
        first += timedelta(days=1)


def _instant(day: datetime) -> datetime:
    return day.replace(tzinfo=CHINA_TIME).astimezone(UTC)
