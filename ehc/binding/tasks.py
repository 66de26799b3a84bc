"""The background tasks of bindings. Each may run twice, and at the same time as itself: the database decides."""

from datetime import timedelta
from functools import cache
from uuid import UUID

from ehc.binding import bank_calls, bank_comparison, bank_notices
from ehc.binding.bank_calls import Desk
from ehc.clock import local_day
from ehc.parties import bank_gateway
from ehc.place import Place

_PATIENCE = timedelta(minutes=2)


def settle_at_bank(place: Place, account_id: str) -> None:
    """Find out what came of a call to the bank whose answer was lost. Raises `BankAway` while the bank is away."""
    desk = _desk(place)
    if desk is not None:
        bank_calls.settle(desk, UUID(account_id), now=place.clock.now())


def end_at_bank(place: Place, account_id: str) -> None:
    """Tell the bank that a binding is over. Raises `BankAway`."""
    desk = _desk(place)
    if desk is not None:
        bank_calls.finish_ending(desk, UUID(account_id), now=place.clock.now())


def sweep_bank(place: Place) -> None:
    """Have whatever waits for the bank's word settled, whatever became of its job."""
    if _desk(place) is None:
        return
    now = place.clock.now()
    with place.work() as session:
        for row in bank_comparison.stale(session, before=now - _PATIENCE, now=now):
            bank_comparison.settle_again(session, row)


def read_bank_days(place: Place) -> None:
    """Read the files of notices of the days before today. Raises `BankAway`."""
    desk = _desk(place)
    if desk is None:
        return
    now = place.clock.now()
    with place.work() as session:
        days = bank_notices.unread_days(session, today=local_day(now))
    for day in days:
        bank_notices.read_day(desk, day, now=now)


def compare_with_bank(place: Place) -> None:
    """The nightly comparison with the bank. Raises `BankAway`."""
    desk = _desk(place)
    if desk is not None:
        bank_comparison.compare(desk, now=place.clock.now())


@cache
def _desk(place: Place) -> Desk | None:
    """One adapter for a worker: it keeps connections, and remembers for a moment that the other side is away."""
    bank = bank_gateway(place.settings, place.clock)
    return Desk(bank, place.work, place.secrets) if bank is not None else None
