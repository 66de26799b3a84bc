"""Putting events into the outbox, as part of the transaction that makes them true, and forgetting them. Nothing commits."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from ehc.core.ids import uuid7
from ehc.outbox.kinds import EventKind
from ehc.outbox.models import EventRow

KEPT = timedelta(days=30)
_PIECE = 10_000


_PUT_ALL = text("""
    INSERT INTO outbox_event (id, card_serial, kind, facts, at)
    SELECT id, card_serial, :kind, CAST(facts AS jsonb), :at
    FROM unnest(CAST(:ids AS uuid[]), CAST(:serials AS bigint[]), CAST(:facts AS text[]))
        WITH ORDINALITY AS event (id, card_serial, facts, place)
    ORDER BY place
""")


def put(session: Session, kind: EventKind, card_serial: int, facts: Mapping[str, str], *, at: datetime) -> UUID:
    """Add an event, written with the next flush; its id. `facts` are ids, kinds and states: apps read them as they are."""
    event_id = uuid7(at)
    session.add(EventRow(id=event_id, card_serial=card_serial, kind=kind, facts=dict(facts), at=at))
    return event_id


def put_all(
    session: Session, kind: EventKind, events: Iterable[tuple[int, Mapping[str, str]]], *, at: datetime
) -> None:
    """Add many events of a kind, of a card and its facts each, at once. None at all is nothing."""
    events = list(events)
    if events:
        values = {
            "ids": [uuid7(at) for _ in events],
            "serials": [serial for serial, _ in events],
            "facts": [json.dumps(dict(facts)) for _, facts in events],
        }
        session.execute(_PUT_ALL, values | {"kind": kind, "at": at})


def purge(session: Session, *, now: datetime) -> int:
    """Forget up to 10,000 events older than 30 days, and their deliveries, also those that wait; returns how many."""
    old = text("""
        DELETE FROM outbox_event WHERE id IN (
            SELECT id FROM outbox_event WHERE at < :before ORDER BY at LIMIT :most FOR UPDATE SKIP LOCKED
        ) RETURNING 1
    """)
    return len(session.execute(old, {"before": now - KEPT, "most": _PIECE}).all())


def purge_deleted(session: Session, *, now: datetime) -> int:
    """Forget up to 10,000 deliveries of subscriptions that were deleted, and those left without any; returns how many.

    What was deleted in the last ten minutes stays: a sender may still write down what came of its last attempt.
    """
    old = text("""
        DELETE FROM webhook_delivery WHERE (webhook_id, event_id) IN (
            SELECT webhook_id, event_id FROM webhook_delivery
            WHERE webhook_id IN (SELECT id FROM webhook WHERE state = 'deleted' AND state_at < :before) LIMIT :most
        ) RETURNING 1
    """)
    before = now - timedelta(minutes=10)
    if done := len(session.execute(old, {"before": before, "most": _PIECE}).all()):
        return done
    empty = text("DELETE FROM webhook WHERE state = 'deleted' AND state_at < :before RETURNING 1")
    return len(session.execute(empty, {"before": before}).all())
