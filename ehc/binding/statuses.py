"""What is refused about bindings of every kind, and with which status."""

from ehc.binding import patient_reviews, proofs
from ehc.errors import EhcError
from ehc.outside.bank_gateway import BankAway

STATUSES: dict[type[EhcError], int] = {
    patient_reviews.NoCardToBind: 409,
    proofs.AlreadyBound: 409,
    proofs.CardSuspended: 409,
    proofs.CheckExpired: 409,
    proofs.CheckNotOfThisCard: 409,
    proofs.CheckTooWeak: 409,
    proofs.HolderDeceased: 409,
    proofs.HolderMismatch: 409,
    proofs.NoSuchBinding: 404,
    BankAway: 503,
}
