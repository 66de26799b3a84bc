"""Kinds of plastic card (实体卡) as data: what each is called, and the form of its number as a terminal reads it.

The table is `data/plastic_kinds.csv`: a province adds a kind with a line there, and no code.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from ehc.core.documents import check_character
from ehc.errors import Text

_CITIZEN_NUMBER = re.compile(r"[0-9]{17}[0-9Xx]", re.ASCII)


@dataclass(frozen=True)
class PlasticKind:
    """One kind of plastic card.

    `form` is a regular expression for the whole number, `form_text` the same for people. `by_institution`: every
    institution numbers its own; `by_region`: every region does, and its code and a hyphen stand before the number.
    `temporary`: may lead to the card of somebody whom nobody can name yet.
    """

    code: str
    name: Text
    form: re.Pattern[str]
    form_text: Text
    upper: bool
    by_institution: bool
    by_region: bool
    temporary: bool
    reading: str

    def read(self, text: str) -> str | None:
        """The number in the one form in which it is kept, None if it has not the form of this kind.

        A citizen's id number is never taken: people know it, and it is on too many papers to stand for a card.
        """
        number = text.strip(" ")
        number = number.upper() if self.upper else number
        own = number.partition("-")[2] if self.by_region else number
        return None if not self.form.fullmatch(number) or _is_citizen_number(own) else number


@cache
def plastic_kinds() -> Mapping[str, PlasticKind]:
    """The kinds by their code, in the order of the table."""
    table = files("ehc.core").joinpath("data", "plastic_kinds.csv").read_text(encoding="utf-8")
    return MappingProxyType({row["code"]: _kind(row) for row in csv.DictReader(table.splitlines())})


def _kind(row: Mapping[str, str]) -> PlasticKind:
    return PlasticKind(
        code=row["code"],
        name=Text(row["name_zh"], row["name_en"]),
        form=re.compile(row["form"], re.ASCII),
        form_text=Text(row["form_zh"], row["form_en"]),
        upper={"upper": True, "keep": False}[row["letters"]],
        by_institution={"institution": True, "region": False, "all": False}[row["numbered_by"]],
        by_region=row["numbered_by"] == "region",
        temporary={"yes": True, "no": False}[row["temporary"]],
        reading=row["reading"],
    )


def _is_citizen_number(number: str) -> bool:
    if not _CITIZEN_NUMBER.fullmatch(number):
        return False
    try:
        date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    return check_character(number[:17]) == number[17].upper()
