"""Cards as this interface finds them, and what it says of one (open-platform JSON 4.1)."""

from dataclasses import replace
from typing import Any

import orjson
from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc.binding import patient_ids
from ehc.cards import store as cards
from ehc.cards.models import CardEventRow, CardRow
from ehc.cards.states import CardStatus, Party
from ehc.cards.store import acting
from ehc.codes.national_text import national_static
from ehc.core.masking import mask_address, mask_phone
from ehc.gateways.open_platform import words
from ehc.gateways.open_platform.deps import Call
from ehc.gateways.open_platform.models import RelationRow
from ehc.gateways.open_platform.results import Refusal, Result
from ehc.issuer.accounts import Account, account_of
from ehc.residents import consents
from ehc.residents.consents import Purpose

OUTPATIENT = patient_ids.ID_TYPES[0]
"""The kind of patient id that `patid` is: the interface knows one."""


def granted(session: Session, call: Call, ehc_id: str) -> tuple[CardRow, Party]:
    """The card with this id, if the caller may use it. Raises `Refusal` (40001, or 40004 for one that it could use)."""
    index = call.deps.secrets().blind_index.of("ehc-id", ehc_id)
    try:
        card, party, open_grant = cards.known_by_ehc_id(session, index, call.caller.id, at=call.deps.clock.now())
    except cards.NoSuchCard:
        raise Refusal(Result.NO_SUCH_CARD) from None
    if card.status == CardStatus.CANCELLED:
        raise Refusal(Result.CARD_CANCELLED)
    if not open_grant:
        raise Refusal(Result.NO_SUCH_CARD)
    return card, party


def card_object(session: Session, call: Call, card: CardRow) -> dict[str, Any]:
    """The card of somebody whom the caller may act for; with the calling hospital's own id of the patient.

    Phone and address in clear where the holder said so to this app, by a `healthCode` or by registering through it first. Who
    only knew name and number, and registered the person again, is shown them masked, as over `/v1`.
    """
    account = account_of(session, card, secrets=call.deps.secrets())
    if not _trusted(session, call, card):
        account = _masked(account)
    told = person_members(account)
    told |= {"idCard": told["idNumber"], "cardType": told["idType"]}  # what older clients call them
    told |= {"patid": _patid(session, call, card), "relation": _relation(session, call, card), "ext": ""}
    return told


def person_members(account: Account) -> dict[str, Any]:
    """What the interface says of a card and its holder, in clear. `phone2` is not kept, so it is empty."""
    person, ehc_id = account.person, account.ehc_id or ""
    document = person.document
    return {
        "qrCodeText": static_text(ehc_id),
        "name": person.name,
        "gender": words.sex_word(person.sex),
        "nation": words.nation_word(person.ethnicity),
        "birthday": words.day_word(person.birth_date),
        "address": person.address or "",
        "idNumber": document.number if document else "",
        "idType": document.type if document else "",
        "phone1": person.phone or "",
        "phone2": "",
        "phid": account.index_id or "",
        "healthCardId": ehc_id,
        "adminExt": admin_ext(account),
    }


def admin_ext(account: Account) -> str:
    """The provincial data as a JSON string (6.1): the sex and the kind of document as words, dates with dashes."""
    person, ehc_id = account.person, account.ehc_id or ""
    document = person.document
    told = {
        "qr_code": static_text(ehc_id),
        "ecardId": ehc_id,
        "main_index": account.index_id or "",
        "id_type": words.document_word(document.type) if document else "",
        "id_number": document.number if document else "",
        "name": person.name,
        "sex": words.sex_word(person.sex),
        "birthday": words.day_word(person.birth_date),
        "telephone": person.phone or "",
        "nation": words.nation_word(person.ethnicity),
        "unit": person.employer or "",
        "address": person.address or "",
    }
    return orjson.dumps(told).decode()


def static_text(ehc_id: str) -> str:
    """The static text of a card id; empty for none. Whether it counts, the holder and the institution decide."""
    return national_static(bytes.fromhex(ehc_id)) if ehc_id else ""


def _trusted(session: Session, call: Call, card: CardRow) -> bool:
    agreed = consents.live(session, {card.resident_id}, Purpose.APP_ACCESS)
    if any(row.client_id == call.caller.id for row in agreed):
        return True
    first = (CardEventRow.card_serial == card.serial) & (CardEventRow.action == "registered")
    by_app = CardEventRow.actor == acting(call.caller).actor
    return session.scalar(select(select(1).where(first, by_app).exists())) is True


def _masked(account: Account) -> Account:
    phone, address = account.person.phone, account.person.address
    person = replace(
        account.person,
        phone=mask_phone(phone) if phone else None,
        address=mask_address(address) if address else None,
        employer=None,
    )
    return replace(account, person=person)


def _patid(session: Session, call: Call, card: CardRow) -> str:
    institution = call.caller.institution_id
    if institution is None:
        return ""
    rows = patient_ids.live_of(session, card, institution_id=institution)
    found = next((row for row in rows if row.id_type == OUTPATIENT), None)
    return patient_ids.opened(found, sealer=call.deps.secrets().sealer) if found else ""


def _relation(session: Session, call: Call, card: CardRow) -> str:
    wanted = select(RelationRow.relation).where(
        RelationRow.account_id == call.account.id, RelationRow.card_serial == card.serial
    )
    return session.scalar(wanted) or ""
