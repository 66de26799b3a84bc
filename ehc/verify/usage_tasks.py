"""The jobs that keep the counts of checks as they are in the journal."""

from ehc.place import Place
from ehc.verify import usage


def count_recent(place: Place) -> None:
    """Count this hour and those just before it."""
    now = place.clock.now()
    with place.patient_work() as session:
        usage.count(session, since=now - usage.RECENT, until=now)


def count_days(place: Place) -> None:
    """Count the last days anew, for what came late; an hour at a time, so that no transaction is long."""
    now = place.clock.now()
    hour = now - usage.NIGHTLY
    while hour <= now:
        with place.patient_work() as session:
            usage.count(session, since=hour, until=hour)
        hour += usage.HOUR
