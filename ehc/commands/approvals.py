"""`ehc approvals …`: what was proposed and decided. Deciding takes two of the staff, over /v1/admin/approvals."""

import json
from uuid import UUID

import click
from sqlalchemy import select

from ehc.approvals.desk import proposed_reason, state_of
from ehc.approvals.models import ApprovalRow
from ehc.commands.context import Deployment, deployment
from ehc.issuer import mass_cancelling
from ehc.keystore import secret_keys


@click.group()
def approvals() -> None:
    """双人审批 · the two-person rule."""


@approvals.command("list")
@click.option("--open", "only_open", is_flag=True, help="Only those that wait for a second person.")
@deployment
def list_approvals(place: Deployment, only_open: bool) -> None:
    """List the newest hundred proposals: id, kind, state, when it was proposed and when it ends, who proposed and decided."""
    now = place.clock.now()
    wanted = select(ApprovalRow)
    if only_open:
        wanted = wanted.where(ApprovalRow.state == "open", ApprovalRow.ends_at > now)
    with place.work() as session:
        for row in session.scalars(wanted.order_by(ApprovalRow.proposed_at.desc(), ApprovalRow.id).limit(100)):
            times = f"{row.proposed_at:%Y-%m-%dT%H:%M:%SZ} {row.ends_at:%Y-%m-%dT%H:%M:%SZ}"
            click.echo(
                f"{row.id} {row.kind:18} {state_of(row, now):9} {times} {row.proposed_by} {row.decided_by or '-'}"
            )


@approvals.command()
@click.argument("approval_id", type=click.UUID)
@deployment
def show(place: Deployment, approval_id: UUID) -> None:
    """Show one proposal: what would be done, why, and how far it came."""
    with place.work() as session:
        row = session.get(ApprovalRow, approval_id)
        if row is None:
            raise LookupError("没有这项申请。 There is no such proposal.")
        reason = proposed_reason(row, secret_keys.load(session, place.kek).sealer)
        progress = mass_cancelling.progress(session, row.id)
        told = {
            "kind": row.kind,
            "state": state_of(row, place.clock.now()),
            "object": row.subject,
            "arguments": row.arguments,
            "reason": reason,
            "outcome": row.outcome,
            "progress": progress,
        }
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
