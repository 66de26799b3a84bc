"""What may be proposed: each kind with the right it asks of both people, and what carries it out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from ehc.callers import Right, Staff

KEY_REVOCATION = "key-revocation"
DISCLOSURE_VERSION = "disclosure-version"
CARD_CANCELLATION = "card-cancellation"
MOST_CARDS = 1000
"""How many cards one proposal may name."""


class Standing(NamedTuple):
    """The object that a proposal is about, and what tells whether it changed since."""

    subject: str
    version: str


class Approved(NamedTuple):
    """What was approved, and by whom."""

    id: UUID
    arguments: Mapping[str, Any]
    reason: str
    proposed_by: UUID
    by: Staff
    now: datetime


def _no_progress(_: Session, __: UUID) -> Mapping[str, int] | None:
    return None


@dataclass(frozen=True)
class Kind:
    """A kind of act that takes two people.

    `look` finds the object as it is now, or raises what stands against the act. `carry_out` does it, in the transaction
    that approves, and returns what there is to tell of it: ids and numbers. `progress` counts what still runs.
    """

    right: Right
    look: Callable[[Session, Mapping[str, Any]], Standing]
    carry_out: Callable[[Session, Approved], Mapping[str, Any]]
    progress: Callable[[Session, UUID], Mapping[str, int] | None] = _no_progress
