"""`getHealthCardBy…` (open-platform JSON 4.2) and `getDynamicQRCode` (4.3): cards for those who may use them.

An app that the holder lets use a card sees it in clear, as it was told it. Any other sees what a check would tell its hospital.
"""

from base64 import b64encode
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc import audit
from ehc.cards import store as cards
from ehc.cards.models import CardRow, GrantRow
from ehc.cards.states import CardStatus
from ehc.cards.store import acting
from ehc.clock import local_day
from ehc.codes.images import draw_png
from ehc.core.documents import read_document
from ehc.gateways.open_platform import checking, finding, one_time, qr_text
from ehc.gateways.open_platform.deps import Call
from ehc.gateways.open_platform.members import Members
from ehc.gateways.open_platform.one_time import OneTime
from ehc.gateways.open_platform.results import Refusal, Result
from ehc.issuer import changes, consents, prints
from ehc.issuer.codes import Code
from ehc.issuer.metrics import CODES
from ehc.residents.consents import Given, Purpose
from ehc.residents.models import DocumentRow
from ehc.residents.store import number_index

IMAGE_SIZE = 180
"""Edge of a picture in pixels: four to a module of these texts' symbol, quiet zone included."""
COLOR = 0
"""黑色-未申报 (5.7): a leftover of 2020."""
CONSENT_TEXT = "healthCode"
"""The version of the wording that a `healthCode` stands for: the page that gave it showed it."""
_CHANNEL = "mini-program"


def by_health_code(call: Call, members: Members) -> dict[str, Any]:
    """getHealthCardByHealthCode: the holder's consent to hand over one card, which is recorded; the code ends with it."""
    code, now = members.text("healthCode", needed=True), call.deps.clock.now()
    with call.deps.work() as session:
        row = one_time.hold(session, OneTime.HEALTH, code, call.account.id, now=now)
        if row is None:
            raise Refusal(Result.BAD_HEALTH_CODE)
        one_time.spend(session, row, now=now)
        card = session.get_one(CardRow, row.card_serial)
        if card.sandbox != call.caller.sandbox:
            raise Refusal(Result.BAD_HEALTH_CODE)
        if card.status == CardStatus.CANCELLED:
            raise Refusal(Result.CARD_CANCELLED)
        by, secrets = acting(call.caller), call.deps.secrets()
        given = Given(Purpose.APP_ACCESS, CONSENT_TEXT, _CHANNEL, now)
        consents.give(session, card, given, caller=call.caller, by=by, secrets=secrets, now=now)
        if cards.grant(session, card, call.caller.id, at=now):
            audit.record(session, "card.granted", actor=by.actor, subject=str(card.id), at=now)
        return {"card": _told(session, call, card)}


def by_id(call: Call, members: Members) -> dict[str, Any]:
    """getHealthCardByHealthCardId."""
    ehc_id = qr_text.health_card_id(members.text("healthCardId", needed=True))
    with call.deps.work() as session:
        card, _ = finding.granted(session, call, ehc_id)
        call.deps.door.count_card(call.caller, card.id)
        return {"card": _told(session, call, card)}


def by_qr_code(call: Call, members: Members) -> dict[str, Any]:
    """getHealthCardByQRCode: a static code, or a dynamic one in its time, which is not used up (CHOICE)."""
    known = qr_text.as_known(members.text("qrCodeText", 1024, needed=True))
    seen = None if qr_text.is_static(known) else checking.looked_at(call, known)
    ehc_id = qr_text.card_id_in(known) or (seen or {}).get("healthCardId", "")
    with call.deps.work() as session:
        try:
            card, _ = finding.granted(session, call, ehc_id)
        except Refusal as refusal:
            if refusal.result is not Result.NO_SUCH_CARD:
                raise
        else:
            return {"card": _told(session, call, card)}
    return {"card": checking.as_card(seen or checking.checked(call, known, checking.STEP))}


def dynamic_qr_code(call: Call, members: Members) -> dict[str, Any]:
    """getDynamicQRCode: a code as text and picture. `codeType` is `0` (dynamic, also where it is missing) or `1` (static)."""
    kind = members.text("codeType", 4) or "0"
    if kind not in {"0", "1"}:
        raise Refusal(Result.BAD_MEMBER, "codeType 应为 0 或 1")
    ehc_id = qr_text.health_card_id(members.text("healthCardId", needed=True))
    card = _of_document(call, ehc_id, members)
    call.deps.door.count_card(call.caller, card.id)
    code = call.deps.issuer.national_desk.issue(card.id, call.caller.id) if kind == "0" else _static(call, card)
    CODES.inc()
    picture = b64encode(draw_png(code.text, size=IMAGE_SIZE).data).decode()
    return {"qrCodeText": code.text, "qrCodeImg": picture, "color": COLOR, "ext": "", "healthCardId": ehc_id}


def _of_document(call: Call, ehc_id: str, members: Members) -> CardRow:
    """The caller's card with this id, if the document is its own. One statement. Raises `Refusal` or `InvalidValue`."""
    now, index = call.deps.clock.now(), call.deps.secrets().blind_index
    id_type, number = members.text("idType", 8, needed=True), members.text("idNumber", 64, needed=True)
    document = read_document(id_type, number, today=local_day(now))
    wanted = (
        select(CardRow, DocumentRow.number_index, GrantRow.closed_at)
        .join(GrantRow, GrantRow.card_serial == CardRow.serial)
        .join(DocumentRow, DocumentRow.id == CardRow.document_id)
        .where(CardRow.ehc_id_index == index.of("ehc-id", ehc_id), GrantRow.client_id == call.caller.id)
        .where(GrantRow.until.is_(None) | (GrantRow.until > now))
    )
    with call.deps.work() as session:
        found = session.execute(wanted).one_or_none()
    if found is None:
        raise Refusal(Result.NO_SUCH_CARD)
    card, theirs, closed_at = found
    if theirs != number_index(index, document):
        raise Refusal(Result.NOT_ITS_DOCUMENT)
    if card.status == CardStatus.CANCELLED:
        raise Refusal(Result.CARD_CANCELLED)
    if closed_at is not None:
        raise Refusal(Result.NO_SUCH_CARD)
    found_card: CardRow = card
    return found_card


def _static(call: Call, card: CardRow) -> Code:
    """The static code of a card. Asking for it is how this interface's holders agree to static codes: it is recorded so."""
    deps, now = call.deps, call.deps.clock.now()
    deps.issuer.desk.admit(card.id, call.caller.id)
    with deps.work() as session:
        held, party = cards.granted_as(session, card.id, call.caller.id, at=now)
        if not held.static_allowed:
            registry = deps.issuer.registry()
            agreed = {"static_allowed": True}
            changes.change_facts(session, held, agreed, caller=call.caller, party=party, registry=registry, now=now)
        return prints.national(session, card.id, caller=call.caller, secrets=deps.secrets(), now=now)


def _told(session: Session, call: Call, card: CardRow) -> dict[str, Any]:
    """The card in clear, and in the audit log that it was read."""
    actor, now = acting(call.caller).actor, call.deps.clock.now()
    audit.record(session, "card.read", actor=actor, subject=str(card.id), at=now)
    return finding.card_object(session, call, card)
