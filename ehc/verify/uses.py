"""Uses of cards, told to the outbox after their commit, so that a check costs no more than it did.

The journal is read from `since` on, by time, and what was told already is left out: the id of the event is that of the
check, so nothing is told twice. `since` follows behind so that no check is passed over, in whatever order checks commit: a
mark is a moment and the transaction number (xid) then given out. Once all transactions with lower numbers have ended, every
check still to come took its number after the mark, and its time is no more than `_MARGIN` older: what lies between the
reading of a server's clock and its first statement, and what two clocks differ by.
"""

from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

_MARGIN = timedelta(seconds=60)
_SLICE = timedelta(minutes=10)

_STATE = text("""
    SELECT since, mark_at, mark_xid, pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest,
        pg_current_xact_id()::text::bigint AS own
    FROM outbox_cursor WHERE name = 'webhooks'
""")
_MOVE = text(
    "UPDATE outbox_cursor SET since = :since, mark_at = :mark_at, mark_xid = :mark_xid WHERE name = 'webhooks'"
)
_WANTED = text("SELECT EXISTS (SELECT FROM webhook WHERE 'card.used' = ANY(kinds) AND state <> 'deleted')")
_TELL = """
    INSERT INTO outbox_event (id, card_serial, kind, facts, at)
    SELECT used.id, used.card_serial, 'card.used', jsonb_build_object('verification_id', used.id), used.verified_at
    FROM verification AS used
    WHERE used.verified_at >= :since {until} AND used.reason IS NULL AND EXISTS (
        SELECT FROM card_grant JOIN webhook ON webhook.client_id = card_grant.client_id
        WHERE card_grant.card_serial = used.card_serial AND card_grant.closed_at IS NULL
            AND (card_grant.until IS NULL OR card_grant.until > :now)
            AND 'card.used' = ANY(webhook.kinds) AND webhook.state <> 'deleted'
    ) AND NOT EXISTS (SELECT FROM outbox_event AS told WHERE told.id = used.id)
    ORDER BY used.verified_at, used.id
"""


def tell(session: Session, *, now: datetime) -> datetime | None:
    """Put the accepted checks that an app may want to know of into the outbox, each once.

    Behind by more than ten minutes it takes ten minutes at a time, and returns up to when: call again. One caller at a time, in
    one snapshot (`ehc/access/webhook_places.py`). Never commits.
    """
    state = session.execute(_STATE).one()
    settled, mark = state.since, (state.mark_at, state.mark_xid)
    if state.mark_xid is None:
        mark = (now, state.own)
    elif state.oldest > state.mark_xid:
        settled, mark = max(state.since, state.mark_at - _MARGIN), (now, state.own)
    wanted = session.scalar(_WANTED)
    until = state.since + _SLICE if wanted and settled > state.since + _SLICE else None
    if wanted:
        statement = _TELL.format(until="AND used.verified_at < :until" if until else "")
        session.execute(text(statement), {"since": state.since, "now": now, **({"until": until} if until else {})})
    values = {"since": until or settled, "mark_at": mark[0], "mark_xid": mark[1]}
    session.execute(_MOVE, values)
    return until
