"""What an answer tells of people and cards: element by element, and no more than `/v1` would. Pure.

An app that may see a card got there by sending its holder's name and document, so it is told these in clear. Anything else is
told in clear where the call itself brought it or the table of disclosure lets the caller's institution be told it; else
masked, or left empty where a mask would break the element's form.
"""

from base64 import b64encode
from collections.abc import Container, Mapping
from datetime import date, datetime
from typing import NamedTuple

from ehc.cards.models import CardRow
from ehc.cards.states import CardStatus
from ehc.codes.images import draw_png
from ehc.core.documents import CITIZEN_ID, Document, citizen_facts
from ehc.core.masking import mask_address, mask_number, mask_phone
from ehc.core.phones import is_mobile, normal_phone
from ehc.errors import InvalidValue
from ehc.gateways.provincial_soap.fields import read_day, write_day
from ehc.gateways.provincial_soap.messages import Part, node
from ehc.issuer.accounts import Account
from ehc.residents.store import Person

PERSON = (
    "name",
    "main_index",
    "ecardId",
    "telephone",
    "id_number",
    "id_type",
    "id_card",
    "nation",
    "sex",
    "birthday",
    "address",
    "ehc_card_status",
)
"""E0001, E0006, E0016; E0007 with `ecardId` as there."""
NEWBORN = (*PERSON, "relation")
MEMBER = ("name", "id_type", "id_number", "id_card", "relation", "ehc_card_status")
APPLIED = ("qr_code", "qr_code_imgtext", "qr_code_imgurl")
CHECKED = (
    "qr_codetext",
    "name",
    "main_index",
    "ecardId",
    "telephone",
    "id_number",
    "id_type",
    "id_card",
    "nation",
    "sex",
    "birthday",
    "address",
    "cellphone",
    "unit",
)
FETCHED = (
    "qr_code_imgtext",
    "ehc_card_status",
    "qr_code",
    "qr_code_dtimgtext",
    "dt_qr_code",
    "ecardId",
    "main_index",
    "id_type",
    "id_number",
    "name",
    "sex",
    "birthday",
    "telephone",
    "cellphone",
    "nation",
    "unit",
    "address",
)
TEMPORARY = ("name", "age", "sex", "clinicTime")

SYMBOL_PIXELS = 200
UNREGISTERED = "5"
"""未注册: only ever told of somebody whom E0005 asks for and nobody knows."""


class Applied(NamedTuple):
    """When codes of a card were last applied for through this interface: any, and the static one."""

    code_at: datetime | None = None
    static_at: datetime | None = None


NEVER_APPLIED = Applied()


def status_of(card: CardRow, applied: Applied) -> str:
    """The status as RHC_VCARD_ZT has it. A card that is suspended or lost has none of its own: it does not count, so `0`."""
    if card.status == CardStatus.PENDING_REVIEW:
        return "2"
    if card.status == CardStatus.REJECTED:
        return "3"
    if card.status != CardStatus.ACTIVE:
        return "0"
    return "1" if since(card, applied.code_at) else "4"


def since(card: CardRow, at: datetime | None) -> bool:
    """Whether what was applied for at a time has not been closed since."""
    return at is not None and (card.codes_since is None or at > card.codes_since)


def why_not(card: CardRow) -> str:
    """Words for a card that `0` stands for and that is not cancelled."""
    return {CardStatus.SUSPENDED: "该卡已暂停使用，可恢复", CardStatus.LOST: "该卡已挂失，核验身份后可恢复"}.get(
        CardStatus(card.status), ""
    )


def person_values(
    account: Account,
    applied: Applied,
    *,
    sent: Mapping[str, str],
    told: Container[str],
    relation: str | None = None,
) -> dict[str, str]:
    """The values of every element about a card that the caller may see."""
    person = account.person
    values = {
        "name": person.name,
        "main_index": account.index_id or "",
        "ecardId": account.ehc_id or "",
        "sex": person.sex or "",
        "nation": (person.ethnicity or "") if _same(sent, "nation", person.ethnicity) or "nation" in told else "",
        "birthday": _birthday(person, sent, told),
        "telephone": _phone(person, sent, told),
        "address": _address(person, sent, told),
        "ehc_card_status": status_of(account.card, applied),
        "relation": relation or "",
    }
    return values | document_values(person.document) | {"cellphone": _cellphone(person, values["telephone"])}


def document_values(document: Document | None) -> dict[str, str]:
    """Type and number as they were registered; `id_card` where it is a citizen id."""
    if document is None:
        return {}
    citizen = document.number if document.type == CITIZEN_ID else ""
    return {"id_type": document.type, "id_number": document.number, "id_card": citizen}


def masked_document(document: Document | None) -> dict[str, str]:
    """The same for somebody whose document the caller never sent."""
    if document is None:
        return {}
    number = mask_number(document.number)
    return {"id_type": document.type, "id_number": number, "id_card": number if document.type == CITIZEN_ID else ""}


def person_info(values: Mapping[str, str]) -> Part:
    """The node of a registration."""
    return ("personinfo", node(PERSON, values))


def symbol(code: str) -> str:
    """A code as a PNG of 200 × 200 pixels in base64."""
    return b64encode(draw_png(code, size=SYMBOL_PIXELS).data).decode()


def _same(sent: Mapping[str, str], name: str, known: str | None) -> bool:
    return known is not None and sent.get(name) == known


def _birthday(person: Person, sent: Mapping[str, str], told: Container[str]) -> str:
    born = person.birth_date
    if born is None:
        return ""
    in_number = person.document is not None and citizen_facts(person.document) is not None
    given: date | None = read_day(sent.get("birthday", ""))
    return write_day(born) if in_number or given == born or "birth_date" in told else ""


def _phone(person: Person, sent: Mapping[str, str], told: Container[str]) -> str:
    if person.phone is None:
        return ""
    if "phone" in told or _typed_phone(sent.get("telephone", "")) == person.phone:
        return person.phone
    return mask_phone(person.phone)


def _typed_phone(text: str) -> str | None:
    try:
        return normal_phone(text) if text else None
    except InvalidValue:
        return None


def _cellphone(person: Person, shown: str) -> str:
    return shown if person.phone is not None and is_mobile(person.phone) else ""


def _address(person: Person, sent: Mapping[str, str], told: Container[str]) -> str:
    if person.address is None:
        return ""
    if "address" in told or _same(sent, "address", person.address):
        return person.address
    return mask_address(person.address) if "address:masked" in told else ""
