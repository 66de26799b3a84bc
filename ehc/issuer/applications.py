"""An application for a card, as typed, and the person in it in normal form. Pure."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from ehc.cards.states import Level
from ehc.core.documents import citizen_facts, read_document
from ehc.core.names import normal_name
from ehc.core.phones import normal_phone
from ehc.errors import InvalidValue, Text, WrongFields
from ehc.residents.store import Person


@dataclass(frozen=True)
class Proof:
    """How an identity was proved, according to who sends it. `clerk` is the name and number of who saw the document."""

    level: Level
    evidence: str | None = None
    clerk: str | None = None


@dataclass(frozen=True)
class Application:
    """What an app sends to register a person, as typed. Members of a family may come without a phone."""

    name: str
    id_type: str
    id_number: str
    phone: str | None
    proof: Proof
    sex: str | None = None
    birth_date: date | None = None
    ethnicity: str | None = None
    address: str | None = None
    employer: str | None = None
    phone_proof: UUID | None = None


def read_person(wanted: Application, *, today: date) -> Person:
    """An application in normal form (national rules 1.4). Raises one `InvalidValue` that names every wrong member."""
    wrong = WrongFields()
    with wrong:
        name = normal_name(wanted.name)
    with wrong:
        phone = normal_phone(wanted.phone) if wanted.phone is not None else None
    with wrong:
        document = read_document(wanted.id_type, wanted.id_number, today=today)
        facts = citizen_facts(document)
        birth_date = _birth_date(wanted.birth_date, facts.birth_date if facts else None, today)
    wrong.require_none()
    sex = wanted.sex or (facts.sex if facts else None)  # a number whose sex digit is wrong does exist: believe the app
    return Person(name, phone, document, sex, birth_date, wanted.ethnicity, wanted.address, wanted.employer)


@contextmanager
def inside(pointer: str) -> Iterator[None]:
    """Errors about what stands in a member of a larger request point into that member, for example `/mother`."""
    try:
        yield
    except InvalidValue as error:
        fields = tuple(replace(field, pointer=f"{pointer}{field.pointer}") for field in error.fields)
        raise InvalidValue(error.detail, fields=fields) from None


def _birth_date(given: date | None, known: date | None, today: date) -> date | None:
    if given and known and given != known:
        message = Text(
            "出生日期与证件号码不一致，请核对。", "The birth date is not the one in the document number. Check both."
        )
        raise InvalidValue.at("/birth_date", "birth-date-mismatch", message)
    if given and given > today:
        raise InvalidValue.at(
            "/birth_date", "birth-date-future", Text("出生日期不能晚于今天。", "A birth date is not in the future.")
        )
    return given or known
