"""Bank accounts (银行账户) on a card: begun, confirmed with the bank's one-time code, chosen as default, ended.

What is about to be asked of the bank is committed before it is asked, under an id of its own, with a job that settles it:
an answer that is lost costs a moment, never a binding that nobody knows of. The calls themselves are made between two
transactions, by `bank_calls.py`. Nothing here commits, and no account number comes to rest.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ehc import jobs
from ehc.binding import proofs
from ehc.binding.bank_numbers import AccountNumber
from ehc.binding.proofs import AlreadyBound, HolderMismatch, NoSuchBinding
from ehc.cards import binding_events as events
from ehc.cards.bank_models import HELD, BankAccountRow
from ehc.cards.binding_events import BindingKind, Why
from ehc.cards.bindings import end_account
from ehc.cards.models import CardRow
from ehc.cards.states import Kind
from ehc.cards.store import Acting
from ehc.core.documents import Document
from ehc.core.ids import uuid7
from ehc.errors import EhcError, Text
from ehc.keystore.secret_keys import Secrets

SETTLE = "binding.settle-at-bank"
"""The job that finds out what came of a call whose answer was lost: `account_id`."""

SETTLE_AFTER = timedelta(seconds=20)
"""When an answer counts as lost: well over the 3 s that a call takes."""

CODE_MINUTES = 15
"""The longest that a one-time code of a bank may live, whatever the bank says."""


class TooManyAccounts(EhcError):
    """The card has as many accounts as it may have."""

    code = "too-many-accounts"


class BankPending(EhcError):
    """What was asked of the bank before is not settled yet."""

    code = "bank-pending"


class NotStarted(EhcError):
    """There is no start that waits for a code: it failed, ran out, or was confirmed."""

    code = "account-state"


@dataclass(frozen=True)
class Wanted:
    """Whose account is to be bound, as the person says. Personal data."""

    number: AccountNumber
    name: str = field(repr=False)
    id_type: str
    id_number: str = field(repr=False)
    start_request: UUID | None = None
    """Given where the caller named this start: the same name again is the same start, whatever became of it."""


@dataclass(frozen=True)
class Begun:
    """A binding that is begun: the row, the document that the bank is to compare, and whether the bank has to be asked.

    `same` is False where the start that came before under this name was for another account.
    """

    account: BankAccountRow
    document: Document = field(repr=False)
    ask: bool
    same: bool = True


def begin(
    session: Session, card: CardRow, wanted: Wanted, *, acting: Acting, client_id: UUID, most: int, secrets: Secrets,
    now: datetime,
) -> Begun:  # fmt: skip
    """Begin to bind an account; at most `most` a card. One that waits for its code already is begun once.

    Raises those of `proofs.hold_active`, `HolderMismatch`, `AlreadyBound`, `TooManyAccounts`, `BankPending`.
    """
    proofs.hold_active(session, card)
    if card.kind != Kind.FORMAL:
        raise proofs.card_not_active()
    payer, payer_id, document = _payer(session, card, wanted, secrets=secrets, now=now)
    index = number_index(wanted.number, secrets)
    named = select(BankAccountRow).where(
        BankAccountRow.start_request == wanted.start_request, BankAccountRow.card_serial == card.serial
    )
    if wanted.start_request is not None and (before := session.scalars(named).one_or_none()) is not None:
        known_by = (before.number_index, index) if before.number_index else (before.last4, wanted.number.last4)
        return Begun(before, document, ask=False, same=known_by[0] == known_by[1])
    here = (BankAccountRow.card_serial == card.serial) & BankAccountRow.state.in_(HELD)
    known = session.scalars(select(BankAccountRow).where(here, BankAccountRow.number_index == index)).one_or_none()
    if known is not None:
        return Begun(_again(known, now), document, ask=False)
    if (session.scalar(select(func.count()).where(here)) or 0) >= most:
        raise TooManyAccounts(
            Text(
                f"每张健康卡最多绑定 {most} 个账户，请先解绑一个。",
                f"A card has {most} accounts at most. End one first.",
            )
        )
    account = BankAccountRow(
        id=uuid7(now),
        card_serial=card.serial,
        client_id=client_id,
        payer=payer,
        payer_id=payer_id,
        number_index=index,
        bank=wanted.number.bank,
        kind=wanted.number.kind,
        last4=wanted.number.last4,
        state="starting",
        start_request=wanted.start_request or uuid7(now),
        started_at=now,
        expires_at=now + timedelta(minutes=CODE_MINUTES),
        changed_at=now,
        tries=0,
        version=1,
    )
    try:
        with session.begin_nested():
            session.add(account)
            session.flush()
    except IntegrityError:
        raise AlreadyBound(
            Text(
                "该银行账户已绑定到另一张健康卡，请先在原卡解绑。",
                "This account leads to another card. End it there first.",
            )
        ) from None
    settle_later(session, account, now=now)
    note(session, card, account, "started", acting=acting, now=now)
    return Begun(account, document, ask=True)


def begin_confirming(session: Session, card: CardRow, account_id: UUID, *, now: datetime) -> BankAccountRow:
    """Take a binding that waits for its code in hand: one confirmation at a time. The row, with its `confirm_request`.

    Raises those of `proofs.hold_active`, `NoSuchBinding`, `BankPending` or `NotStarted`.
    """
    proofs.hold_active(session, card)
    account = of_card(session, card, account_id)
    if account.state in {"starting", "confirming"}:
        raise pending()
    if account.state != "started" or account.expires_at <= now:
        raise NotStarted(
            Text("该绑定未在等待验证码，请重新发起绑定。", "This binding does not wait for a code. Start it anew.")
        )
    account.state, account.confirm_request = "confirming", uuid7(now)
    account.touch(now)
    session.flush()
    settle_later(session, account, now=now)
    return account


def make_default(session: Session, card: CardRow, account_id: UUID, *, acting: Acting, now: datetime) -> BankAccountRow:
    """Choose the account that pays by default. Raises those of `proofs.hold_active`, `NoSuchBinding` or `NotStarted`."""
    proofs.hold_active(session, card)
    held = (BankAccountRow.card_serial == card.serial) & BankAccountRow.state.in_(HELD)
    in_order = select(BankAccountRow.id).where(held).order_by(BankAccountRow.id)
    session.execute(in_order.with_for_update())  # two are written: as a comparison holds them
    account = of_card(session, card, account_id)
    if account.state != "bound":
        raise NotStarted(Text("该账户未绑定成功，不能设为默认。", "Only a bound account can be the default."))
    if account.is_default:
        return account
    mine = (BankAccountRow.card_serial == card.serial) & BankAccountRow.is_default
    session.execute(update(BankAccountRow).where(mine).values(is_default=False))
    account.is_default = True
    account.touch(now)
    session.flush()
    note(session, card, account, "made-default", acting=acting, now=now)
    return account


def end(
    session: Session,
    card: CardRow,
    account_id: UUID,
    *,
    why: str,
    acting: Acting,
    now: datetime,
    words: Why | None = None,
) -> BankAccountRow:
    """End a binding: it pays nothing from now on, and the bank is told by a job. Ending twice is ending once.

    The card may be in any state. `words` are people's, kept sealed. Raises `NoSuchBinding`.
    """
    session.execute(select(CardRow.serial).where(CardRow.serial == card.serial).with_for_update(key_share=True))
    account = of_card(session, card, account_id)
    if account.state not in {"ending", "ended", "failed"}:
        end_account(session, account, why=why, at=now)
        note(session, card, account, "ended", acting=acting, now=now, words=words)
    return account


def of_card(session: Session, card: CardRow, account_id: UUID) -> BankAccountRow:
    """An account of a card, held, as it is now. Raises `NoSuchBinding`."""
    mine = (BankAccountRow.id == account_id) & (BankAccountRow.card_serial == card.serial)
    found = select(BankAccountRow).where(mine).with_for_update().execution_options(populate_existing=True)
    account = session.scalars(found).one_or_none()
    if account is None:
        raise _no_such_binding()
    return account


def card_of(session: Session, account_id: UUID) -> CardRow:
    """The card that an account is on, for staff. Raises `NoSuchBinding`."""
    mine = select(CardRow).join(BankAccountRow, BankAccountRow.card_serial == CardRow.serial)
    card = session.scalars(mine.where(BankAccountRow.id == account_id)).one_or_none()
    if card is None:
        raise _no_such_binding()
    return card


def history_of(session: Session, card: CardRow) -> list[BankAccountRow]:
    """Every account that was ever on a card, or about to be, the oldest first."""
    mine = select(BankAccountRow).where(BankAccountRow.card_serial == card.serial)
    return list(session.scalars(mine.order_by(BankAccountRow.id)))


def listed(session: Session, card: CardRow) -> list[BankAccountRow]:
    """The accounts of a card that are bound or about to be, the oldest first; those that ended or failed are left out."""
    mine = (BankAccountRow.card_serial == card.serial) & BankAccountRow.state.in_(HELD)
    return list(session.scalars(select(BankAccountRow).where(mine).order_by(BankAccountRow.id)))


def settle_later(session: Session, account: BankAccountRow, *, now: datetime) -> None:
    """Put in the job that settles what this transaction is about to ask of the bank."""
    jobs.defer(session, SETTLE, at=now + SETTLE_AFTER, account_id=str(account.id))


def note(
    session: Session, card: CardRow, account: BankAccountRow, action: str, *, acting: Acting, now: datetime,
    words: Why | None = None,
) -> None:  # fmt: skip
    """Write a change of an account into the card's history and the audit log."""
    events.note(session, card, BindingKind.BANK_ACCOUNT, account.id, action, acting=acting, at=now, why=words)


