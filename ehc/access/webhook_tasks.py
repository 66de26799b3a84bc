"""The background tasks of webhooks. Each may run twice, and at the same time as itself: the database decides."""

from collections.abc import Callable
from datetime import datetime
from functools import cache
from uuid import UUID

from psycopg.errors import LockNotAvailable
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from ehc.access import webhook_places, webhook_sending
from ehc.outside.guarded_http import Poster
from ehc.place import Place
from ehc.settings import Settings

REPLAY = "access.replay-webhook"

Tell = Callable[[Session, datetime], datetime | None]
"""Puts uses of cards into the outbox; up to when, if there are more (`ehc/verify/uses.py`, which this room does not know)."""


def place_events(place: Place, tell: Tell) -> None:
    """Give new events their places and hand them to the subscriptions, unless another worker is at it."""
    while True:
        try:
            with place.patient_work() as session:
                webhook_places.alone(session)
                now = place.clock.now()
                until = tell(session, now)
                webhook_places.place(session, until=until, now=now)
        except OperationalError as error:
            if isinstance(error.orig, LockNotAvailable):
                return
            raise
        if until is None:
            return


def deliver(place: Place, tell: Tell) -> None:
    """Place what is new, and send it to the receivers that go well."""
    place_events(place, tell)
    webhook_sending.run(place, poster(place.settings), struggling=False)


def deliver_struggling(place: Place) -> None:
    """Send to the receivers that failed, or were slow, the last time."""
    webhook_sending.run(place, poster(place.settings), struggling=True)


def replay(place: Place, webhook_id: str, since: str) -> None:
    """Have the events since a time sent again."""
    with place.patient_work() as session:
        moment = datetime.fromisoformat(since)
        webhook_places.replay(session, UUID(webhook_id), since=moment, now=place.clock.now())


@cache
def poster(settings: Settings) -> Poster:
    """What sends under these settings."""
    return Poster(settings.webhook_loopback, settings.webhook_ca_file)
