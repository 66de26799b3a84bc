"""The states of a plastic card and the moves between them (national rules 3.5): one table, `PLASTIC_MOVES`."""

from dataclasses import dataclass
from enum import StrEnum

from ehc.cards.states import Party


class PlasticState(StrEnum):
    """Where a plastic card is in its life, as far as this account goes."""

    ACTIVE = "active"
    """启用: a scan of it leads to the account."""
    LOSS_TEMPORARY = "loss-temporary"
    """临时挂失: ends by itself after some days."""
    LOST = "lost"
    """挂失: until it is found again, or replaced."""
    REPLACED = "replaced"
    """补卡/换卡: another card stands in its place; blacklisted for ever."""
    CANCELLED = "cancelled"
    """注销: ended with the account, by staff, or at death."""
    UNBOUND = "unbound"
    """解绑: no longer leads to the account; may be bound again."""


HELD = (PlasticState.ACTIVE, PlasticState.LOSS_TEMPORARY, PlasticState.LOST, PlasticState.REPLACED)
"""A number is in one of these states on one account at a time."""

BOUND = (PlasticState.ACTIVE, PlasticState.LOSS_TEMPORARY, PlasticState.LOST)
"""What a holder has."""

LISTED = frozenset({PlasticState.LOSS_TEMPORARY, PlasticState.LOST, PlasticState.REPLACED, PlasticState.CANCELLED})
"""On the blacklist."""


@dataclass(frozen=True)
class PlasticMove:
    """One way to change a plastic card's state: its name, from where, to where, and by whom.

    `check`: whether the holder has to have shown the electronic card at the terminal that asks (same proof as binding).
    """

    name: str
    zh: str
    sources: frozenset[PlasticState]
    target: PlasticState
    parties: frozenset[Party]
    check: bool = False


_A, _T, _L = PlasticState.ACTIVE, PlasticState.LOSS_TEMPORARY, PlasticState.LOST
_PERSON = frozenset({Party.RESIDENT, Party.GUARDIAN, Party.STAFF})
_STAFF, _SYSTEM = frozenset({Party.STAFF}), frozenset({Party.SYSTEM})

REPORT = PlasticMove("loss-reported", "临时挂失", frozenset({_A}), _T, _PERSON)
CONFIRM_LOSS = PlasticMove("loss-confirmed", "挂失", frozenset({_A, _T}), _L, _STAFF, check=True)
WITHDRAW = PlasticMove("loss-withdrawn", "撤销临时挂失", frozenset({_T}), _A, _PERSON)
RUN_OUT = PlasticMove("loss-ran-out", "临时挂失到期", frozenset({_T}), _A, _SYSTEM)
FIND = PlasticMove("found", "解挂", frozenset({_L}), _A, _STAFF, check=True)
REPLACE = PlasticMove("replaced", "补卡", frozenset({_A, _T, _L}), PlasticState.REPLACED, _STAFF, check=True)
UNBIND = PlasticMove("unbound", "解绑", frozenset({_A, _T}), PlasticState.UNBOUND, _PERSON)
END = PlasticMove("cancelled", "注销", frozenset({_A, _T, _L}), PlasticState.CANCELLED, frozenset(Party))

PLASTIC_MOVES = (REPORT, CONFIRM_LOSS, WITHDRAW, RUN_OUT, FIND, REPLACE, UNBIND, END)
