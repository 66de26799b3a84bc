"""Closing an account (注销账户, 个人信息保护法 art. 47): what goes at once, what stays for a time, and the way back.

The card ends, with its codes, prints, grants and family; phone, address, employer and ethnicity are forgotten in the same
transaction. Name, documents, ids and the traces of use stay until `erase_after`, since network logs (网络安全法 art. 21) and
records must be kept; then `ehc/issuer/retention.py` erases them. Nothing here commits.
"""

from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc.callers import Caller
from ehc.cards import store as cards
from ehc.cards.events import Words
from ehc.cards.models import CardRow
from ehc.cards.states import CLOSE, RESTORABLE, RESTORE, REVIVE, Cause
from ehc.cards.store import Acting, acting
from ehc.clock import local_day
from ehc.issuer import accounts, consents, corrections, family_links, lifecycle, photos, retention, rights
from ehc.issuer.registry import Registry
from ehc.residents import store as residents
from ehc.residents.consents import Purpose
from ehc.residents.models import DocumentRow, ResidentRow
from ehc.sessions import identities


def close(
    session: Session,
    card_id: UUID,
    *,
    reason: str,
    phone_proof: UUID | None,
    phone_needed: bool,
    caller: Caller,
    registry: Registry,
    now: datetime,
    version: int | None = None,
) -> tuple[CardRow, date]:
    """Close the account of a card's holder; returns the card and the last day on which what must be kept is kept.

    Raises `NoSuchCard`, `Conflict`, `StaleVersion`, `PhoneProofRequired` or `InvalidValue` at /phone_proof.
    """
    card, party = cards.granted_as(session, card_id, caller.id, at=now)
    person = retention.whole(session, card.resident_id)
    people = person.residents | family_links.family_of(session, card.resident_id)
    family_links.hold(session, people)
    session.refresh(card)
    secrets = registry.secrets
    rights.require_phone(session, card, phone_proof, needed=phone_needed, caller=caller, secrets=secrets, now=now)
    ended = consents.end_all(session, person.residents, now=now)
    values = {"sharing": False} if Purpose.INSTITUTION_SHARING in ended else {}
    by, words = acting(caller, party), Words(reason)
    for resident_id in sorted(person.residents):
        identities.forget_person(session, resident_id)
    lifecycle.apply(session, card, CLOSE, acting=by, secrets=secrets, now=now, words=words, version=version, **values)
    corrections.drop_open(session, person.serials, now=now)
    photos.forget(session, person.serials)
    kept_until = local_day(now) + timedelta(days=registry.keep_days)
    rows = session.scalars(select(ResidentRow).where(ResidentRow.id.in_(person.residents)))
    for resident in rows.all():
        session.refresh(resident)
        retention.forget_details(resident)
        if resident.id == card.resident_id:
            resident.erase_after = kept_until
    session.flush()
    return card, kept_until


def restore(session: Session, card: CardRow, *, by: Acting, words: Words, registry: Registry, now: datetime) -> None:
    """Make a cancelled card active again, by decision of staff who saw the person, also after a death notice in error.

    Apps have to register the person again before they see the card. Raises `CardCancelled` for a card that goes on as
    another, expired, or was erased; and `Conflict`.
    """
    family_links.hold(session, {card.resident_id})
    resident = residents.locked(session, card.resident_id)
    session.refresh(card)
    document = session.get(DocumentRow, card.document_id) if card.document_id else None
    theirs = document is not None and document.resident_id == resident.id and document.closed_at is None
    if card.cause not in RESTORABLE | {Cause.DECEASED} or not theirs:
        raise accounts.cancelled()
    how = REVIVE if card.cause == Cause.DECEASED else RESTORE
    lifecycle.apply(session, card, how, acting=by, secrets=registry.secrets, now=now, words=words, proved=True)
    resident.erase_after = None
    session.flush()
