"""What the end of a card, or its joining with another, does to all that is bound to it. Nothing here commits.

The room `ehc.binding` makes and ends single bindings. Ending all of them belongs to the moves of cards, which are made in
other rooms, so it is here, below them.
"""

from collections.abc import Collection
from datetime import datetime
from secrets import token_bytes
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from ehc import jobs
from ehc.cards import binding_events as events
from ehc.cards import blacklist
from ehc.cards.bank_models import HELD, BankAccountRow
from ehc.cards.binding_events import BindingKind
from ehc.cards.models import CardRow
from ehc.cards.patient_id_models import PatientIdRow, PatientReviewRow
from ehc.cards.plastic_models import PlasticCardRow, PlasticUseRow
from ehc.cards.plastic_states import BOUND, PlasticState
from ehc.cards.store import Acting
from ehc.core.ids import uuid7
from ehc.crypto.sealed import Sealer

END_AT_BANK = "binding.end-at-bank"
"""The job that tells the bank that a binding is over: `account_id`."""

_NEUTRAL = "-"
_INDEX_BYTES = 32


def end_all(session: Session, card: CardRow, *, why: str, acting: Acting, sealer: Sealer, at: datetime) -> None:
    """End whatever is bound to a card: patient ids, plastic cards (which go on the blacklist), bank accounts.

    The bank is told by a job that is put in here. A binding that the bank has not answered about yet is ended too.
    """
    for row in _live_patient_ids(session, card):
        row.ended_at, row.ended_for = at, why
        session.flush()
        events.note(
            session,
            card,
            BindingKind.PATIENT_ID,
            row.id,
            "ended",
            acting=acting,
            at=at,
            institution_id=row.institution_id,
        )
    for plastic in _bound_plastic(session, card):
        plastic.state, plastic.until, plastic.ended_for = PlasticState.CANCELLED, None, why
        plastic.state_changed_at, plastic.version = at, plastic.version + 1
        session.flush()
        put_on_blacklist(session, plastic, PlasticState.CANCELLED, sealer=sealer, at=at)
        events.note(
            session,
            card,
            BindingKind.PLASTIC_CARD,
            plastic.id,
            "cancelled",
            acting=acting,
            at=at,
            institution_id=plastic.institution_id,
        )
    for account in _held_accounts(session, card):
        if account.state != "ending":
            end_account(session, account, why=why, at=at)
            events.note(session, card, BindingKind.BANK_ACCOUNT, account.id, "ended", acting=acting, at=at)


def end_account(session: Session, account: BankAccountRow, *, why: str, at: datetime) -> None:
    """Begin to end a bank account's binding: from now on it pays nothing, and a job tells the bank. Writes no event."""
    account.state, account.is_default, account.ended_for = "ending", False, why
    account.end_request = uuid7(at)
    account.touch(at)
    session.flush()
    jobs.defer(session, END_AT_BANK, account_id=str(account.id))


def hand_over(session: Session, other: CardRow, card: CardRow, *, acting: Acting, sealer: Sealer, at: datetime) -> None:
    """Let what is bound to a card that ends lead to the card that goes on with its history.

    Where the other has a patient id of the same kind already, that one counts, and the one that is handed over ends
    for it: which of two records of one patient goes on is for the hospital to say, by a merge.
    """
    held = {(row.institution_id, row.id_type): row for row in _live_patient_ids(session, card)}
    for row in _live_patient_ids(session, other):
        counts = held.get((row.institution_id, row.id_type))
        if counts is None:
            row.card_serial, action = card.serial, "moved"
        else:
            row.ended_at, row.ended_for, row.replaced_by, action = at, "joined", counts.id, "ended"
        session.flush()
        events.note(
            session,
            card,
            BindingKind.PATIENT_ID,
            row.id,
            action,
            acting=acting,
            at=at,
            institution_id=row.institution_id,
        )
    for plastic in _bound_plastic(session, other):
        plastic.card_serial, plastic.version = card.serial, plastic.version + 1
        session.flush()
        events.note(
            session,
            card,
            BindingKind.PLASTIC_CARD,
            plastic.id,
            "moved",
            acting=acting,
            at=at,
            institution_id=plastic.institution_id,
        )
    for account in _held_accounts(session, other):
        if account.state != "ending":  # the bank agreed with the holder of the other document
            end_account(session, account, why="joined", at=at)
            events.note(session, card, BindingKind.BANK_ACCOUNT, account.id, "ended", acting=acting, at=at)


