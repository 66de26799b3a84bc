"""E0004 and E0011: a card cancelled, and its data changed (provincial SOAP 4.4, 4.11)."""

from typing import Any

from sqlalchemy.orm import Session

from ehc.cards import store as cards
from ehc.cards.states import CANCEL, CardStatus
from ehc.clock import local_day
from ehc.core.documents import citizen_facts
from ehc.core.tables import sexes
from ehc.gateways.provincial_soap import store
from ehc.gateways.provincial_soap.asking import Asked, Told
from ehc.gateways.provincial_soap.fields import read_day, read_time
from ehc.gateways.provincial_soap.people import document_of
from ehc.gateways.provincial_soap.result_codes import Failed
from ehc.issuer import changes, corrections, finding, lifecycle
from ehc.issuer.corrections import Field
from ehc.issuer.finding import Found
from ehc.verify.owning import owner_of

_NOT_CERTIFIED = frozenset({CardStatus.PENDING_REVIEW, CardStatus.REJECTED, CardStatus.CANCELLED})


def cancel(asked: Asked) -> Told:
    """E0004: the code, any that is genuine and in its time, must be of the person who is named."""
    document, now = document_of(asked.fields, today=local_day(asked.now)), asked.now
    with asked.services.work() as session:
        found = None
        if document is not None:
            found = finding.by_document(session, document, asked.caller.id, secrets=asked.secrets, at=now, hold=True)
        if found is None or (not found.open_grant and found.card.status != CardStatus.CANCELLED):
            raise Failed("4003")
        asked.count(found.card)
        owner = owner_of(
            session, asked.text("qr_code"), tools=asked.services.tools, sandbox=asked.caller.sandbox, now=now
        )
        if owner is None or owner.serial != found.card.serial:
            raise Failed("4001")
        if found.card.status in _NOT_CERTIFIED:
            raise Failed("4002")
        try:
            lifecycle.change_status(
                session,
                found.card.id,
                CANCEL,
                caller=asked.caller,
                reason=f"RHC_E0004 {asked.reference}".strip(),
                secrets=asked.secrets,
                now=now,
            )
        except cards.Conflict:
            raise Failed("4002") from None
    return Told("4004")


def change(asked: Asked) -> Told:
    """E0011: what is not empty changes. A change that was made already is acknowledged, and not made again."""
    now = asked.now
    if read_time(asked.text("alterTime")) is None:
        raise Failed("12001", "alterTime")
    facts = _facts(asked)
    number = asked.secrets.blind_index.of("provincial-change", asked.text("alterNo"))
    with asked.services.work() as session:
        found = _of_ehc_id(session, asked)
        if not store.is_new_change(session, asked.account.id, number, at=now):
            return Told("11002")
        detail = _birthday(session, asked, found)
        changes.change_facts(
            session,
            found.card,
            facts,
            caller=asked.caller,
            party=found.party,
            registry=asked.services.registry(),
            now=now,
        )
    return Told("11002", detail=detail)


def _of_ehc_id(session: Session, asked: Asked) -> Found:
    found = finding.by_ehc_id(
        session, asked.text("ecardId").upper(), asked.caller.id, secrets=asked.secrets, at=asked.now, hold=True
    )
    if found is None or not found.open_grant or found.card.status == CardStatus.CANCELLED:
        raise Failed("11001")
    asked.count(found.card)
    return found


def _facts(asked: Asked) -> dict[str, Any]:
    facts = {}
    if sex := asked.text("sex"):
        if sex not in sexes():
            raise Failed("6010", "sex 有误")
        facts["sex"] = sex
    if phone := asked.text("telephone"):
        facts["phone"] = phone
    if address := asked.text("address"):
        facts["address"] = address
    return facts


def _birthday(session: Session, asked: Asked, found: Found) -> str:
    """Have staff decide about another birth date, as for every interface: what may be done for a child hangs on it.

    Returns what is to be said of it. Raises `Failed`: 6003 for no date, or one that the citizen id gainsays.
    """
    if not (given := asked.text("birthday")):
        return ""
    born = read_day(given)
    if born is None or born > local_day(asked.now):
        raise Failed("6003")
    person = found.opened(asked.secrets).person
    if born == person.birth_date:
        return ""
    if person.document is not None and citizen_facts(person.document) is not None:
        raise Failed("6003", "出生日期与证件号码不一致")
    corrections.ask(
        session,
        found.card,
        Field.BIRTH_DATE,
        born.isoformat(),
        f"RHC_E0011 {asked.reference}".strip(),
        caller=asked.caller,
        party=found.party,
        secrets=asked.secrets,
        now=asked.now,
    )
    return "出生日期已提交审核"
