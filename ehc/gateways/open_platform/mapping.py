"""What the rooms refuse, in the platform's numbers (open-platform JSON 5.8)."""

from ehc.binding import patient_ids, proofs
from ehc.cards import store as cards
from ehc.errors import EhcError, InvalidValue
from ehc.gateways import limits
from ehc.gateways.bodies import TooLarge
from ehc.gateways.limits import Why
from ehc.gateways.open_platform.results import Refusal, Result
from ehc.issuer import accounts, codes, prints
from ehc.issuer.proofs import NotConfirmed
from ehc.outside.card_reader import Unreadable

_RESULTS: dict[type[EhcError], Result] = {
    InvalidValue: Result.BAD_MEMBER,
    accounts.IdentityMismatch: Result.NOT_CONFIRMED,
    NotConfirmed: Result.NOT_CONFIRMED,
    accounts.CardCancelled: Result.CARD_CANCELLED,
    cards.NoSuchCard: Result.NO_SUCH_CARD,
    cards.CardNotActive: Result.BAD_CODE,
    prints.StaticNotAllowed: Result.BAD_CODE,
    codes.TooManyCodes: Result.BUSY,
    proofs.CardSuspended: Result.BAD_CODE,
    proofs.HolderDeceased: Result.CARD_CANCELLED,
    proofs.AlreadyBound: Result.BAD_MEMBER,
    patient_ids.PatientIdInPlace: Result.BAD_MEMBER,
    Unreadable: Result.BAD_MEMBER,
}
_WHY: dict[Why, Result] = {
    Why.ADDRESS: Result.NO_SUCH_APP,
    Why.TOO_OFTEN: Result.BUSY,
    Why.QUOTA: Result.BUSY,
    Why.SCOPE: Result.NOT_OPEN,
    Why.SANDBOX: Result.NOT_OPEN,
}


def refusal_of(error: Exception) -> Refusal:
    """What an error comes to here, with its own sentence behind ours where a person can do something about it.

    Whatever is not in the table is ours to put right: try again later.
    """
    if isinstance(error, TooLarge):
        return Refusal(Result.NOT_A_REQUEST, "请求体过大")
    if isinstance(error, limits.Refused):
        return Refusal(_WHY[error.why], _sentence(error))
    if isinstance(error, EhcError) and type(error) in _RESULTS:
        return Refusal(_RESULTS[type(error)], _sentence(error))
    return Refusal(Result.BUSY)


def _sentence(error: EhcError) -> str:
    told = error.fields[0].message.zh if error.fields else error.detail.zh
    return told.rstrip("。")
