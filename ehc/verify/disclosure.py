"""What a check tells the institution about the person. Pure: values in, values out.

The default is little: masked name, sex, age. Every check records which fields it disclosed, and the resident can read it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from ehc.core.masking import age_on, mask_name

DEFAULT_FIELDS = ("name:masked", "sex", "age")
"""As recorded with each check: a field, and `:masked` where only its masked form was told."""


@dataclass(frozen=True, slots=True)
class Person:
    """What a check may tell of."""

    name: str
    sex: str | None
    birth_date: date | None


def disclose(person: Person, *, today: date) -> Mapping[str, Any]:
    """The default view: masked name, sex (GB/T 2261.1 code) and age in whole years; null where it is not known."""
    return {
        "name": mask_name(person.name),
        "sex": person.sex,
        "age": age_on(person.birth_date, today) if person.birth_date else None,
    }
