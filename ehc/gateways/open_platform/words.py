"""The platform's words for people, and ours (open-platform JSON 4, 5.1, 6.1). Pure, and the tables of section 5 as data.

Tables say what is known of a code; none of them refuses: a report with a code that nobody knows is kept as it is.
"""

import csv
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import NamedTuple

from ehc.core.tables import document_types, ethnicities, ethnicity, medical_step
from ehc.gateways.open_platform.results import Refusal, Result

_SEXES = {"男": "1", "女": "2"}
_SEX_WORDS = {code: word for word, code in _SEXES.items()}
_UNKNOWN_NATION = "99"
_SUFFIX = "族"
_STEP_DIGITS = 6


class Word(NamedTuple):
    """One code of the interface: its name, and which kinds of client are known to send it."""

    code: str
    name: str
    sources: str


@cache
def table(name: str) -> Mapping[str, Word]:
    """A table of section 5 by code: `idType`, `scene`, `cardChannel`, `cardCostTypes`, `useType`, `relation`, `color`.

    Raises `KeyError` for another name.
    """
    text = files("ehc.gateways.open_platform").joinpath("data", "codes.csv").read_text(encoding="utf-8")
    rows = [row for row in csv.DictReader(text.splitlines()) if row["table"] == name]
    if not rows:
        raise KeyError(name)
    return MappingProxyType({row["code"]: Word(row["code"], row["name"], row["sources"]) for row in rows})


def sex_code(word: str) -> str:
    """GB/T 2261.1 for 男 and 女. Raises `Refusal` (10002) for any other word."""
    if word not in _SEXES:
        raise Refusal(Result.BAD_MEMBER, "gender 应为 男 或 女")
    return _SEXES[word]


def sex_word(code: str | None) -> str:
    """男 or 女, empty where it is neither."""
    return _SEX_WORDS.get(code or "", "")


def nation_code(name: str) -> str:
    """GB/T 3304 for a name, with or without 族; 99 (未知) for one that is not in the table, as of foreigners."""
    return ethnicity(name) or ethnicity(f"{name}{_SUFFIX}") or _UNKNOWN_NATION


def nation_word(code: str | None) -> str:
    """The name, with 族; empty where it is not known at all."""
    found = ethnicities().get(code or "")
    return found.name_zh if found else ""


def birth_date(text: str) -> date:
    """A `yyyy-MM-dd`. Raises `Refusal` (10002)."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 - a date of the calendar, without a place
    except ValueError:
        raise Refusal(Result.BAD_MEMBER, "birthday 应为 yyyy-MM-dd") from None


def day_word(day: date | None) -> str:
    """A date as `yyyy-MM-dd`, empty where there is none."""
    return day.isoformat() if day else ""


def document_word(id_type: str) -> str:
    """The Chinese name of a kind of document, as `adminExt` has it."""
    found = document_types().get(id_type)
    return found.name.zh if found else ""


def step_of(code: str) -> str:
    """Our word for a `medicalStep` of 6 to 9 digits, whose first six count; `other` for none and for one that nobody knows.

    Raises `Refusal` (10002) for what is no code.
    """
    if not code:
        return "other"
    if not (code.isascii() and code.isdecimal() and _STEP_DIGITS <= len(code) <= 9):
        raise Refusal(Result.BAD_MEMBER, "medicalStep 应为 6 至 9 位数字")
    if code.startswith(_INPATIENT):
        return "inpatient"
    return medical_step(code[:_STEP_DIGITS]) or "other"


_INPATIENT = "010109"
"""住院, which has no code in the national table (5.2)."""
