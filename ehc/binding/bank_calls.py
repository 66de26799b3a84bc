"""What is asked of the bank, and what its word does to a binding. Each answer is written where the question still stands.

An answer that comes late finds the question settled by the job, or the binding ended by its holder meanwhile, and changes
nothing: `_open` looks for the very request that was asked. A call is made outside any transaction: it may take 3 s.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc import jobs
from ehc.binding import bank_accounts
from ehc.binding.bank_accounts import CODE_MINUTES, SETTLE, SETTLE_AFTER, Begun, note, token_place
from ehc.cards.bank_models import OPEN, BankAccountRow, BankNoticeRow
from ehc.cards.bindings import end_account
from ehc.cards.models import CardRow
from ehc.cards.states import CardStatus, Party
from ehc.cards.store import Acting
from ehc.core.ids import uuid7
from ehc.db import UnitOfWork
from ehc.keystore.secret_keys import Secrets
from ehc.outside.bank_gateway import (
    Agreement,
    AtBank,
    BankAway,
    BankGateway,
    Factors,
    NoticeKind,
    Refusal,
    Refused,
    Started,
    WrongCode,
)

log = structlog.get_logger(__name__)

ENDED_FOR = {
    NoticeKind.ENDED: "bank-ended",
    NoticeKind.LOST: "bank-card-lost",
    NoticeKind.CLOSED: "bank-closed",
}
"""For what a binding ends after a notice."""

OTHER_ACCOUNT = "bank-other-account"
"""For what a binding ends that the bank made with another account."""

_BREATH = timedelta(seconds=1)
_UNDER_WAY = SETTLE_AFTER / 2

SYSTEM = Acting("system", Party.SYSTEM)

Answered = Started | Refused | Agreement | WrongCode | None
"""The bank's word; None where it did not answer, and a job asks what came of it."""


@dataclass(frozen=True)
class Desk:
    """Where calls to the bank are made."""

    bank: BankGateway
    work: UnitOfWork
    secrets: Callable[[], Secrets]


def ask_start(bank: BankGateway, begun: Begun, *, number: str, name: str, phone: str) -> Started | Refused | None:
    """Have the bank check the four factors and send its code. None where it did not answer."""
    try:
        return bank.start(begun.account.start_request, Factors(number, name, begun.document, phone))
    except BankAway:
        return None


def ask_confirm(bank: BankGateway, account: BankAccountRow, code: str) -> Agreement | WrongCode | Refused | None:
    """Have the bank bind. None where it did not answer."""
    if account.confirm_request is None:
        raise ValueError("a confirmation has a request of its own")
    try:
        return bank.confirm(account.start_request, account.confirm_request, code)
    except BankAway:
        return None


def started(session: Session, account: BankAccountRow, answer: Started | Refused, *, now: datetime) -> BankAccountRow:
    """Write the bank's word on a start, if nobody did before; the row as it is then."""
    row, card = _open(session, account.id)
    if row.state != "starting":
        return row
    if isinstance(answer, Refused):
        _fail(session, card, row, answer.why, now)
    else:
        _wait_for_code(session, row, answer.seconds, now)
    session.flush()
    return row


def confirmed(
    session: Session,
    account: BankAccountRow,
    answer: Agreement | WrongCode | Refused,
    *,
    acting: Acting,
    secrets: Secrets,
    now: datetime,
) -> BankAccountRow:
    """Write the bank's word on a confirmation, if it is still the one that is awaited; the row as it is then.

    A card that was cancelled meanwhile has its binding `ending`, and a job takes the agreement back.
    """
    row, card = _open(session, account.id)
    if row.state != "confirming" or row.confirm_request != account.confirm_request:
        return row
    if isinstance(answer, Agreement):
        agreement = as_told_since(session, row, answer, account.changed_at)
        bind(session, card, row, agreement, acting=acting, secrets=secrets, now=now)
    elif isinstance(answer, WrongCode) and answer.tries_left == 0:
        row.tries += 1
        _fail(session, card, row, Refusal.CODE_EXPIRED, now)
    elif isinstance(answer, WrongCode):
        row.state, row.tries = "started", row.tries + 1
        row.touch(now)
        note(session, card, row, "code-refused", acting=acting, now=now)
    else:
        _fail(session, card, row, answer.why, now)
    session.flush()
    return row


def bind(
    session: Session,
    card: CardRow,
    row: BankAccountRow,
    agreement: Agreement,
    *,
    acting: Acting,
    secrets: Secrets,
    now: datetime,
) -> None:
    """A binding that stands: the bank's token, sealed. The first account of a card is its default.

    An agreement about another account than the one that was started is none: nothing pays by it, and the bank is told.
    """
    if agreement.last4 != row.last4:
        refuse_other_account(session, card, row, now=now)
        return
    row.state, row.bound_at = "bound", now
    row.token = secrets.sealer.seal(agreement.token, token_place(row.id))
    row.bank, row.kind = agreement.bank, agreement.kind
    row.single_limit, row.day_limit = agreement.single_limit, agreement.day_limit
    others = (BankAccountRow.card_serial == row.card_serial) & (BankAccountRow.state == "bound")
    first = session.scalar(select(BankAccountRow.id).where(others, BankAccountRow.id != row.id).limit(1)) is None
    row.is_default = first and card.status == CardStatus.ACTIVE
    row.touch(now)
    session.flush()
    note(session, card, row, "bound", acting=acting, now=now)
    over = (BankNoticeRow.start_request == row.start_request) & (BankNoticeRow.what != NoticeKind.LIMITS)
    told = session.scalar(select(BankNoticeRow.what).where(over).order_by(BankNoticeRow.happened_at).limit(1))
    if told is not None:  # the bank's notice that it is over overtook its word that it stands
        end_account(session, row, why=ENDED_FOR[NoticeKind(told)], at=now)
        note(session, card, row, "ended", acting=SYSTEM, now=now)


