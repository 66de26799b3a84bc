"""`ehc institutions …`: regions, institutions, their codes and departments; and many of them from a file."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from sqlalchemy.orm import Session

from ehc.access import clients, departments, institution_codes, institution_files, regions
from ehc.access import institutions as access
from ehc.access.institutions import KINDS, MOVES, OPERATOR, STATES, Filter
from ehc.access.models import InstitutionRow
from ehc.callers import Branch
from ehc.commands.context import Deployment, deployment
from ehc.core.institution_codes import CodeKind, kind_of, read_code
from ehc.files.pieces import ENCODINGS
from ehc.keystore import secret_keys

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_KIND = click.Choice(list(KINDS))
_PAGE = 100
_MOST_BYTES = 16 * 2**20


def _contact_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for name in reversed(access.CONTACTS):
        command = click.option(f"--contact-{name}", help="Kept sealed.")(command)
    return command


def _contacts(given: dict[str, Any]) -> dict[str, str]:
    return {name: given[f"contact_{name}"] for name in access.CONTACTS if given[f"contact_{name}"]}


@click.group()
def institutions() -> None:
    """机构管理 · institutions, their codes, states and departments. CODE is any code an institution has now."""


@institutions.command("load-regions")
@deployment
def load_regions(place: Deployment) -> None:
    """Bring the table of regions to the data of this release (GB/T 2260). As the owner of the tables."""
    with place.work() as session:
        loaded = regions.load(session, actor=OPERATOR.actor, now=place.clock.now())
    for name, codes in vars(loaded).items():
        click.echo(f"{name:8} {len(codes)} {' '.join(codes[:20])}".rstrip())


@institutions.command("regions")
@click.argument("parent", required=False)
@deployment
def list_regions(place: Deployment, parent: str | None) -> None:
    """List the provinces, or what lies right below a region."""
    with place.work() as session:
        for row in regions.listed(session, Branch(), parent=parent):
            click.echo(f"{row.code} {row.name}")


@institutions.command()
@click.argument("codes", nargs=-1, required=True)
@click.option("--name", required=True)
@click.option("--kind", type=_KIND, default="hospital", show_default=True)
@click.option("--region", required=True, help="Six digits of GB/T 2260.")
@_contact_options
@deployment
def add(
    place: Deployment, /, codes: tuple[str, ...], name: str, kind: str, region: str, **contacts: str | None
) -> None:
    """Add an institution with its codes; the first is the one it is known by here, for good."""
    read = [(kind_of(code), read_code(kind_of(code), code)) for code in codes]
    with place.work() as session:
        row = access.add(
            session,
            OPERATOR,
            name=name,
            kind=kind,
            region=region,
            codes=read,
            contacts=_contacts(contacts),
            sealer=secret_keys.load(session, place.kek).sealer,
            now=place.clock.now(),
        )
        click.echo(f"{row.id} {row.code} {row.name}")


@institutions.command()
@click.argument("code")
@click.option("--name")
@click.option("--kind", type=_KIND)
@click.option("--region", help="Six digits of GB/T 2260.")
@_contact_options
@deployment
def change(place: Deployment, /, code: str, **given: Any) -> None:
    """Change an institution; what is left out stays."""
    with place.work() as session:
        sealer = secret_keys.load(session, place.kek).sealer
        row = clients.institution(session, code)
        changes = {name: given[name] for name in ("name", "kind", "region") if given[name] is not None}
        if contacts := _contacts(given):
            changes["contacts"] = access.opened(row, sealer) | contacts
        access.change(session, OPERATOR, row.id, changes, version=None, sealer=sealer, now=place.clock.now())


@institutions.command("list")
@click.option("--region")
@click.option("--kind", type=_KIND)
@click.option("--state", type=click.Choice(STATES))
@click.option("--name", help="A part of the name.")
@deployment
def list_(place: Deployment, /, **wanted: str | None) -> None:
    """List institutions, newest first."""
    if wanted["region"] is not None:
        with place.work() as session:
            regions.require_region(session, wanted["region"])
    after = None
    while True:
        with place.work() as session:
            rows = access.listed(session, Branch(), Filter(**wanted), after=after, limit=_PAGE)
        for row in rows[:_PAGE]:
            click.echo(f"{row.id} {row.code:22} {row.region or '-':6} {row.kind:16} {row.state:9} {row.name}")
        if len(rows) <= _PAGE:
            return
        after = rows[_PAGE - 1].created_at, rows[_PAGE - 1].id


@institutions.command()
@click.argument("code")
@click.option("--contacts/--no-contacts", "clear", default=False, help="Show the contacts in clear.")
@deployment
def show(place: Deployment, code: str, clear: bool) -> None:
    """Show an institution with all codes it has and had, and its departments."""
    with place.work() as session:
        row = clients.institution(session, code)
        region = regions.names(session, {row.region}).get(row.region, "-")
        click.echo(f"{row.id} {row.name}\nkind   {row.kind}\nregion {row.region or '-'} {region}\nstate  {row.state}")
        for held in institution_codes.of(session, row.id):
            click.echo(
                f"code   {held.id} {held.kind:6} {held.code:22} {held.valid_from} {held.valid_until or ''}".rstrip()
            )
        for one in departments.of(session, row.id):
            codes = f"{one.standard_code or '-':4} {one.local_code or '-':10}"
            click.echo(f"department {one.id} {one.parent_id or '-'} {codes} {one.name}")
        if clear:
            for name, value in access.opened(row, secret_keys.load(session, place.kek).sealer).items():
                click.echo(f"contact {name:7} {value}")


def _add_move(name: str) -> None:
    @institutions.command(name, help=f"{name.capitalize()} an institution; its terminals follow within ten seconds.")
    @click.argument("code")
    @click.option("--reason", required=True, help="For the audit log; no personal data.")
    @deployment
    def move(place: Deployment, code: str, reason: str) -> None:
        with place.work() as session:
            row = clients.institution(session, code)
            click.echo(access.move(session, OPERATOR, row.id, name, reason=reason, now=place.clock.now()).state)


for _name in MOVES:
    _add_move(_name)


@institutions.command("add-code")
@click.argument("code")
@click.argument("kind", type=click.Choice([str(kind) for kind in CodeKind]))
@click.argument("new_code")
@click.option("--from", "valid_from", type=click.DateTime(["%Y-%m-%d"]), help="[default: today]")
@deployment
def add_code(place: Deployment, code: str, kind: str, new_code: str, valid_from: Any) -> None:
    """Give an institution another code."""
    _with(
        place,
        code,
        lambda session, row: institution_codes.add(
            session,
            OPERATOR,
            row.id,
            CodeKind(kind),
            new_code,
            valid_from=valid_from and valid_from.date(),
            now=place.clock.now(),
        ),
    )


@institutions.command("end-code")
@click.argument("code")
@click.argument("code_id", type=click.UUID)
@click.option("--on", "valid_until", type=click.DateTime(["%Y-%m-%d"]), help="[default: today]")
@deployment
def end_code(place: Deployment, code: str, code_id: UUID, valid_until: Any) -> None:
    """End a code of an institution; it stays in its history."""
    last = valid_until and valid_until.date()
    _with(
        place,
        code,
        lambda session, row: institution_codes.end(
            session, OPERATOR, row.id, code_id, valid_until=last, now=place.clock.now()
        ),
    )


@institutions.command("add-department")
@click.argument("code")
@click.argument("name")
@click.option("--standard-code", help="One of the standard departments.")
@click.option("--local-code")
@click.option("--parent", "parent_id", type=click.UUID)
@deployment
def add_department(place: Deployment, /, code: str, **facts: Any) -> None:
    """Add a department."""
    _with(
        place,
        code,
        lambda session, row: departments.add(session, OPERATOR, row.id, facts, now=place.clock.now()),
    )


@institutions.command("change-department")
@click.argument("code")
@click.argument("department_id", type=click.UUID)
@click.option("--name")
@click.option("--standard-code")
@click.option("--local-code")
@click.option("--parent", "parent_id", type=click.UUID)
@deployment
def change_department(place: Deployment, /, code: str, department_id: UUID, **facts: Any) -> None:
    """Change a department; what is left out stays."""
    changes = {name: value for name, value in facts.items() if value is not None}
    _with(
        place,
        code,
        lambda session, row: departments.change(
            session, OPERATOR, row.id, department_id, changes, version=None, now=place.clock.now()
        ),
    )


@institutions.command("end-department")
@click.argument("code")
@click.argument("department_id", type=click.UUID)
@deployment
def end_department(place: Deployment, code: str, department_id: UUID) -> None:
    """End a department that has none below it."""
    with place.work() as session:
        row = clients.institution(session, code)
        departments.end(session, OPERATOR, row.id, department_id, now=place.clock.now())


@institutions.command("import")
@click.argument("file", type=_FILE)
@click.option("--errors", type=click.Path(dir_okay=False, path_type=Path), help="[default: FILE.errors.csv]")
@click.option("--encoding", type=click.Choice(ENCODINGS), default="utf-8", show_default=True)
@deployment
def import_(place: Deployment, file: Path, errors: Path | None, encoding: str) -> None:
    """Bring institutions from a CSV file. Right rows are applied; the same file again changes nothing.

    Columns: name, kind, region; ws218_code, uscc, clinic_code, local_code (one at least); contact_name, contact_phone,
    contact_email, contact_address.
    """
    with place.work() as session:
        sealer = secret_keys.load(session, place.kek).sealer
    read = BytesIO(file.read_bytes()).read
    row = institution_files.bring(
        place.work, read, OPERATOR, encoding=encoding, sealer=sealer, now=place.clock.now, most=_MOST_BYTES
    )
    told = errors or file.with_name(file.name + ".errors.csv")
    with place.work() as session, told.open("w", encoding="utf-8-sig", newline="") as out:
        institution_files.write_faults(session, row.id, out)
    for name in ("added", "changed", "unchanged"):
        click.echo(f"{name:9} {getattr(row, name)}")
    click.echo(f"bad       {row.bad}" + (f"  -> {told}" if row.bad else ""))


def _with(place: Deployment, code: str, act: Callable[[Session, InstitutionRow], Any]) -> None:
    """Do something with an institution, and say the id of what came of it."""
    with place.work() as session:
        click.echo(act(session, clients.institution(session, code)).id)
