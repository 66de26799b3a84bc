"""E0012, E0013 and E0014: temporary cards made, checked, and bound to formal ones (provincial SOAP 4.12 to 4.14)."""

import re

from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc.cards import store as cards
from ehc.cards.models import CardRow
from ehc.cards.states import Cause
from ehc.clock import local_day
from ehc.core.masking import mask_name
from ehc.core.names import normal_name
from ehc.core.tables import sexes
from ehc.errors import InvalidValue
from ehc.gateways.provincial_soap import store
from ehc.gateways.provincial_soap.asking import Asked, Told
from ehc.gateways.provincial_soap.fields import read_time, write_time
from ehc.gateways.provincial_soap.messages import node
from ehc.gateways.provincial_soap.models import ProvincialCardRow
from ehc.gateways.provincial_soap.people import document_of, unfit
from ehc.gateways.provincial_soap.result_codes import Failed
from ehc.gateways.provincial_soap.telling import TEMPORARY, symbol
from ehc.issuer import finding, temporary
from ehc.issuer.finding import Found
from ehc.issuer.temporary import Arrival
from ehc.residents import store as residents
from ehc.residents.models import ResidentRow
from ehc.verify.metrics import scans
from ehc.verify.owning import owner_of
from ehc.verify.scans import Settled
from ehc.verify.service import Presentation, verify_code

_YEARS = re.compile(r"(\d{1,3})\s*(?:岁|周岁)?", re.ASCII)
_YOUNGER = re.compile(r"\d{1,3}\s*(?:个?月|天|日|周|小时|时)", re.ASCII)
_OLDEST = 150


def make(asked: Asked) -> Told:
    """E0012: the age is in whatever words; what years it comes to is reckoned, the words are kept sealed."""
    visit_at = read_time(asked.text("clinicTime"))
    if visit_at is None:
        raise Failed("12001")
    if asked.text("sex") not in sexes():
        raise Failed("1012", "sex 不在代码表中")
    arrival = Arrival(asked.text("name"), asked.text("sex"), visit_at, _years(asked.text("age")), any_time=True)
    with asked.services.work() as session:
        try:
            card, _, code = temporary.register(
                session, arrival, caller=asked.caller, registry=asked.services.registry(), now=asked.now
            )
        except InvalidValue as error:
            raise unfit(error) from None
        sealed = asked.secrets.sealer.seal(asked.text("age"), store.age_place(card.serial))
        store.note_age(session, card, sealed, asked.caller.institution_id)
    return Told("12002", (("qr_code", code), ("qr_code_imgtext", symbol(code))))


def check(asked: Asked) -> Told:
    """E0013: a check like any other, with its record."""
    shown = Presentation(asked.text("qr_code"), "other", request_id=asked.reference or None)
    if not shown.text.strip().startswith("692"):
        raise Failed("13001")
    settled = verify_code(shown, asked.caller, tools=asked.services.tools, settle=asked.services.settle)
    scans(settled.reason or "accepted").inc()
    if settled.reason is not None or settled.holder is None:
        raise Failed("13001")
    with asked.services.work() as session:
        return Told("13002", node(TEMPORARY, _values(session, asked, settled)))


def bind(asked: Asked) -> Told:
    """E0014: the temporary card ends, and its history goes on with the formal one."""
    now, document = asked.now, document_of(asked.fields, today=local_day(asked.now))
    with asked.services.work() as session:
        other = _temporary_card(session, asked)
        formal = _formal(session, asked)
        named = None
        if document is not None:
            named = finding.by_document(session, document, asked.caller.id, secrets=asked.secrets, at=now)
        if named is None or named.card.serial != formal.card.serial or not _is_holder(asked, formal):
            raise Failed("3003")
        asked.count(formal.card)
        try:
            temporary.join(
                session,
                other.id,
                formal.card.id,
                reason=f"RHC_E0014 {asked.reference}".strip(),
                caller=asked.caller,
                registry=asked.services.registry(),
                now=now,
            )
        except cards.NoSuchCard:
            raise Failed("13001") from None
        except cards.Conflict:
            raise Failed("7004" if _is_joined(session, other) else "7005") from None
    return Told("7006")


def _values(session: Session, asked: Asked, settled: Settled) -> dict[str, str]:
    """In clear for the app that made the card, having sent all of it; else as the check may tell it."""
    holder = settled.holder
    if holder is None:
        return {}
    wanted = select(CardRow, ResidentRow, ProvincialCardRow).join(ResidentRow, ResidentRow.id == CardRow.resident_id)
    wanted = wanted.outerjoin(ProvincialCardRow, ProvincialCardRow.card_serial == CardRow.serial)
    card, resident, more = session.execute(wanted.where(CardRow.id == holder.card_id)).one()
    sealer = asked.services.tools.sealer()
    name = residents.open_person(resident, None, sealer=sealer).name
    age = sealer.unseal(more.age, store.age_place(card.serial)) if more is not None and more.age else ""
    own = _is_granted(session, asked, card)
    return {
        "name": name if own or "name" in settled.told else mask_name(name),
        "age": age,
        "sex": resident.sex or "",
        "clinicTime": write_time(card.visit_at),
    }


def _is_granted(session: Session, asked: Asked, card: CardRow) -> bool:
    try:
        cards.granted(session, card.id, asked.caller.id, at=asked.now)
    except cards.NoSuchCard:
        return False
    return True


def _temporary_card(session: Session, asked: Asked) -> CardRow:
    owner = owner_of(
        session,
        asked.text("qr_code_temp"),
        tools=asked.services.tools,
        sandbox=asked.caller.sandbox,
        now=asked.now,
    )
    card = session.get(CardRow, owner.serial) if owner is not None else None
    if card is None or card.temporary_index is None:
        raise Failed("13001")
    if _is_joined(session, card):
        raise Failed("7004")
    return card


def _is_joined(session: Session, card: CardRow) -> bool:
    session.refresh(card)
    return card.cause == Cause.JOINED


def _formal(session: Session, asked: Asked) -> Found:
    """The card that the formal code leads to. Raises `Failed`: 3001 for no code, 3002 where the caller sees no such card."""
    owner = owner_of(
        session, asked.text("qr_code"), tools=asked.services.tools, sandbox=asked.caller.sandbox, now=asked.now
    )
    if owner is None:
        raise Failed("3001")
    found = finding.by_serial(session, owner.serial, asked.caller.id, at=asked.now)
    if found is None or not found.open_grant:
        raise Failed("3002")
    return found


def _is_holder(asked: Asked, formal: Found) -> bool:
    person = formal.opened(asked.secrets).person
    try:
        if normal_name(asked.text("name")) != person.name:
            return False
    except InvalidValue:
        return False
    given = asked.text("sex")
    return not given or person.sex is None or given == person.sex


def _years(age: str) -> int | None:
    """Whole years, as far as the words tell them: `35`, `35岁`, `3月`."""
    if _YOUNGER.fullmatch(age):
        return 0
    found = _YEARS.fullmatch(age)
    return int(found[1]) if found and int(found[1]) <= _OLDEST else None
