"""What hospitals tell and ask of cards (open-platform JSON 4.4): patient ids, uses, new card ids, orders for the wallet."""

from datetime import datetime
from typing import Any

from prometheus_client import Counter
from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc.binding import patient_ids
from ehc.binding.patient_ids import PatientNumber
from ehc.cards import store as cards
from ehc.cards.models import AliasRow, CardRow
from ehc.cards.states import CardStatus, Party
from ehc.cards.store import acting
from ehc.clock import CHINA_TIME, local_day
from ehc.codes.text import TextKind, kind_of
from ehc.core.documents import read_document
from ehc.core.ids import uuid7
from ehc.errors import EhcError
from ehc.gateways.open_platform import checking, finding, one_time, qr_text, words
from ehc.gateways.open_platform.deps import Call
from ehc.gateways.open_platform.members import Members
from ehc.gateways.open_platform.models import UseReportRow
from ehc.gateways.open_platform.one_time import OneTime
from ehc.gateways.open_platform.results import Refusal, Result
from ehc.issuer.registry import open_ids
from ehc.residents import store as residents

UNKNOWN = Counter(
    "ehc_open_platform_unknown_codes", "Codes in use reports that no table of ours has, by the table.", ["table"]
)
_COLUMNS = {
    "hospitalCode": "hospital_code",
    "subHospitalCode": "sub_hospital_code",
    "scene": "scene",
    "department": "department",
    "cardType": "card_type",
    "cardChannel": "card_channel",
    "cardCostTypes": "cost_types",
    "serviceId": "service_id",
}
"""What is kept of a report, and where."""
_TABLES = {"scene": "scene", "card_type": "idType", "card_channel": "cardChannel", "cost_types": "cardCostTypes"}
"""Which of it is a code of which table."""
RENEWALS = 100
"""As many items of one `updateHealthCardId`; the interface names no limit."""
_LONGEST = 128


def bind_card_relation(call: Call, members: Members) -> dict[str, Any]:
    """bindCardRelation: the calling hospital's id of this patient.

    Proved by a dynamic code that is good now, which is not used up; or, with a static one, by the holder's use of this app.
    """
    number = PatientNumber(finding.OUTPATIENT, members.text("patid", needed=True))
    known = qr_text.as_known(members.text("qrCodeText", 1024, needed=True))
    ehc_id = qr_text.card_id_in(known)
    if ehc_id is None or not qr_text.is_static(known):
        ehc_id = checking.looked_at(call, known)["healthCardId"]
        if not ehc_id:
            raise Refusal(Result.BAD_CODE)
    deps, institution = call.deps, call.caller.institution_id
    if institution is None:
        raise Refusal(Result.NOT_ITS_HOSPITAL)
    with deps.work() as session:
        if qr_text.is_static(known):
            card, party = finding.granted(session, call, ehc_id)
        else:
            card, party = _by_id(session, call, ehc_id), Party.STAFF
        by, secrets, now = acting(call.caller, party), deps.secrets(), deps.clock.now()
        patient_ids.bind_through_app(session, card, number, institution, acting=by, secrets=secrets, now=now)
    return {"result": True}


def report_his_data(call: Call, members: Members) -> dict[str, Any]:
    """reportHISData, and the two that say the same to other services (4.8): kept as told, without names and numbers.

    Codes that nobody knows are counted.
    """
    now, text = call.deps.clock.now(), members.text("qrCodeText", 1024, needed=True)
    try:
        known = qr_text.as_known(text)
    except Refusal:
        known = ""
    told = {column: members.text(member, _LONGEST) for member, column in _COLUMNS.items()}
    with call.deps.work() as session:
        row = UseReportRow(
            id=uuid7(now),
            account_id=call.account.id,
            institution_id=call.caller.institution_id,
            card_serial=_serial_of(session, call, known),
            sandbox=call.caller.sandbox,
            code_kind=_kind(known),
            used_at=_time(members.text("time", _LONGEST)),
            reported_at=now,
            **told,
        )
        session.add(row)
    for column, name in _TABLES.items():
        if told[column] and told[column] not in words.table(name):
            UNKNOWN.labels(name).inc()
    return {}


