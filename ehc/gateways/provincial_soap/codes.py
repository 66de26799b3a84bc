"""E0002 and E0005: codes applied for, and fetched (provincial SOAP 4.2, 4.5).

The codes are national ones, whose text has the form that this interface speaks of: `id:1` and `id:0:validity`. To apply for a
static code is to allow static codes of the card: whoever does is the holder, or acts for them.
"""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from ehc import audit
from ehc.cards.models import CardRow
from ehc.cards.states import CardStatus
from ehc.cards.store import acting
from ehc.clock import local_day
from ehc.codes.national_text import national_static
from ehc.gateways.provincial_soap import store
from ehc.gateways.provincial_soap.asking import Asked, Told
from ehc.gateways.provincial_soap.messages import Part, node
from ehc.gateways.provincial_soap.people import document_of
from ehc.gateways.provincial_soap.result_codes import Failed
from ehc.gateways.provincial_soap.telling import (
    APPLIED,
    FETCHED,
    UNREGISTERED,
    Applied,
    document_values,
    person_values,
    since,
    status_of,
    symbol,
    why_not,
)
from ehc.issuer import changes, finding, national_codes, prints
from ehc.issuer.finding import Found
from ehc.issuer.metrics import CODES
from ehc.issuer.registry import open_ids

DYNAMIC, STATIC = "0", "1"
_ALMOST_OVER = timedelta(seconds=10)
"""A dynamic code with less than this left is as good as over: the next is issued."""
_PICTURES = {"dt_qr_code": "qr_code_dtimgtext", "qr_code": "qr_code_imgtext"}
_UNKNOWN: Part = ("ehc_cardinfo", node(FETCHED, {"ehc_card_status": UNREGISTERED}))
_REFUSED = {CardStatus.PENDING_REVIEW: ("2002", "5002"), CardStatus.REJECTED: ("2003", "5003")}


def apply_for_code(asked: Asked) -> Told:
    """E0002. A code that is there already is a failure, and comes with it."""
    kind = asked.text("qrcode_type")
    if kind not in {DYNAMIC, STATIC}:
        raise Failed("2007")
    static = kind == STATIC
    with asked.services.work() as session:
        found = _found(session, asked)
        refused = _refused(found.card, 0)
        if refused is not None:
            raise Failed(refused, why_not(found.card))
        applied = store.applied(session, found.card)
        known = _known_static(asked, found.card, applied) if static else _current(session, asked, found.card)
        if known is None:
            code = _allow_static(session, asked, found) if static else _issue(session, asked, found.card)
            store.note_applied(session, found.card, static=static, at=_after_closing(found.card, asked.now))
    if known is not None:
        raise Failed("2004" if static else "2006", parts=(_applied(known),))
    CODES.inc()
    return Told("2009", (_applied(code),))


def fetch_codes(asked: Asked) -> Told:
    """E0005: the codes that were applied for; a dynamic one that is over is replaced. The look is audited, however it ends."""
    codes: dict[str, str] = {}
    with asked.services.work() as session:
        found = _found(session, asked, unknown=(_UNKNOWN,))
        card = found.card
        applied = store.applied(session, card)
        values = _values(asked, found, applied)
        told = _refused(card, 1) or ("5005" if since(card, applied.code_at) else "5004")
        if told == "5005":
            codes["dt_qr_code"] = _current(session, asked, card) or _issue(session, asked, card)
            codes["qr_code"] = _known_static(asked, card, applied) or ""
        by = acting(asked.caller, found.party)
        audit.record(session, "card.read", actor=by.actor, subject=str(card.id), at=asked.now)
        detail = why_not(card)
    pictures = {_PICTURES[name]: symbol(code) for name, code in codes.items() if code}
    return Told(told, (("ehc_cardinfo", node(FETCHED, values | codes | pictures)),), detail)


def _found(session: Session, asked: Asked, unknown: tuple[Part, ...] = ()) -> Found:
    """The card that is asked for, held: of two that apply at once one is first. Raises `Failed`: 2008, with `unknown`."""
    document = document_of(asked.fields, today=local_day(asked.now))
    found = None
    if document is not None:
        found = finding.by_document(session, document, asked.caller.id, secrets=asked.secrets, at=asked.now, hold=True)
    if found is None or (not found.open_grant and found.card.status != CardStatus.CANCELLED):
        raise Failed("2008", parts=unknown)
    asked.count(found.card)
    return found


def _values(asked: Asked, found: Found, applied: Applied) -> dict[str, str]:
    """The elements about the card; to whose access ended with it no more than its state, and the number that they sent."""
    account = found.opened(asked.secrets)
    if not found.open_grant:
        return document_values(account.person.document) | {"ehc_card_status": status_of(found.card, applied)}
    return person_values(account, applied, sent=asked.fields, told=asked.may_tell())


def _refused(card: CardRow, column: int) -> str | None:
    """E0002's (0) or E0005's (1) code for a card that is not active."""
    if card.status == CardStatus.ACTIVE:
        return None
    return _REFUSED.get(CardStatus(card.status), ("2001", "5001"))[column]


def _allow_static(session: Session, asked: Asked, found: Found) -> str:
    card, now = found.card, asked.now
    asked.services.desk.admit(card.id, asked.caller.id)
    if not card.static_allowed:
        changes.change_facts(
            session,
            card,
            {"static_allowed": True},
            caller=asked.caller,
            party=found.party,
            registry=asked.services.registry(),
            now=now,
        )
    return prints.national(session, card.id, caller=asked.caller, secrets=asked.secrets, now=now).text


def _issue(session: Session, asked: Asked, card: CardRow) -> str:
    return asked.services.national_desk.issue(card.id, asked.caller.id, within=session).text


def _current(session: Session, asked: Asked, card: CardRow) -> str | None:
    found = national_codes.current(session, card, secrets=asked.secrets, at=asked.now + _ALMOST_OVER)
    return None if found is None else found.text


def _known_static(asked: Asked, card: CardRow, applied: Applied) -> str | None:
    """The static text, where it was applied for and counts."""
    if not card.static_allowed or not since(card, applied.static_at):
        return None
    ehc_id, _ = open_ids(card, asked.secrets)
    return national_static(bytes.fromhex(ehc_id or ""))


def _applied(code: str) -> Part:
    return ("ehc_cardinfo", node(APPLIED, {"qr_code": code, "qr_code_imgtext": symbol(code)}))


def _after_closing(card: CardRow, now: datetime) -> datetime:
    """Now, or what comes just after the moment in which the card's codes were closed."""
    return now if card.codes_since is None else max(now, card.codes_since + timedelta(microseconds=1))