def put_on_blacklist(
    session: Session, plastic: PlasticCardRow, reason: str | None, *, sealer: Sealer, at: datetime
) -> None:
    """Put a plastic card on the blacklist, or take it off with None."""
    hashed = listed_as(session, plastic, sealer=sealer)
    blacklist.put(session, hashed, plastic.kind, reason, until=plastic.until, at=at)


def listed_as(session: Session, plastic: PlasticCardRow, *, sealer: Sealer) -> bytes:
    """What stands for a plastic card on the blacklist."""
    number = sealer.unseal(plastic.number, number_place("plastic_card", plastic.id))
    return blacklist.number_hash(plastic.kind, institution_code(session, plastic.institution_id), number)


class Everything(NamedTuple):
    """All that is or was bound to some cards, opened, the oldest first. Personal data."""

    plastic: list[tuple[PlasticCardRow, str]]
    patient_ids: list[tuple[PatientIdRow, str]]
    accounts: list[BankAccountRow]


def everything(session: Session, serials: Collection[int], *, sealer: Sealer) -> Everything:
    """What a person may see of their own about bindings. Raises `SealBroken`."""

    def opened(table: str, model: Any) -> list[tuple[Any, str]]:
        rows = session.scalars(select(model).where(model.card_serial.in_(serials)).order_by(model.id))
        return [(row, sealer.unseal(row.number, number_place(table, row.id))) for row in rows]

    accounts = select(BankAccountRow).where(BankAccountRow.card_serial.in_(serials)).order_by(BankAccountRow.id)
    return Everything(
        opened("plastic_card", PlasticCardRow), opened("patient_id", PatientIdRow), list(session.scalars(accounts))
    )


def forget(session: Session, serials: Collection[int], *, sealer: Sealer) -> None:
    """Erase what could lead back to a person from the bindings of cards that are erased; that they were stays."""
    for table, model in (("plastic_card", PlasticCardRow), ("patient_id", PatientIdRow)):
        rows: Any = session.scalars(select(model).where(model.card_serial.in_(serials)))
        for row in rows:
            row.number = sealer.seal(_NEUTRAL, number_place(table, row.id))
            row.number_index = token_bytes(_INDEX_BYTES)
    for account in session.scalars(select(BankAccountRow).where(BankAccountRow.card_serial.in_(serials))):
        account.number_index = account.token = account.last4 = None
    used = PlasticUseRow.card_serial.in_(serials)
    session.execute(update(PlasticUseRow).where(used).values(told=None))
    told = events.BindingEventRow.card_serial.in_(serials)
    session.execute(update(events.BindingEventRow).where(told).values(reason=None))
    gone = PatientReviewRow.card_serial.in_(serials)
    session.execute(update(PatientReviewRow).where(gone).values(number=None, name=None))
    session.flush()


def number_place(table: str, row_id: UUID) -> str:
    """Where the number of a binding is sealed."""
    return f"{table}.number:{row_id}"


def patient_id_place(row_id: UUID) -> str:
    """Where a patient id is sealed."""
    return number_place("patient_id", row_id)


def institution_code(session: Session, institution_id: UUID | None) -> str:
    """The outside code of an institution; empty for none."""
    if institution_id is None:
        return ""
    found = session.execute(text("SELECT code FROM institution WHERE id = :id"), {"id": institution_id})
    return str(found.scalar_one())


def _live_patient_ids(session: Session, card: CardRow) -> list[PatientIdRow]:
    mine = (PatientIdRow.card_serial == card.serial) & PatientIdRow.ended_at.is_(None)
    return list(session.scalars(select(PatientIdRow).where(mine).order_by(PatientIdRow.id).with_for_update()))


def _bound_plastic(session: Session, card: CardRow) -> list[PlasticCardRow]:
    mine = (PlasticCardRow.card_serial == card.serial) & PlasticCardRow.state.in_(BOUND)
    return list(session.scalars(select(PlasticCardRow).where(mine).order_by(PlasticCardRow.id).with_for_update()))


def _held_accounts(session: Session, card: CardRow) -> list[BankAccountRow]:
    mine = (BankAccountRow.card_serial == card.serial) & BankAccountRow.state.in_(HELD)
    return list(session.scalars(select(BankAccountRow).where(mine).order_by(BankAccountRow.id).with_for_update()))
