"""The states of a card and the moves between them."""

from dataclasses import dataclass
from enum import StrEnum


class CardStatus(StrEnum):
    """Where a card is in its life (national rules 1.7, mapped onto one machine)."""

    PENDING_REVIEW = "pending-review"
    """待审核: waits for a person to confirm the identity."""
    REJECTED = "rejected"
    """审核未通过: may apply again."""
    ACTIVE = "active"
    """正常: the only state in which codes are issued and accepted."""
    SUSPENDED = "suspended"
    """暂停: can be resumed."""
    CANCELLED = "cancelled"
    """注销: for good."""


class Level(StrEnum):
    """How the identity was proved, the weakest first (认证级别)."""

    SELF_DECLARED = "self-declared"
    DOCUMENT_SEEN = "document-seen"
    CLERK = "clerk"
    EXTERNAL_MATCH = "external-match"


@dataclass(frozen=True)
class Move:
    """One way to change a card's state: what it is called in the audit log, from where it starts, and where it leads."""

    name: str
    sources: frozenset[CardStatus]
    target: CardStatus


SUSPEND = Move("suspended", frozenset({CardStatus.ACTIVE}), CardStatus.SUSPENDED)
RESUME = Move("resumed", frozenset({CardStatus.SUSPENDED}), CardStatus.ACTIVE)
CANCEL = Move(
    "cancelled",
    frozenset({CardStatus.PENDING_REVIEW, CardStatus.ACTIVE, CardStatus.SUSPENDED}),
    CardStatus.CANCELLED,
)
APPROVE = Move("approved", frozenset({CardStatus.PENDING_REVIEW}), CardStatus.ACTIVE)
REJECT = Move("rejected", frozenset({CardStatus.PENDING_REVIEW}), CardStatus.REJECTED)
REAPPLY = Move("applied-again", frozenset({CardStatus.REJECTED}), CardStatus.ACTIVE)
REAPPLY_FOR_REVIEW = Move("applied-again", frozenset({CardStatus.REJECTED}), CardStatus.PENDING_REVIEW)

LIVE = (CardStatus.PENDING_REVIEW, CardStatus.ACTIVE, CardStatus.SUSPENDED)
"""A person has at most one card in these states."""


def outranks(new: Level, old: Level) -> bool:
    """Whether `new` proves more than `old`."""
    order = list(Level)
    return order.index(new) > order.index(old)
