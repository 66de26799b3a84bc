"""`ehc jobs …`: what waits, what failed, and what to do about it."""

from datetime import UTC

import click
from sqlalchemy.orm import Session

from ehc import audit
from ehc import jobs as queue
from ehc.commands.context import Deployment, deployment


@click.group(invoke_without_command=True)
@click.pass_context
def jobs(ctx: click.Context) -> None:
    """后台任务队列 · the queue of background jobs; listed unless another command is named."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_jobs)


@jobs.command("list")
@click.option("--failed", is_flag=True, help="Only those that have failed for good.")
@deployment
def list_jobs(place: Deployment, failed: bool) -> None:
    """List the jobs that wait (todo), run (doing) or have failed: id, state, runs, since when, task and ids."""
    with place.work() as session:
        found = queue.listing(session, failed=failed)
    for job in found:
        since = f"{job.since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        ids = "".join(f" {name}={value}" for name, value in job.arguments.items())
        click.echo(f"{job.id:8} {job.status:6} {job.attempts:3} {since} {job.task}{ids}")
    if len(found) == queue.LISTED:
        click.echo(f"仅列出最早的 {queue.LISTED} 项。 Only the first {queue.LISTED}.", err=True)


@jobs.command()
@click.argument("job_id", type=int)
@deployment
def retry(place: Deployment, job_id: int) -> None:
    """Let a failed job run again, now and with all its attempts."""
    with place.work() as session:
        _record(session, "job.retried", queue.retry(session, job_id), place)
    click.echo(f"{job_id} todo")


@jobs.command()
@click.argument("job_id", type=int)
@deployment
def cancel(place: Deployment, job_id: int) -> None:
    """Take a job that waits or has failed out of the queue. The audit log keeps what it was."""
    with place.work() as session:
        _record(session, "job.cancelled", queue.cancel(session, job_id), place)
    click.echo(f"{job_id} cancelled")


def _record(session: Session, action: str, job: queue.Job, place: Deployment) -> None:
    facts = {"task": job.task, "status": job.status, "attempts": job.attempts, "arguments": job.arguments}
    audit.record(session, action, actor="operator", subject=f"job:{job.id}", at=place.clock.now(), facts=facts)
