"""What goes when a closed account's time is over: everything that says who the person was (个人信息保护法 art. 47).

What stays cannot be led back to anybody: that a card with this id existed, its moves with their times, the checks with
institution and step, the consents, and the audit log, which never held personal data. `docs/privacy.md` has the table.
"""

from dataclasses import dataclass
from datetime import datetime
from secrets import token_bytes
from uuid import UUID

from sqlalchemy import delete, or_, select, text, update
from sqlalchemy.orm import Session

from ehc import audit
from ehc.audit.links import chain_of
from ehc.cards import bindings
from ehc.cards.models import AliasRow, CardEventRow, CardRow, GrantRow
from ehc.cards.states import LIVE, Cause
from ehc.clock import local_day
from ehc.issuer.models import CorrectionRow, PhotoRow, ProofRow
from ehc.issuer.registry import place
from ehc.keystore.secret_keys import Secrets
from ehc.residents.models import DocumentRow, FamilyLinkRow, ResidentRow
from ehc.residents.store import name_place, number_place

NEUTRAL = "-"
"""What stands for a name or a number that was erased: neither a name nor a number can be this."""

_INDEX_BYTES = 32
_ENDED_FOR_GOOD = {None, Cause.JOINED, Cause.EXPIRED}
"""Causes that stay with an erased card; None is a rejected application's. Any other becomes `expired`."""

# The table of checks is the verifier's, whose code this room does not know. Who stood at the scanner and the caller's own
# number of the visit are all in a row that could lead back to a person.
_FORGET_OPERATORS = text("UPDATE verification SET operator = NULL, request_id = NULL WHERE card_serial = ANY(:serials)")


@dataclass(frozen=True)
class Whole:
    """All records of one person: those of people who turned out to be them, and the cards of all of these."""

    residents: frozenset[UUID]
    serials: frozenset[int]


def whole(session: Session, resident_id: UUID) -> Whole:
    """The records of a person, with those that were joined to theirs or whose document they took over."""
    people, serials = {resident_id}, set[int]()
    while True:
        documents = select(DocumentRow.id).where(DocumentRow.resident_id.in_(people))
        theirs = or_(
            CardRow.resident_id.in_(people), CardRow.document_id.in_(documents), CardRow.joined_to.in_(serials)
        )
        found = session.execute(select(CardRow.serial, CardRow.resident_id).where(theirs)).all()
        known = len(people), len(serials)
        serials |= {row.serial for row in found}
        people |= {row.resident_id for row in found}
        if (len(people), len(serials)) == known:
            return Whole(frozenset(people), frozenset(serials))


def erase(session: Session, *, secrets: Secrets, now: datetime, most: int = 50) -> int:
    """Erase people whose accounts were closed long enough ago; returns how many. Call until it returns 0.

    Waits for no lock: whoever is in somebody else's hands, as when they are registered again just now, has another turn.
    """
    over = select(ResidentRow).where(ResidentRow.erase_after < local_day(now)).order_by(ResidentRow.id).limit(most)
    done: list[CardRow] = []
    erased = 0
    for resident in session.scalars(over.with_for_update(skip_locked=True)).all():
        cards = _held_cards(session, whole(session, resident.id))
        if cards is None:
            continue
        _erase(session, resident, cards, secrets, now)
        done += cards
        erased += 1
    for card in sorted(done, key=lambda card: chain_of(str(card.id))):  # one order, so that no two wait crosswise
        audit.record(session, "card.erased", actor="system", subject=str(card.id), at=now)
    return erased


def _held_cards(session: Session, person: Whole) -> list[CardRow] | None:
    """The person's cards, held; None where one of them is in other hands, or lives."""
    wanted = select(CardRow).where(CardRow.serial.in_(person.serials)).order_by(CardRow.serial)
    held = wanted.with_for_update(skip_locked=True).execution_options(populate_existing=True)
    cards = list(session.scalars(held))
    if len(cards) != len(person.serials) or any(card.status in LIVE for card in cards):
        return None
    return cards


def _erase(session: Session, resident: ResidentRow, cards: list[CardRow], secrets: Secrets, now: datetime) -> None:
    people = {resident.id} | {card.resident_id for card in cards}
    serials = [card.serial for card in cards]
    for row in session.scalars(select(ResidentRow).where(ResidentRow.id.in_(people))):
        _forget_person(row, secrets)
    for document in session.scalars(select(DocumentRow).where(DocumentRow.resident_id.in_(people))):
        document.name = None
        document.number = secrets.sealer.seal(NEUTRAL, number_place(document.id))
        document.number_index = token_bytes(_INDEX_BYTES)  # the person may register anew, as somebody new
        document.closed_at = document.closed_at or now
    for card in cards:
        _forget_card(card, secrets)
    session.flush()
    words = {"reason": None, "evidence": None, "clerk": None}
    links = or_(FamilyLinkRow.guardian_id.in_(people), FamilyLinkRow.member_id.in_(people))
    for change in (
        update(CardEventRow).where(CardEventRow.card_serial.in_(serials)).values(words),
        update(FamilyLinkRow).where(links).values(evidence=None),
        delete(AliasRow).where(AliasRow.card_serial.in_(serials)),
        delete(GrantRow).where(GrantRow.card_serial.in_(serials)),
        delete(ProofRow).where(ProofRow.card_serial.in_(serials)),
        delete(CorrectionRow).where(CorrectionRow.card_serial.in_(serials)),
        delete(PhotoRow).where(PhotoRow.card_serial.in_(serials)),
    ):
        session.execute(change.execution_options(synchronize_session=False))
    session.execute(_FORGET_OPERATORS, {"serials": serials})
    bindings.forget(session, serials, sealer=secrets.sealer)


def forget_details(resident: ResidentRow) -> None:
    """Drop what no law keeps: phone, address, employer and ethnicity."""
    resident.phone = resident.phone_index = resident.phone_proved_at = None
    resident.address = resident.employer = resident.ethnicity = None
    resident.version += 1


def _forget_person(resident: ResidentRow, secrets: Secrets) -> None:
    forget_details(resident)
    resident.name = secrets.sealer.seal(NEUTRAL, name_place(resident.id))
    resident.sex = resident.birth_date = resident.birth_order = None
    resident.erase_after = None


def _forget_card(card: CardRow, secrets: Secrets) -> None:
    if card.ehc_id is not None:
        card.ehc_id = secrets.sealer.seal(NEUTRAL, place("ehc_id", card.id))
        card.index_id = secrets.sealer.seal(NEUTRAL, place("index_id", card.id))
        card.ehc_id_index, card.index_id_index = token_bytes(_INDEX_BYTES), token_bytes(_INDEX_BYTES)
    if card.temporary_index is not None:
        card.temporary_index = token_bytes(_INDEX_BYTES)
    # Somebody may be registering the person again just now. Who read the card before finds another version, and who reads it
    # from now on finds one that nothing restores: the name that they compared is gone.
    card.version += 1
    if card.cause in _ENDED_FOR_GOOD:
        return
    card.cause = Cause.EXPIRED
