"""`ehc terminals …`: enrolling, blocking and replacing terminals, and which of them want looking after."""

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc.access import clients as access
from ehc.access import enrolments
from ehc.access import terminals as domain
from ehc.access.enrolments import Plan
from ehc.access.models import ClientRow
from ehc.access.terminal_admin_api import qr_text
from ehc.access.terminals import BlockReason, Doer, Kind, NoSuchTerminal, Position, Terminal
from ehc.callers import Branch
from ehc.clock import CHINA_TIME
from ehc.codes.images import draw_svg
from ehc.commands.context import Deployment, deployment
from ehc.core.tables import MEDICAL_STEPS
from ehc.errors import Text
from ehc.keystore import secret_keys

_OPERATOR = Doer("operator", Branch())
_ALL = 100
_QR = click.option(
    "--qr", "picture", type=click.Path(dir_okay=False, path_type=Path), help="Also draw it into this SVG file."
)


@click.group()
def terminals() -> None:
    """识读终端管理 · terminals."""


@terminals.command()
@click.argument("institution_code")
@click.argument("terminal_code")
@click.argument("name")
@click.option("--kind", type=click.Choice([str(kind) for kind in Kind]), default="window", show_default=True)
@click.option("--department")
@click.option("--step", "steps", multiple=True, type=click.Choice([step.word for step in MEDICAL_STEPS]))
@_QR
@deployment
def enrol(place: Deployment, /, institution_code: str, picture: Path | None, **told: Any) -> None:
    """Make a one-time code for a terminal to be; all steps unless some are named."""
    told["steps"] = list(told["steps"]) or None
    with place.work() as session:
        plan = Plan(access.institution(session, institution_code).id, **told)
        index = secret_keys.load(session, place.kek).blind_index
        _, code = enrolments.make(session, plan, doer=_OPERATOR, index=index, now=place.clock.now())
    _tell(place, code, picture)


@terminals.command()
@click.argument("client_id")
@_QR
@deployment
def replace(place: Deployment, client_id: str, picture: Path | None) -> None:
    """Make a one-time code for the terminal that will take this one's place and code."""
    with place.work() as session:
        index = secret_keys.load(session, place.kek).blind_index
        old = _row_id(session, client_id)
        _, code = enrolments.replace(session, old, doer=_OPERATOR, index=index, now=place.clock.now())
    _tell(place, code, picture)


@terminals.command()
@click.argument("client_id")
@click.option("--reason", type=click.Choice([str(reason) for reason in BlockReason]), required=True)
@deployment
def block(place: Deployment, client_id: str, reason: str) -> None:
    """Stop a terminal: no token any more, and those it holds stop within 10 seconds."""
    with place.work() as session:
        found = _row_id(session, client_id)
        domain.block(session, found, BlockReason(reason), doer=_OPERATOR, now=place.clock.now())


@terminals.command()
@click.argument("client_id")
@deployment
def unblock(place: Deployment, client_id: str) -> None:
    """Let a blocked terminal call again, with the key or secret it had."""
    with place.work() as session:
        domain.unblock(session, _row_id(session, client_id), doer=_OPERATOR, now=place.clock.now())


@terminals.command()
@click.argument("client_id")
@click.option("--name")
@click.option("--kind", type=click.Choice([str(kind) for kind in Kind]))
@click.option("--department")
@click.option("--step", "steps", multiple=True, type=click.Choice([step.word for step in MEDICAL_STEPS]))
@click.option("--all-steps", is_flag=True)
@deployment
def change(place: Deployment, /, client_id: str, all_steps: bool, **told: Any) -> None:
    """Change what is named of a terminal; counts within 10 seconds."""
    changes = {name: value for name, value in told.items() if value}
    if "steps" in changes:
        changes["steps"] = list(changes["steps"])
    if all_steps == ("steps" in changes) and (all_steps or not changes):
        raise click.UsageError("请指明要改的内容。 Say what is to change; --step or --all-steps, not both.")
    if all_steps:
        changes["steps"] = None
    with place.work() as session:
        domain.change(session, _row_id(session, client_id), None, changes, doer=_OPERATOR, now=place.clock.now())


@terminals.command("enrolments")
@deployment
def list_enrolments(place: Deployment) -> None:
    """The newest hundred enrolments."""
    with place.work() as session:
        found, _ = enrolments.page(session, Branch(), limit=_ALL, before=None)
        for row in found:
            state = enrolments.state_of(row, now=place.clock.now())
            click.echo(f"{row.id} {state:10} {row.terminal_code:20} {row.kind:14} {row.name}")


@terminals.command("take-back")
@click.argument("enrolment_id", type=click.UUID)
@deployment
def take_back(place: Deployment, enrolment_id: UUID) -> None:
    """Take a one-time code back that nobody used."""
    with place.work() as session:
        enrolments.cancel(session, enrolment_id, doer=_OPERATOR, now=place.clock.now())


@terminals.command("list")
@deployment
def list_terminals(place: Deployment) -> None:
    """List the terminals, newest first."""
    before: Position | None = None
    more = True
    while more:
        with place.work() as session:
            found, more = domain.page(session, Branch(), limit=_ALL, before=before)
        for each in found:
            click.echo(_line(each))
        before = (found[-1].client.created_at, found[-1].client.id) if found else None


@terminals.command()
@click.option("--silent-minutes", type=click.IntRange(15, 43_200), default=60, show_default=True)
@deployment
def report(place: Deployment, silent_minutes: int) -> None:
    """Live terminals that are silent, run old software, or have a clock too far off."""
    silent, now = timedelta(minutes=silent_minutes), place.clock.now()
    before: Position | None = None
    more = True
    while more:
        with place.work() as session:
            found, more = domain.attention(session, Branch(), silent=silent, limit=_ALL, before=before, now=now)
        for each in found:
            click.echo(f"{','.join(domain.faults(each, silent=silent, now=now)):24} {_line(each)}")
        before = (found[-1].client.created_at, found[-1].client.id) if found else None


@terminals.command()
@click.argument("kind", type=click.Choice([str(kind) for kind in Kind]))
@click.argument("version")
@deployment
def release(place: Deployment, kind: str, version: str) -> None:
    """Say which software is the newest for a kind of terminal."""
    if not domain.is_version(version):
        raise click.BadParameter("版本号形如 2.10.3。 Write the version as 2.10.3.", param_hint="VERSION")
    with place.work() as session:
        domain.set_release(session, Kind(kind), version, actor=_OPERATOR.actor, now=place.clock.now())


def _row_id(session: Session, client_id: str) -> UUID:
    found = session.scalar(select(ClientRow.id).where(ClientRow.client_id == client_id))
    if found is None:
        raise NoSuchTerminal(Text("没有这个终端。", "There is no such terminal."))
    return found


def _line(each: Terminal) -> str:
    seen = f"{each.row.seen_at.astimezone(CHINA_TIME):%Y-%m-%d %H:%M}" if each.row.seen_at else "-"
    return (
        f"{each.client.client_id:24} {each.state:8} {each.row.kind:14} {each.row.version or '-':10} {seen:16} "
        f"{each.client.terminal_code:20} {each.client.name}"
    )


def _tell(place: Deployment, code: str, picture: Path | None) -> None:
    if picture is not None:
        picture.write_bytes(draw_svg(qr_text(code, place.settings.issuer)).data)
    click.echo(code)
    click.echo(
        "登记码 10 分钟内有效，限用一次，仅显示一次。 Good for 10 minutes and one use; shown this once.", err=True
    )