def number_index(number: AccountNumber, secrets: Secrets) -> bytes:
    """By which it is told that an account is bound already; dropped when the binding ends."""
    return secrets.blind_index.of("bank-account", number.digits)


def token_place(account_id: UUID) -> str:
    """Where the bank's token is sealed."""
    return f"bank_account.token:{account_id}"


def pending() -> BankPending:
    """The answer while the bank's word is awaited."""
    return BankPending(
        Text("银行尚未答复，系统正在查询，请稍后再看结果。", "The bank has not answered yet. Look again in a moment."),
        retry_after=int(SETTLE_AFTER.total_seconds()),
    )


def _again(known: BankAccountRow, now: datetime) -> BankAccountRow:
    """A binding that is begun once more. Raises `BankPending` or `AlreadyBound`."""
    if known.state == "started" and known.expires_at > now:
        return known
    if known.state == "bound":
        raise AlreadyBound(Text("该账户已绑定在本卡上。", "This account is bound to this card already."))
    raise pending()


def _no_such_binding() -> NoSuchBinding:
    return NoSuchBinding(Text("没有这项绑定，或本客户端无权查看。", "There is no such binding, or you may not see it."))


def _payer(
    session: Session, card: CardRow, wanted: Wanted, *, secrets: Secrets, now: datetime
) -> tuple[str, UUID, Document]:
    """Whose account it is: the holder's own, or that of the guardian who acts for the holder now.

    Raises `HolderMismatch` for anybody else's.
    """
    who = {"name": wanted.name, "id_type": wanted.id_type, "id_number": wanted.id_number}
    try:
        return (
            "self",
            card.resident_id,
            proofs.require_person(session, card.resident_id, **who, secrets=secrets, now=now),
        )
    except HolderMismatch:
        guards = card.guardian_id is not None and (card.guardian_until is None or card.guardian_until > now)
        if not guards or card.guardian_id is None:
            raise
    found = proofs.require_person(session, card.guardian_id, **who, secrets=secrets, now=now)
    return "guardian", card.guardian_id, found
