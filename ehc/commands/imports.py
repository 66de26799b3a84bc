"""`ehc cards import` and `ehc cards export`: whole provinces."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import click
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from ehc.access.models import ClientRow
from ehc.callers import ClientKind
from ehc.cards.states import LIVE, CardStatus, Level
from ehc.commands.context import Deployment, deployment
from ehc.files.pieces import ENCODINGS, PIECE_BYTES
from ehc.files.progress import Progress
from ehc.issuer.batch import export
from ehc.issuer.batch.files import ImportFile, Report, require_room, write_faults
from ehc.issuer.batch.options import Options
from ehc.issuer.batch.preparing import LEVELS
from ehc.place import Place

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("import")
@click.argument("file", type=_FILE)
@click.option("--dry-run", is_flag=True, help="Check everything, write nobody.")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes at once.  [default: 2, or 1 on one core]")
@click.option("--errors", type=click.Path(dir_okay=False, path_type=Path), help="[default: FILE.errors.csv]")
@click.option("--client", help="App that gains a grant for every card: its client id.")
@click.option("--level", type=click.Choice(list(map(str, LEVELS))), default="document-seen", show_default=True,
              help="How people were proved whose row does not say.")  # fmt: skip
@click.option("--encoding", type=click.Choice(ENCODINGS), default="utf-8", show_default=True)
@click.option("--again", is_flag=True, help="Import a file anew that was imported before.")
@click.option("--piece-kib", type=click.IntRange(1, 4096), default=PIECE_BYTES // 1024, show_default=True,
              help="What a worker writes in one transaction.")  # fmt: skip
@deployment
def import_people(
    deployed: Deployment,
    *,
    file: Path,
    dry_run: bool,
    workers: int | None,
    errors: Path | None,
    client: str | None,
    level: str,
    encoding: str,
    again: bool,
    piece_kib: int,
) -> None:
    """Import people from a CSV file, or go on with it after a kill: the same command does what is missing."""
    client_id = _app(deployed, client) if client else None
    options = Options([], encoding, Level(level), client_id, dry_run=dry_run, piece_bytes=piece_kib * 1024)
    place = Place(deployed.settings, clock=deployed.clock, connections=1)
    progress = Progress(file.stat().st_size, sys.stderr)
    told = errors or file.with_name(file.name + ".errors.csv")
    try:
        require_room(told)
    except OSError as error:
        raise click.ClickException(f"无法写入 Cannot write {told}: {error.strerror}") from None
    imported = ImportFile(place, file, options, workers=workers or min(os.cpu_count() or 1, 2), teller=progress)
    try:
        report = imported.run(again=again)
        write_faults(place, report.run_id, told)
    except BaseException:
        if imported.run_id is not None:
            with suppress(OSError, SQLAlchemyError):  # what stopped the import is what is told
                write_faults(place, imported.run_id, told)
        raise
    finally:
        progress.end()
        place.close()
    _tell(report, told, dry_run=dry_run)


@click.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--status", "statuses", multiple=True, type=click.Choice(list(map(str, CardStatus))),
              default=list(map(str, LIVE)), show_default=True)  # fmt: skip
@deployment
def export_people(deployed: Deployment, *, file: Path, statuses: tuple[str, ...]) -> None:
    """Write the holders of cards to a new CSV file, in clear, for its owner alone. Guard it like the register itself."""
    place = Place(deployed.settings, clock=deployed.clock, connections=1)
    wanted = [CardStatus(status) for status in statuses]
    try:
        sealer = place.secrets().sealer
        count = export.export_people(place.patient_work, file, wanted, sealer=sealer, clock=deployed.clock)
    except FileExistsError:
        raise click.ClickException("该文件已存在，不会覆盖。 The file exists and is not overwritten.") from None
    finally:
        place.close()
    click.echo(f"cards {count}")


def _app(deployed: Deployment, client: str) -> UUID:
    with deployed.work() as session:
        mine = select(ClientRow.id).where(ClientRow.client_id == client, ClientRow.kind == ClientKind.APP)
        found = session.scalar(mine)
    if found is None:
        raise click.ClickException("没有这个应用。 There is no app with this client id.")
    return found


def _tell(report: Report, errors: Path, *, dry_run: bool) -> None:
    counts = report.counts
    click.echo("试导入，未写入人员。 Dry run: nobody was written." if dry_run else f"run     {report.run_id}")
    click.echo(f"rows    {counts.rows}")
    click.echo(f"made    {counts.made}")
    click.echo(f"known   {counts.known}")
    click.echo(f"bad     {counts.bad}  -> {errors}")
    for code, often in report.by_code.items():
        click.echo(f"        {code} {often}")
    if report.rows_now:
        cores = os.cpu_count() or 1
        rate = report.rows_now / report.seconds
        click.echo(f"seconds {report.seconds:.1f}, {report.rows_now} rows in this start")
        click.echo(f"rate    {rate:,.0f} rows/s, {rate / cores:,.0f} a core of this machine's {cores}")
        click.echo(f"memory  {report.peak_bytes / 1e6:.0f} MB at most, all processes")
    else:
        click.echo("该文件此前已导入完毕；要重新核对请用 --again。 Imported before; --again goes through it anew.")
