"""`ehc dev …`: what developers and testers need."""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from ehc.commands.people import write_people
from ehc.commands.webhook_receiver import webhook_receiver


@click.group()
def dev() -> None:
    """开发与测试 · for development and tests."""


@dev.command()
@click.argument("count", type=click.IntRange(0))
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed, the same people.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="[default: standard output]")
def people(count: int, seed: int, out: Path | None) -> None:
    """Write COUNT synthetic people as a file for `ehc cards import`; tells what was put in."""
    if out is None:
        planted = write_people(sys.stdout, count, seed=seed)
    else:
        with out.open("w", encoding="utf-8", newline="") as file:
            planted = write_people(file, count, seed=seed)
    click.echo(" ".join(f"{name} {number}" for name, number in asdict(planted).items()), err=True)


dev.add_command(webhook_receiver)
