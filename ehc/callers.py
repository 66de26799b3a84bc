"""Who is calling: an app (a mini-program's or hospital app's back end) or a terminal of one institution."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class Scope(StrEnum):
    """What a client may do."""

    CARDS = "cards"
    CODES = "codes"
    VERIFY = "verify"
    BATCH = "batch"
    BINDINGS = "bindings"


class ClientKind(StrEnum):
    """An app acts for residents; a terminal belongs to one institution and only checks."""

    APP = "app"
    TERMINAL = "terminal"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated client, as the rooms see it."""

    id: UUID
    kind: ClientKind
    scopes: frozenset[Scope]
    institution_id: UUID | None = None


class NotAuthentic(Exception):
    """A token that is not one of ours, or out of date, or of a client that was disabled."""
