"""Who is meant (provincial SOAP 3.2), and who applies: fields as typed, brought to what the rooms take. Pure."""

from collections.abc import Mapping
from datetime import date

from ehc.core.documents import CITIZEN_ID, Document, read_document
from ehc.core.tables import ethnicity, sexes
from ehc.errors import InvalidValue
from ehc.gateways.provincial_soap.fields import read_day
from ehc.gateways.provincial_soap.result_codes import Failed
from ehc.issuer.applications import Application, Proof, read_person
from ehc.residents.store import Person

_TYPES = frozenset({"01", "02", "03", "04", "05", "06", "07", "08", "99"})
"""身份证件类别 (provincial SOAP 6.3)."""
_OF_FIELDS = {
    "/name": "name",
    "/phone": "telephone",
    "/id_type": "id_type",
    "/id_number": "id_number",
    "/birth_date": "birthday",
}


def identity(fields: Mapping[str, str], *, prefix: str = "") -> tuple[str, str]:
    """Type and number of the document that a request names, as typed: the citizen id if there is one, else the other two.

    Raises `Failed`: 6002 for a small letter in a citizen id, 6010 for two numbers that differ, 1001 for none at all.
    """
    id_card, id_type, number = (fields.get(f"{prefix}{name}", "") for name in ("id_card", "id_type", "id_number"))
    if any(sign.isascii() and sign.islower() for sign in id_card + (number if id_type == CITIZEN_ID else "")):
        raise Failed("6002")
    if id_type == CITIZEN_ID and id_card and number and id_card != number:
        raise Failed("6010", "id_card 与 id_number 不一致")
    if id_card:
        return CITIZEN_ID, id_card
    if not id_type or not number:
        raise Failed("1001", f"{prefix}id_card，或 {prefix}id_type 和 {prefix}id_number")
    return id_type, number


def document_of(fields: Mapping[str, str], *, today: date, prefix: str = "") -> Document | None:
    """The document that a request names, in normal form; None for one that nobody can have. Raises `Failed` as `identity`."""
    id_type, number = identity(fields, prefix=prefix)
    if id_type not in _TYPES:
        return None
    try:
        return read_document(id_type, number, today=today)
    except InvalidValue:
        return None


def applicant(fields: Mapping[str, str], proof: Proof, *, today: date) -> tuple[Application, Person]:
    """Who applies, as typed and in normal form. Raises `Failed`: 6002, 6003, 6010."""
    id_type, number = identity(fields)
    if id_type not in _TYPES:
        raise _unfit("id_type")
    born = None
    if "birthday" in fields:
        born = read_day(fields["birthday"])
        if born is None:
            raise Failed("6003")
    if fields.get("sex", "0") not in sexes():
        raise _unfit("sex")
    nation = ethnicity(fields["nation"]) if "nation" in fields else None
    if "nation" in fields and nation is None:
        raise _unfit("nation")
    wanted = Application(
        name=fields["name"],
        id_type=id_type,
        id_number=number,
        phone=fields.get("telephone"),
        proof=proof,
        sex=fields.get("sex"),
        birth_date=born,
        ethnicity=nation,
        address=fields.get("address"),
        employer=fields.get("unit"),
    )
    try:
        return wanted, read_person(wanted, today=today)
    except InvalidValue as error:
        raise unfit(error) from None


def unfit(error: InvalidValue) -> Failed:
    """What the rooms found wrong with a person, by the field's name here: never with its value."""
    return _unfit("、".join(_OF_FIELDS.get(field.pointer, field.pointer.strip("/")) for field in error.fields))


def _unfit(name: str) -> Failed:
    return Failed("6010", f"{name} 有误")
