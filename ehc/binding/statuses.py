"""What is refused about bindings of every kind, and with which status."""

from ehc.binding import proofs
from ehc.errors import EhcError

STATUSES: dict[type[EhcError], int] = {
    proofs.AlreadyBound: 409,
    proofs.CardNotActive: 409,
    proofs.CardSuspended: 409,
    proofs.CheckExpired: 409,
    proofs.CheckNotOfThisCard: 409,
    proofs.CheckTooWeak: 409,
    proofs.HolderDeceased: 409,
    proofs.HolderMismatch: 409,
    proofs.NoSuchBinding: 404,
}
