"""The kinds of events, and which kind a change of a card is. Pure."""

from enum import StrEnum


class EventKind(StrEnum):
    """What an app may subscribe to; all but the last, which it asks for."""

    CARD_CHANGED = "card.changed"
    CARD_SUSPENDED = "card.suspended"
    CARD_RESUMED = "card.resumed"
    CARD_CANCELLED = "card.cancelled"
    CARD_USED = "card.used"
    BINDING_CHANGED = "binding.changed"
    REVIEW_DECIDED = "review.decided"
    TEST = "webhook.test"


SUBSCRIBED = tuple(kind for kind in EventKind if kind is not EventKind.TEST)

NO_CARD = 0
"""`card_serial` of an event that is about no card."""

_REVIEWS = frozenset({"approved", "rejected"})
_STOPPED = frozenset({"suspended", "lost"})
_FROM = _STOPPED | {"cancelled"}


def of_card(action: str, old: str | None, new: str) -> EventKind | None:
    """The kind of what happened to a card; None for one that is new: nobody was waiting for it."""
    if old is None:
        return None
    if action in _REVIEWS:
        return EventKind.REVIEW_DECIDED
    if new == "cancelled" and old != new:
        return EventKind.CARD_CANCELLED
    if new in _STOPPED and (old != new or action == "held"):
        return EventKind.CARD_SUSPENDED
    if new == "active" and old in _FROM:
        return EventKind.CARD_RESUMED
    return EventKind.CARD_CHANGED
