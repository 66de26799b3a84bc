"""The background task of plastic cards. It may run twice, and at the same time as itself: the database decides."""

from functools import partial

from ehc.binding import plastic_moves
from ehc.db import until_none
from ehc.place import Place


def end_losses(place: Place) -> None:
    """End the temporary losses whose time is over, and take what is left of them off the blacklist.

    A check goes by the clock and does not wait for this.
    """
    now, sealer = place.clock.now(), place.secrets().sealer
    until_none(place.work, partial(plastic_moves.end_losses, sealer=sealer, now=now))
    until_none(place.work, partial(plastic_moves.drop_listed, now=now))