def as_told_since(session: Session, row: BankAccountRow, agreement: Agreement, asked: datetime) -> Agreement:
    """An agreement that was asked for at that time, with the limits that a notice told since: those are on the row."""
    told = (BankNoticeRow.start_request == row.start_request) & (BankNoticeRow.what == NoticeKind.LIMITS)
    later = select(BankNoticeRow.notice_id).where(told, BankNoticeRow.received_at >= asked).limit(1)
    if session.scalar(later) is None:
        return agreement
    return replace(agreement, single_limit=row.single_limit, day_limit=row.day_limit)


def refuse_other_account(session: Session, card: CardRow, row: BankAccountRow, *, now: datetime) -> None:
    """End what the bank bound to another account than the holder's: its number ends otherwise. A job tells the bank."""
    log.error("bank bound another account", account_id=str(row.id))
    end_account(session, row, why=OTHER_ACCOUNT, at=now)
    note(session, card, row, "ended", acting=SYSTEM, now=now)


def settle(desk: Desk, account_id: UUID, *, now: datetime) -> None:
    """Find out what came of a call whose answer was lost, and write it. Raises `BankAway`; the job then tries later.

    A bank that never heard of a start is told to end it: so one that is still on its way binds nothing.
    """
    with desk.work() as session:
        row = session.get(BankAccountRow, account_id)
        if row is None or row.state not in OPEN or (row.state == "started" and row.expires_at > now):
            return
        if row.state in {"starting", "confirming"} and row.changed_at > now - _UNDER_WAY:
            return  # the bank may not have heard yet, and a job of its own follows
        ending, start_request, version = row.state == "ending", row.start_request, row.version
    if ending:
        finish_ending(desk, account_id, now=now)
        return
    status = desk.bank.status(start_request)
    unheard = status.state is AtBank.NONE
    over = status.state is not AtBank.BOUND and (unheard or row.state == "started")
    if over:
        desk.bank.end(start_request, uuid7(now))
    with desk.work() as session:
        row, card = _open(session, account_id)
        if row.version != version:
            return  # the answer came after all, or the holder ended it
        if status.state is AtBank.BOUND and status.agreement is not None:
            agreement = as_told_since(session, row, status.agreement, now)
            bind(session, card, row, agreement, acting=SYSTEM, secrets=desk.secrets(), now=now)
        elif over:
            _fail(session, card, row, "not-received" if unheard else Refusal.CODE_EXPIRED, now)
        elif status.state is AtBank.STARTED:
            _wait_for_code(session, row, status.seconds or 0, now)
        else:
            _fail(session, card, row, status.why or status.state, now)
        session.flush()


def finish_ending(desk: Desk, account_id: UUID, *, now: datetime) -> None:
    """Tell the bank that a binding is over, then write that it is. Raises `BankAway`; the job then tries later."""
    with desk.work() as session:
        row = session.get(BankAccountRow, account_id)
        if row is None or row.state != "ending" or row.end_request is None:
            return
        start_request, end_request = row.start_request, row.end_request
    desk.bank.end(start_request, end_request)
    with desk.work() as session:
        row, card = _open(session, account_id)
        if row.state == "ending":
            ended(session, card, row, why=row.ended_for or "ended", acting=SYSTEM, now=now)


def ended(session: Session, card: CardRow, row: BankAccountRow, *, why: str, acting: Acting, now: datetime) -> None:
    """A binding is over at both ends: what could lead to the account goes, that it was stays."""
    told_of = row.state == "ending"
    row.state, row.is_default, row.ended_for, row.ended_at = "ended", False, why, now
    row.number_index = row.token = None
    row.touch(now)
    session.flush()
    note(session, card, row, "ended-at-bank" if told_of else "ended", acting=acting, now=now)


def open_of(session: Session, start_request: UUID) -> tuple[BankAccountRow, CardRow] | None:
    """The account that a start of ours became, held, with its card; None where there is none."""
    found = session.scalar(select(BankAccountRow.id).where(BankAccountRow.start_request == start_request))
    return None if found is None else _open(session, found)


def _open(session: Session, account_id: UUID) -> tuple[BankAccountRow, CardRow]:
    """An account, held, and its card, held before it as everywhere."""
    serial = select(BankAccountRow.card_serial).where(BankAccountRow.id == account_id).scalar_subquery()
    held = select(CardRow).where(CardRow.serial == serial).with_for_update(key_share=True)
    card = session.scalars(held.execution_options(populate_existing=True)).one()
    return bank_accounts.of_card(session, card, account_id), card


def _fail(session: Session, card: CardRow, row: BankAccountRow, why: str, now: datetime) -> None:
    row.state, row.failed_for, row.ended_at, row.number_index = "failed", str(why), now, None
    row.touch(now)
    session.flush()
    note(session, card, row, "failed", acting=SYSTEM, now=now)


def _wait_for_code(session: Session, row: BankAccountRow, seconds: int, now: datetime) -> None:
    row.state = "started"
    row.expires_at = now + timedelta(seconds=min(seconds, CODE_MINUTES * 60))
    row.touch(now)
    jobs.defer(session, SETTLE, at=row.expires_at + _BREATH, account_id=str(row.id))  # or the number stays taken