def order_id(call: Call, members: Members) -> dict[str, Any]:
    """getOrderIdByOutAppId: an order for WeChat's wallet, which the demo's stand-in for WeChat takes. Elsewhere not open."""
    members.text("appId", needed=True)
    known = qr_text.as_known(members.text("qrCodeText", 1024, needed=True))
    if not call.deps.demo:
        raise Refusal(Result.NOT_OPEN, "未接入微信卡包")
    ehc_id = qr_text.card_id_in(known)
    if ehc_id is None:
        raise Refusal(Result.BAD_CODE)
    if not qr_text.is_static(known):
        checking.looked_at(call, known)
    now = call.deps.clock.now()
    with call.deps.work() as session:
        card, _ = finding.granted(session, call, ehc_id)
        order = one_time.issue(session, OneTime.WALLET, call.account.id, card_serial=card.serial, now=now)
    return {"orderId": order}


def update_health_card_id(call: Call, members: Members) -> dict[str, Any]:
    """updateHealthCardId: for each old id and document, the id that the card has now; empty where it leads to no card.

    Old ids may be of another platform, of which nothing is known here: the document decides, unless the id is somebody else's.
    """
    name = members.given("updateHealthCardIdItems", "healthCardItems")
    items = members.items(name, most=RENEWALS)
    with call.deps.work() as session:
        told = [_renewed(session, call, item) for item in items]
    whole = all(item["newHealthCardId"] for item in told)
    return {"updateHealthCardIdRspItems": told, "result": whole}


def _renewed(session: Session, call: Call, item: Members) -> dict[str, str]:
    old = item.text("healthCardId", _LONGEST)
    id_type, number = item.text("idType", 8), item.text("idNumber")
    try:
        new = _current_id(session, call, old, id_type, number)
    except (EhcError, Refusal):
        new = ""
    return {"oldHealthCardId": old, "idType": id_type, "idNumber": number, "newHealthCardId": new}


def _current_id(session: Session, call: Call, old: str, id_type: str, number: str) -> str:
    """Raises `InvalidValue`, `NoSuchCard` or `Refusal`."""
    secrets, now = call.deps.secrets(), call.deps.clock.now()
    document = read_document(id_type, number, today=local_day(now))
    row = residents.find(session, document, blind_index=secrets.blind_index)
    card = cards.of_resident(session, row.resident_id) if row is not None else None
    if card is None or card.status == CardStatus.CANCELLED:
        raise Refusal(Result.NO_SUCH_CARD)
    cards.granted(session, card.id, call.caller.id, at=now)
    index = secrets.blind_index.of("ehc-id", old.upper())
    others = select(CardRow.serial).where(CardRow.ehc_id_index == index, CardRow.serial != card.serial)
    formers = select(AliasRow.card_serial).where(AliasRow.ehc_id_index == index, AliasRow.card_serial != card.serial)
    if session.scalar(others.union(formers).limit(1)) is not None:
        raise Refusal(Result.NOT_ITS_DOCUMENT)
    return open_ids(card, secrets)[0] or ""


def _by_id(session: Session, call: Call, ehc_id: str) -> CardRow:
    """The card of a code that was found good."""
    index = call.deps.secrets().blind_index.of("ehc-id", ehc_id)
    card = session.scalars(select(CardRow).where(CardRow.ehc_id_index == index)).one_or_none()
    if card is None:
        raise Refusal(Result.NO_SUCH_CARD)
    return card


def _serial_of(session: Session, call: Call, known: str) -> int | None:
    """The card that a national text names. A report proves nothing, so neither does the text."""
    ehc_id = qr_text.card_id_in(known)
    if ehc_id is None:
        return None
    index = call.deps.secrets().blind_index.of("ehc-id", ehc_id)
    same_world = CardRow.sandbox.is_(call.caller.sandbox)
    found: int | None = session.scalar(select(CardRow.serial).where(CardRow.ehc_id_index == index, same_world))
    return found


def _kind(known: str) -> str:
    if qr_text.card_id_in(known) is not None:
        return "static" if qr_text.is_static(known) else "dynamic"
    return "signed" if kind_of(known) is TextKind.SIGNED else "unknown"


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=CHINA_TIME)
    except ValueError:
        return None
