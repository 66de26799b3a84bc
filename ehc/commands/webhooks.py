"""`ehc webhooks …`: how the subscriptions of apps go."""

from datetime import UTC, datetime
from uuid import UUID

import click

from ehc import audit
from ehc.access import webhook_places, webhook_reading
from ehc.access import webhooks as subscriptions
from ehc.commands.context import Deployment, deployment
from ehc.outbox.models import DeliveryState

_MOST = 1000


@click.group()
def webhooks() -> None:
    """事件订阅 · the webhooks of apps."""


@webhooks.command("list")
@click.option("--failing", is_flag=True, help="Only those that fail or are paused.")
@deployment
def list_webhooks(place: Deployment, failing: bool) -> None:
    """List the subscriptions: id, app, state, deliveries waiting and dead, failing since, last error, URL."""
    with place.work() as session:
        rows, _ = webhook_reading.every(session, limit=_MOST, failing=failing)
        for one in webhook_reading.seen(session, rows):
            row, paused = one.row, f"{one.row.state}:{one.row.paused_by}" if one.row.paused_by else one.row.state
            error = f"{row.last_error}:{row.last_status}" if row.last_status else (row.last_error or "-")
            click.echo(
                f"{row.id} {one.client_id:24} {paused:16} {one.waiting:5} {one.dead:5} "
                f"{_time(row.failing_since)} {error} {row.url}"
            )


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@click.option("--by", required=True, help="Who decides.")
@click.option("--reason", required=True)
@deployment
def pause(place: Deployment, webhook_id: UUID, by: str, reason: str) -> None:
    """Stop sending; the app cannot lift it. Events are kept for 30 days."""
    with place.work() as session:
        subscriptions.pause(session, webhook_id, actor=f"staff:{by}", reason=reason, now=place.clock.now())
    click.echo(f"{webhook_id} paused")


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@click.option("--by", required=True, help="Who decides.")
@click.option("--reason", required=True)
@deployment
def resume(place: Deployment, webhook_id: UUID, by: str, reason: str) -> None:
    """Go on sending, whoever paused it; what waits is sent at once."""
    with place.work() as session:
        subscriptions.resume(session, webhook_id, actor=f"staff:{by}", reason=reason, now=place.clock.now())
    click.echo(f"{webhook_id} live")


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@deployment
def dead(place: Deployment, webhook_id: UUID) -> None:
    """List the dead letters: event, kind, when it happened, attempts, last error."""
    with place.work() as session:
        subscriptions.one(session, webhook_id)
        rows, _ = webhook_reading.deliveries(session, webhook_id, limit=_MOST, state=DeliveryState.DEAD)
        for row, event in rows:
            error = f"{row.last_error}:{row.last_status}" if row.last_status else row.last_error
            click.echo(f"{row.event_id} {event.kind:16} {_time(event.at)} {row.attempts:3} {error}")


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@click.option("--event", type=click.UUID, help="One event; all dead letters without it.")
@deployment
def redeliver(place: Deployment, webhook_id: UUID, event: UUID | None) -> None:
    """Have dead letters sent again."""
    with place.work() as session:
        row, now = subscriptions.one(session, webhook_id), place.clock.now()
        count = webhook_places.redeliver(session, row.id, event, now=now)
        told = {"count": count}
        audit.record(session, "webhook.redelivered", actor="operator", subject=str(row.id), at=now, facts=told)
    click.echo(f"{count}")


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@click.argument("since", type=click.DateTime(["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d"]))
@deployment
def replay(place: Deployment, webhook_id: UUID, since: datetime) -> None:
    """Have the events since a time (UTC) sent again."""
    with place.work() as session:
        row, now, moment = subscriptions.one(session, webhook_id), place.clock.now(), since.replace(tzinfo=UTC)
        count = webhook_places.replay(session, row.id, since=moment, now=now)
        told = {"since": moment.isoformat(), "count": count}
        audit.record(session, "webhook.replayed", actor="operator", subject=str(row.id), at=now, facts=told)
    click.echo(f"{count}")


def _time(when: datetime | None) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if when else "-"
