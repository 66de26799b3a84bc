"""A bank, or a payment partner that speaks for several: four factors checked, agreements made and ended, notices.

Its wire format is docs/bank-gateway.md. The id of the call that starts a binding (`start_request`) names all that comes of
it at the bank: one agreement at most, whatever is sent again, lost, late or answered twice.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from ehc.core.documents import Document
from ehc.errors import Unavailable


class BankAway(Unavailable):
    """The bank is down, slow, wrongly signed or not making sense. It may have done what was asked: ask `status`."""

    code = "bank-away"


class Refusal(StrEnum):
    """Why the bank does not bind an account."""

    FACTORS = "factors-mismatch"
    """Number, name, document and phone are not all of one account. Which is wrong is not told."""
    ACCOUNT_STATE = "account-state"
    """The account is closed, frozen or reported lost."""
    ACCOUNT_CLASS = "account-class"
    """The bank does not bind accounts of this class (账户类别)."""
    PHONE = "phone-unreachable"
    """The phone that the bank holds cannot receive its one-time code."""
    CODE_EXPIRED = "code-expired"
    """The one-time code is too old, or was tried too often."""


@dataclass(frozen=True)
class Factors:
    """The four factors (四要素). Personal data: they live as long as the call."""

    number: str = field(repr=False)
    name: str = field(repr=False)
    document: Document = field(repr=False)
    phone: str = field(repr=False)


@dataclass(frozen=True)
class Agreement:
    """An account that is bound: the bank's token for it. Limits are in fen (分); None: the bank sets none."""

    start_request: UUID
    token: str = field(repr=False)
    bank: str
    kind: str
    """`debit` or `credit`."""
    last4: str
    single_limit: int | None = None
    day_limit: int | None = None


@dataclass(frozen=True)
class Started:
    """The bank sent its one-time code, good for so many seconds."""

    seconds: int


@dataclass(frozen=True)
class Refused:
    """The bank does not bind; final for this `start_request`."""

    why: Refusal


@dataclass(frozen=True)
class WrongCode:
    """The one-time code is not the bank's; so many tries are left."""

    tries_left: int


class AtBank(StrEnum):
    """What came of a start, as the bank has it now."""

    NONE = "none"
    """The bank never heard of it."""
    STARTED = "started"
    BOUND = "bound"
    REFUSED = "refused"
    EXPIRED = "expired"
    ENDED = "ended"


@dataclass(frozen=True)
class Status:
    """The bank's state of one start. `agreement` comes with `BOUND`, `why` with `REFUSED`, `seconds` with `STARTED`."""

    state: AtBank
    agreement: Agreement | None = None
    why: Refusal | None = None
    seconds: int | None = None


class NoticeKind(StrEnum):
    """What a bank tells by itself of an account that is bound."""

    ENDED = "ended"
    """The holder ended the agreement at the bank."""
    LOST = "lost"
    """The bank card was reported lost there."""
    CLOSED = "closed"
    """The account was closed."""
    LIMITS = "limits"
    """The limits are others from now on."""


@dataclass(frozen=True)
class Notice:
    """One notice. It may come twice, by webhook and in the daily file, with one `notice_id`."""

    notice_id: str
    what: NoticeKind
    start_request: UUID
    happened_at: datetime
    single_limit: int | None = None
    day_limit: int | None = None


@dataclass(frozen=True)
class NoticePage:
    """A part of a day's file, in the bank's order. `unreadable` holds the ids of notices that make no sense."""

    notices: tuple[Notice, ...]
    unreadable: tuple[str, ...]
    cursor: str
    more: bool


@dataclass(frozen=True)
class AgreementPage:
    """A part of the agreements that stand at the bank now, in the bank's order."""

    agreements: tuple[Agreement, ...]
    cursor: str
    more: bool


class BankGateway(Protocol):
    """Anything that answers for a bank. Each call may take 3 s: ask outside a database transaction.

    Sending a call again under the same ids changes nothing and is answered as the first one was. All raise `BankAway`.
    """

    def start(self, start_request: UUID, factors: Factors) -> Started | Refused:
        """Have the four factors checked and a one-time code sent by the bank."""
        ...

    def confirm(self, start_request: UUID, request_id: UUID, code: str) -> Agreement | WrongCode | Refused:
        """Bind, with the one-time code. A `request_id` counts as one try, however often it is sent."""
        ...

    def end(self, start_request: UUID, request_id: UUID) -> None:
        """End whatever came of a start: an agreement, or one that waits for its code. Ending twice is ending once."""
        ...

    def status(self, start_request: UUID) -> Status:
        """What came of a start."""
        ...

    def notices(self, day: date, after: str | None) -> NoticePage:
        """Part of the file of a day's notices, after a cursor."""
        ...

    def agreements(self, after: str | None) -> AgreementPage:
        """Part of the agreements that stand, after a cursor."""
        ...
