"""What a check tells the institution about the person. Pure: values in, values out.

The default is little: masked name, sex, age. The table (`ehc/disclosure/table.py`) says where it is more, or less. Every check
records which fields it disclosed, and the resident can read it.
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any, NamedTuple

from ehc.core.masking import age_on, mask_address, mask_birth_date, mask_name, mask_number, mask_phone
from ehc.disclosure.fields import DEFAULT, capped, form_of, ordered

STATIC_FIELDS = ("name:masked",)
"""What a static code tells alone, whatever the table says: it proves which card was printed, not who holds the paper."""

_OF_CARD = ("guardian", "patient-id")
CARD_IDS = "card_ids"
"""Asks for the national ids of the card, which are no field of its holder: whoever asks says what may be told of them."""
_ASKED = ("id_number", "phone", "address", "nation")
"""Columns that are read only where one of their forms may be told."""


class Telling(NamedTuple):
    """What a scan may tell, as the settling statements take it: fields, joined by commas.

    `may_tell_least` is that of whoever proved little. `may_guardian` and `may_patient` are told besides, where somebody
    acts for the holder and where the institution has bound its own ids. `asks` are the columns to be read.
    """

    may_tell: str
    may_tell_least: str
    may_guardian: str
    may_patient: str
    asks: list[str] | None


@cache
def telling(told: frozenset[str]) -> Telling:
    """A rule's words as the statements take them. That somebody acts for the holder is a fact about the card: `relation`."""
    names = {form_of(field)[0] for field in told}
    return Telling(
        _of_holder(told),
        _of_holder(capped(told)),
        ",relation,guardian:masked" if "guardian" in names else ",relation",
        ",patient-id" if "patient-id" in names else "",
        [name for name in _ASKED if name in names] or None,
    )


def _of_holder(told: frozenset[str]) -> str:
    return ",".join(field for field in ordered(told) if form_of(field)[0] not in _OF_CARD)


BY_DEFAULT = telling(DEFAULT)


@dataclass(frozen=True, slots=True)
class Person:
    """What a check may tell of, opened as far as it may be told."""

    name: str
    sex: str | None
    birth_date: date | None
    id_type: str | None = None
    id_number: str | None = None
    phone: str | None = None
    address: str | None = None
    nation: str | None = None


_MASKS: Mapping[str, Callable[[str], str]] = {
    "name": mask_name,
    "birth_date": mask_birth_date,
    "id_number": mask_number,
    "phone": mask_phone,
    "address": mask_address,
}


def disclose(person: Person, told: Container[str], *, today: date) -> Mapping[str, Any] | None:
    """The fields that may be told, each in its form: sex is a GB/T 2261.1 code, age whole years, nation GB/T 3304.

    What is not known is null. None if nothing may be told.
    """
    if "name" not in told and "name:masked" not in told:
        return None
    view: dict[str, Any] = {"name": _formed("name", person.name, told)}
    if "sex" in told:
        view["sex"] = person.sex
    if "age" in told:
        view["age"] = age_on(person.birth_date, today) if person.birth_date else None
    if told_of("id_number", told):
        view["id_type"] = person.id_type
    born = person.birth_date.isoformat() if person.birth_date else None
    values = {"birth_date": born, "id_number": person.id_number, "phone": person.phone, "address": person.address}
    view |= {name: _formed(name, value, told) for name, value in values.items() if told_of(name, told)}
    if "nation" in told:
        view["nation"] = person.nation
    return view


def told_of(name: str, told: Container[str]) -> bool:
    """Whether a field is told, in whichever form."""
    return name in told or f"{name}:masked" in told


def narrowed(view: Mapping[str, Any], told: Container[str]) -> Mapping[str, Any]:
    """What was told before, and may still be told: masked where only that may be told now. Masking twice masks once."""
    kept = {name: value for name, value in view.items() if told_of("id_number" if name == "id_type" else name, told)}
    return {name: _formed(name, value, told) for name, value in kept.items()}


def _formed(name: str, value: Any, told: Container[str]) -> Any:
    mask = _MASKS.get(name)
    return value if value is None or mask is None or name in told else mask(value)
