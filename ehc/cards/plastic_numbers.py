"""How a plastic card's number is found again: one blind index, for binding it and for checking it."""

from uuid import UUID

from ehc.core.plastic_kinds import PlasticKind
from ehc.crypto.sealed import BlindIndex


def number_index(blind_index: BlindIndex, kind: PlasticKind, institution_id: UUID | None, number: str) -> bytes:
    """The blind index of a number that `kind.read` returned; `institution_id` is of the terminal whose reader it is.

    It counts only for kinds of which every institution numbers its own.
    """
    whose = institution_id if kind.by_institution else None
    return blind_index.of("plastic-card", f"{kind.code}\n{whose or ''}\n{number}")
