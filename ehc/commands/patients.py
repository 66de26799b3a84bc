"""`ehc bindings patients …`: hospitals' lists of existing patients, and those among them whom a person must decide on."""

import sys
import time
from functools import partial
from pathlib import Path
from uuid import UUID

import click

from ehc.access import clients
from ehc.binding import patient_lists, patient_reviews
from ehc.binding.patient_lists import PatientList, Why
from ehc.commands.context import Deployment, deployment
from ehc.db import until_none
from ehc.files.pieces import ENCODINGS
from ehc.files.progress import Progress
from ehc.keystore import secret_keys
from ehc.place import Place

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_STAFF = click.option("--by", "staff", required=True, help="Staff number of who decides.")


@click.group()
def patients() -> None:
    """院内ID · hospital patient ids in bulk."""


@patients.command("import")
@click.argument("institution")
@click.argument("file", type=_FILE)
@click.option("--errors", type=click.Path(dir_okay=False, path_type=Path), help="[default: FILE.errors.csv]")
@click.option("--encoding", type=click.Choice(ENCODINGS), default="utf-8", show_default=True)
@deployment
def import_patients(deployed: Deployment, *, institution: str, file: Path, errors: Path | None, encoding: str) -> None:
    """Bind the patients in a CSV file of an institution (its code), or go on with it after a kill.

    Columns: patient_id, patient_id_type (outpatient or inpatient), name, id_type, id_number. Whoever is not an exact match
    waits for `ehc bindings patients decide`.
    """
    with deployed.work() as session:
        owner = clients.institution(session, institution).id
    place = Place(deployed.settings, clock=deployed.clock, connections=1)
    progress, began = Progress(file.stat().st_size, sys.stderr), time.monotonic()
    try:
        listed = PatientList(place, file, owner, encoding=encoding, actor="operator", teller=progress)
        report = listed.run()
        told = errors or file.with_name(file.name + ".errors.csv")
        patient_lists.write_faults(place, report.run_id, told)
    finally:
        progress.end()
        place.close()
    for name, count in report._asdict().items():
        click.echo(f"{name.removesuffix('_id'):7} {count}" + (f"  -> {told}" if name == "bad" else ""))
    click.echo(f"seconds {time.monotonic() - began:.1f}")


@patients.command("list")
@click.argument("institution")
@deployment
def list_(deployed: Deployment, institution: str) -> None:
    """List who waits at an institution, and why; no names, no numbers."""
    with deployed.work() as session:
        owner = clients.institution(session, institution).id
        for row in patient_reviews.waiting(session, owner):
            click.echo(f"{row.id} {row.created_at:%Y-%m-%dT%H:%M:%SZ} {row.id_type:10} {row.reason} line {row.line}")


@patients.command()
@click.argument("review_id", type=click.UUID)
@_STAFF
@deployment
def show(deployed: Deployment, review_id: UUID, staff: str) -> None:
    """Show one of them in clear; this is recorded."""
    with deployed.work() as session:
        secrets, now = secret_keys.load(session, deployed.kek), deployed.clock.now()
        shown = patient_reviews.show(session, review_id, by=f"staff:{staff}", secrets=secrets, now=now)
    click.echo(f"patient id {shown.number}\nname       {shown.name}\ncard of    {shown.holder or '-'}")


@patients.command()
@click.argument("review_id", type=click.UUID)
@click.option("--bind/--dismiss", default=None, required=True, help="Bind the patient id after all, or leave it.")
@_STAFF
@deployment
def decide(deployed: Deployment, review_id: UUID, *, bind: bool, staff: str) -> None:
    """Decide on one of them."""
    with deployed.work() as session:
        by, now = f"staff:{staff}", deployed.clock.now()
        if bind:
            secrets = secret_keys.load(session, deployed.kek)
            patient_reviews.bind(session, review_id, by=by, secrets=secrets, now=now)
        else:
            patient_reviews.dismiss(session, review_id, by=by, now=now)
    click.echo("bound" if bind else "dismissed")


@patients.command()
@click.argument("institution")
@click.option("--reason", required=True, type=click.Choice([str(why) for why in Why]), help="Those who wait for this.")
@_STAFF
@deployment
def dismiss(deployed: Deployment, institution: str, *, reason: str, staff: str) -> None:
    """Dismiss everybody who waits at an institution for one reason; what was known of them is erased."""
    with deployed.work() as session:
        owner = clients.institution(session, institution).id
    step = partial(
        patient_reviews.dismiss_alike,
        institution_id=owner, reason=reason, by=f"staff:{staff}", now=deployed.clock.now(),
    )  # fmt: skip
    click.echo(f"{until_none(deployed.work, step)} dismissed")
