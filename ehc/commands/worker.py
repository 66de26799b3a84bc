"""`ehc worker`: the process that runs background jobs."""

from contextlib import suppress

import click
from procrastinate.exceptions import ConnectorException
from sqlalchemy.exc import OperationalError

from ehc import audit, log
from ehc import worker as edge
from ehc.commands.context import Deployment, deployment
from ehc.place import Place


@click.command()
@click.option("--concurrency", type=click.IntRange(1, 64), default=4, show_default=True, help="Jobs at the same time.")
@click.option("--drain", is_flag=True, help="Run what is due now, and end.")
@deployment
def worker(deployed: Deployment, concurrency: int, drain: bool) -> None:
    """后台任务 · run background jobs until SIGTERM or Ctrl-C; those that run then are finished first."""
    log.configure(deployed.settings.log_level)
    place = Place(deployed.settings, clock=deployed.clock, connections=concurrency)
    run = edge.drain if drain else edge.work
    try:
        if not deployed.settings.demo:
            with suppress(OperationalError), place.work() as session:  # away: the worker waits for it
                audit.warn_if_too_strong(session)
        run(place, concurrency=concurrency)
    except ConnectorException:
        raise click.ClickException(
            "任务队列无法使用，请检查数据库并运行 `ehc db upgrade`。"
            " The queue cannot be used; check the database and run `ehc db upgrade`."
        ) from None
    finally:
        place.close()
        log.flush()
