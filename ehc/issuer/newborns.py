"""Newborns (新生儿) and other children whom no citizen id names yet (national rules 1.9).

Three ways to name one: the birth certificate (出生医学证明, type 08, or 99 as one province has it); a number of the platform's
own (type 16, three months); or the mother's document with the order of birth, since twins have one mother and one birthday.
The last gives a number of our own, made from those facts: whoever registers the child again makes the same one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc.codes.national import hex_upper
from ehc.core.documents import Document, is_birth_certificate, read_document
from ehc.core.names import normal_name
from ehc.core.tables import sex
from ehc.crypto.sm import sm3
from ehc.errors import EhcError, InvalidValue, Text, WrongFields
from ehc.issuer import accounts, family_links
from ehc.issuer.applications import inside
from ehc.issuer.majority import is_of_age
from ehc.issuer.registry import Registry
from ehc.residents import store as residents
from ehc.residents.models import DocumentRow, ResidentRow
from ehc.residents.store import Person

OLDEST = timedelta(days=90)
"""How old a child without any document may be: three months, as the open platform has it."""
_UNNAMED, _OTHER = "16", "99"


class MotherNotInFamily(EhcError):
    """The mother is neither the guardian nor somebody whom a link ties to the guardian."""

    code = "mother-not-in-family"


@dataclass(frozen=True)
class Mother:
    """A mother as the birth record names her, in normal form."""

    name: str
    document: Document


@dataclass(frozen=True)
class Newborn:
    """A child named by its mother, in normal form. `order` counts from 1 among those of one birth."""

    person: Person
    born: date
    mother: Mother
    order: int


def read_newborn(wanted: Mapping[str, Any], *, today: date) -> Newborn:
    """A newborn as typed (name, sex, birth_date, mother, birth_order, births), in normal form.

    Raises one `InvalidValue` that names every wrong member, by pointers into `wanted`.
    """
    wrong = WrongFields()
    born, order = wanted["birth_date"], wanted["birth_order"]
    with wrong:
        name = normal_name(wanted["name"])
    with wrong, inside("/mother"):
        mother = _read_mother(wanted["mother"], today)
    with wrong:
        _require_days(born, today)
    with wrong:
        _require_order(order, wanted["births"])
    wrong.require_none()
    document = stand_in(mother.document, born, order)
    return Newborn(Person(name, None, document, sex(wanted["sex"]), born), born, mother, order)


def stand_in(mother: Document, born: date, order: int) -> Document:
    """The document that stands for a child named by its mother: type 99, NB and 24 hex digits. It tells nothing of her."""
    facts = f"{mother.type}|{mother.number}|{born.isoformat()}|{order}"
    return Document(_OTHER, f"NB{hex_upper(sm3(facts.encode())[:12])}")


def require_age(person: Person, *, today: date, now: datetime) -> None:
    """Refuse a member whose age nobody can tell, or cannot be with such a document. Raises `InvalidValue` at /birth_date.

    A birth certificate serves until the child has a citizen id, however late: no rule ends it before majority.
    """
    document = accounts.document_of(person)
    if person.birth_date is None:
        message = Text("请填写出生日期。", "Give the birth date: how long somebody may act for a member depends on it.")
        raise InvalidValue.at("/birth_date", "required", message)
    if document.type == _UNNAMED:
        _require_days(person.birth_date, today)
    if is_birth_certificate(document) and is_of_age(person.birth_date, now):
        message = Text(
            "成年人不能以出生医学证明登记，请使用居民身份证等证件。",
            "A birth certificate does not stand for an adult. Use an identity card or another document.",
        )
        raise InvalidValue.at("/birth_date", "birth-certificate-age", message)


def settle(session: Session, newborn: Newborn, guardian_id: UUID, *, registry: Registry, now: datetime) -> Person:
    """The child, under the number by which it is known already, if it is: its mother may have several documents.

    Her number is all that names the child, so only she, or somebody in one family with her, may use it. Raises
    `MotherNotInFamily` or `IdentityMismatch`.
    """
    secrets = registry.secrets
    found = residents.find(session, newborn.mother.document, blind_index=secrets.blind_index)
    if found is None or not _in_one_family(session, guardian_id, found.resident_id, now):
        raise MotherNotInFamily(
            Text(
                "母亲须为监护人本人，或已与监护人建立家庭关系；也可凭出生医学证明登记。",
                "The mother is the guardian, or is linked to the guardian first. Or use the birth certificate.",
            )
        )
    mother = residents.open_person(session.get_one(ResidentRow, found.resident_id), found, sealer=secrets.sealer)
    accounts.require_same_name(mother.name, newborn.mother.name)
    # Also by one that was closed as a mistake: the child may have been registered with it.
    hers_ever = select(DocumentRow).where(DocumentRow.resident_id == found.resident_id)
    for row in session.scalars(hers_ever.order_by(DocumentRow.created_at, DocumentRow.id)).all():
        hers = residents.open_document(row, sealer=secrets.sealer)
        document = stand_in(hers, newborn.born, newborn.order)
        if residents.find(session, document, blind_index=secrets.blind_index) is not None:
            return replace(newborn.person, document=document)
    return newborn.person


def _in_one_family(session: Session, one: UUID, other: UUID, now: datetime) -> bool:
    return family_links.acts_for(session, one, other, at=now) or family_links.acts_for(session, other, one, at=now)


def _read_mother(wanted: Mapping[str, Any], today: date) -> Mother:
    wrong = WrongFields()
    with wrong:
        name = normal_name(wanted["name"])
    with wrong:
        document = read_document(wanted["id_type"], wanted["id_number"], today=today)
    wrong.require_none()
    return Mother(name, document)


def _require_days(born: date, today: date) -> None:
    if not timedelta(0) <= today - born <= OLDEST:
        message = Text(
            "无证件新生儿的出生日期应在今天之前 90 天以内；更大的儿童请凭出生医学证明或居民身份证登记。",
            "A newborn without a document was born in the last 90 days. Older children have a certificate or an id.",
        )
        raise InvalidValue.at("/birth_date", "newborn-age", message)


def _require_order(order: int, births: int) -> None:
    if order > births:
        message = Text(
            "出生顺序不能大于同胎个数，请核对。", "The birth order is at most the number of births. Check both."
        )
        raise InvalidValue.at("/birth_order", "birth-order", message)
