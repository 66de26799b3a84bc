"""What a check tells the institution about the person. Pure: values in, values out.

The default is little: masked name, sex, age. Every check records which fields it disclosed, and the resident can read it.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from ehc.core.masking import age_on, mask_name

DEFAULT_FIELDS = ("name:masked", "sex", "age")
"""As recorded with each check: a field, and `:masked` where only its masked form was told."""
STATIC_FIELDS = ("name:masked",)
"""What a static code tells alone: it proves which card was printed, not who holds the paper."""
ACTED_FOR_FIELDS = ("relation", "guardian:masked")
"""What is told besides where somebody acts for the holder."""
PATIENT_FIELDS = ("patient-id",)
"""What is told besides to an institution that has bound its own patient ids to the card."""


@dataclass(frozen=True, slots=True)
class Person:
    """What a check may tell of."""

    name: str
    sex: str | None
    birth_date: date | None


def disclose(person: Person, told: Container[str], *, today: date) -> Mapping[str, Any] | None:
    """The fields that may be told: masked name, sex (GB/T 2261.1 code) and age in whole years; null where not known.

    None if nothing may be told.
    """
    if "name:masked" not in told:
        return None
    view: dict[str, Any] = {"name": mask_name(person.name)}
    if "sex" in told:
        view["sex"] = person.sex
    if "age" in told:
        view["age"] = age_on(person.birth_date, today) if person.birth_date else None
    return view
