"""The states of an app, and who may move it from one to the other. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from ehc.callers import Right


class AppState(StrEnum):
    """Only a live app gets tokens, and only its tokens count."""

    DRAFT = "draft"
    APPROVED = "approved"
    LIVE = "live"
    SUSPENDED = "suspended"


@dataclass(frozen=True)
class AppMove:
    """A move, where it starts and ends, and the right that it takes."""

    name: str
    sources: frozenset[AppState]
    target: AppState
    right: Right


APPROVE = AppMove("approve", frozenset({AppState.DRAFT}), AppState.APPROVED, Right.APPS_APPROVE)
"""By somebody else than who made the draft."""
GO_LIVE = AppMove("go-live", frozenset({AppState.APPROVED}), AppState.LIVE, Right.APPS_WRITE)
"""Needs a credential that counts."""
SUSPEND = AppMove("suspend", frozenset({AppState.LIVE}), AppState.SUSPENDED, Right.APPS_APPROVE)
RESUME = AppMove("resume", frozenset({AppState.SUSPENDED}), AppState.LIVE, Right.APPS_APPROVE)

MOVES = (APPROVE, GO_LIVE, SUSPEND, RESUME)
