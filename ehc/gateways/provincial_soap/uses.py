"""E0009 and E0017: uses of physical cards uploaded, cards counted (provincial SOAP 4.9, 4.17)."""

from sqlalchemy.orm import Session

from ehc.binding import plastic_uses
from ehc.binding.plastic_uses import PlasticUse
from ehc.clock import local_day
from ehc.core.documents import CITIZEN_ID, Document
from ehc.core.tables import ethnicity, sexes
from ehc.gateways.kinds import PlaceKind
from ehc.gateways.provincial_soap import store
from ehc.gateways.provincial_soap.asking import Asked, Told
from ehc.gateways.provincial_soap.checking import channel_of, step_of
from ehc.gateways.provincial_soap.fields import read_day, read_time
from ehc.gateways.provincial_soap.people import document_of
from ehc.gateways.provincial_soap.result_codes import Failed
from ehc.issuer import finding

_KEPT = ("atr", "hc_number", "sam", "use_citycode", "use_cityname", "hospital_code", "hospital_name")
"""What is kept of a use, sealed. What it says of the person we know, or need not."""


def upload(asked: Asked) -> Told:
    """E0009."""
    used_at = read_time(asked.text("time"))
    if used_at is None:
        raise Failed("12001", "time")
    if ethnicity(asked.text("nation")) is None or asked.fields.get("sex", "0") not in sexes():
        raise Failed("1012", "nation 或 sex 不在代码表中")
    told = {name: asked.text(name) for name in _KEPT if name in asked.fields}
    use = PlasticUse(used_at, step_of(asked), channel_of(asked), told)
    named = {"id_type": CITIZEN_ID, "id_card": asked.text("id_card")}
    document = document_of(named, today=local_day(asked.now))
    if document is None:
        raise Failed("9001")
    with asked.services.work() as session:
        if asked.caller.institution_id is None and not _seen(session, asked, document):
            raise Failed("9001")
        kept = plastic_uses.keep(session, document, use, caller=asked.caller, secrets=asked.secrets, now=asked.now)
    if not kept:
        raise Failed("9001")
    return Told("9002")


def _seen(session: Session, asked: Asked, document: Document) -> bool:
    """Whether an app, which reads no physical cards itself, may see the card of whoever it tells of."""
    found = finding.by_document(session, document, asked.caller.id, secrets=asked.secrets, at=asked.now)
    return found is not None and found.open_grant


def count(asked: Asked) -> Told:
    """E0017: of an institution of the caller's own, both days included."""
    first, last = read_day(asked.text("startDate")), read_day(asked.text("endDate"))
    if first is None or last is None:
        raise Failed("12001")
    place = asked.account.at(PlaceKind.ORG, asked.text("orgId"))
    if place is None or place.institution_id is None:
        raise Failed("1006")
    with asked.services.work() as session:
        made = store.count_made(session, place.institution_id, first, last, sandbox=asked.caller.sandbox)
    return Told("5005", (("count", str(made)),))
