"""Events get their places and go to the subscriptions: one transaction at a time, in one snapshot, so that uses of cards and
changes of cards of the same moment are put in order together. Nothing here commits.
"""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

_ENTITLED = """(
    ({event}.kind = 'webhook.test')
    OR ((grants.until IS NULL OR grants.until > :now) AND (grants.closed_at IS NULL OR {event}.kind = 'card.cancelled')
        AND ({event}.kind <> 'binding.changed' OR 'bindings' = ANY(client.scopes)))
)"""


def entitled(event: str) -> str:
    """The condition under which an app may be told of an event, over `grants`, `client` and `:now`.

    A grant that closed shows the state of the card and nothing else: its end is still told.
    """
    return _ENTITLED.format(event=event)


_ALONE = text("LOCK TABLE outbox_cursor IN EXCLUSIVE MODE NOWAIT")

# Changes of one card are in the order of `seq`, since whoever makes one holds the card.
# Uses come in later and go by their time.
_PLACE = """
    WITH unplaced AS MATERIALIZED (
        SELECT id, seq, CASE WHEN kind = 'card.used' THEN at ELSE
            max(at) FILTER (WHERE kind <> 'card.used') OVER (PARTITION BY card_serial ORDER BY seq) END AS moment
        FROM outbox_event WHERE position IS NULL {until}
    ), counted AS (
        UPDATE outbox_cursor SET position = position + (SELECT count(*) FROM unplaced) WHERE name = 'webhooks'
    ), placed AS (
        UPDATE outbox_event AS event SET position = ranked.rank + (SELECT position FROM outbox_cursor WHERE name = 'webhooks')
        FROM (SELECT id, row_number() OVER (ORDER BY moment, seq) AS rank FROM unplaced) AS ranked
        WHERE event.id = ranked.id
        RETURNING event.id, event.card_serial, event.kind, event.position
    )
    INSERT INTO webhook_delivery (webhook_id, event_id, card_serial, created_at, due_at)
    SELECT webhook.id, placed.id, placed.card_serial, :now, :now
    FROM placed
    JOIN card_grant AS grants ON grants.card_serial = placed.card_serial
    JOIN webhook ON webhook.client_id = grants.client_id AND placed.kind = ANY(webhook.kinds) AND webhook.state <> 'deleted'
    JOIN client ON client.id = webhook.client_id
    WHERE {entitled}
    ORDER BY placed.position
    ON CONFLICT DO NOTHING
    RETURNING 1
"""

# The new `seq` of each puts them behind what waits, in the order in which they were told first.
_REPLAY = f"""
    INSERT INTO webhook_delivery AS known (webhook_id, event_id, card_serial, created_at, due_at)
    SELECT webhook.id, event.id, event.card_serial, :now, :now
    FROM webhook
    JOIN client ON client.id = webhook.client_id
    JOIN card_grant AS grants ON grants.client_id = webhook.client_id
    JOIN outbox_event AS event ON event.card_serial = grants.card_serial AND event.kind = ANY(webhook.kinds)
    WHERE webhook.id = :id AND webhook.state <> 'deleted' AND event.position IS NOT NULL AND event.at >= :since
        AND {entitled("event")}
    ORDER BY event.position
    ON CONFLICT (webhook_id, event_id) DO UPDATE SET seq = EXCLUDED.seq, state = 'pending', attempts = 0, first_at = NULL,
        done_at = NULL, last_error = NULL, last_status = NULL, due_at = EXCLUDED.due_at
    RETURNING 1
"""  # noqa: S608 - only conditions of ours are put in

_AGAIN = text("""
    UPDATE webhook_delivery SET state = 'pending', attempts = 0, first_at = NULL, done_at = NULL, due_at = :now
    WHERE webhook_id = :id AND state = 'dead' AND (CAST(:event AS uuid) IS NULL OR event_id = :event)
    RETURNING 1
""")


def alone(session: Session) -> None:
    """Make this transaction the only one that gives places, and all that it reads of one moment. First thing in it.

    Raises `OperationalError` of `LockNotAvailable` where another is at it.
    """
    session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    session.execute(_ALONE)  # before the snapshot, which the first reading takes


def place(session: Session, *, until: datetime | None, now: datetime) -> int:
    """Give the events before `until` their places, and a delivery for each subscription that waits for them; how many."""
    statement = _PLACE.format(until="AND at < :until" if until else "", entitled=entitled("placed"))
    values = {"now": now, **({"until": until} if until else {})}
    return len(session.execute(text(statement), values).all())


def replay(session: Session, webhook_id: UUID, *, since: datetime, now: datetime) -> int:
    """Have every event since then that the app may see now sent again, in order, also those that were never sent; how many."""
    values = {"id": webhook_id, "since": since, "now": now}
    return len(session.execute(text(_REPLAY), values).all())


def redeliver(session: Session, webhook_id: UUID, event_id: UUID | None, *, now: datetime) -> int:
    """Have dead letters sent again, all or one; how many. They come after what was told since."""
    return len(session.execute(_AGAIN, {"id": webhook_id, "event": event_id, "now": now}).all())


WAITS = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 60, 300, 1800, 7200, 5 * 3600, 8 * 3600, 12 * 3600, 20 * 3600, 24 * 3600)
)
"""Between the attempts for one event: eleven in 71.6 hours, each wait a tenth shorter or longer."""

HOLDS = tuple(timedelta(seconds=seconds) for seconds in (5, 15, 60, 300, 900))
"""How long a receiver is left alone after its first, second … failure in a row; the last one repeats."""

PATIENCE = timedelta(days=3)
"""A receiver that answered nothing well for this long is paused."""


def wait_after(attempts: int, chance: float) -> timedelta | None:
    """How long until the next attempt after so many; None after the last. `chance` is drawn from 0 to 1."""
    return _about(WAITS[attempts - 1], chance) if attempts <= len(WAITS) else None


def hold_after(failures: int, chance: float, asked: int | None = None) -> timedelta:
    """How long to leave a receiver alone; for as long as it asks, up to an hour, if that is longer."""
    held = _about(HOLDS[min(failures, len(HOLDS)) - 1], chance)
    return max(held, timedelta(seconds=min(asked or 0, 3600)))


def _about(wait: timedelta, chance: float) -> timedelta:
    return wait * (0.9 + 0.2 * chance)
