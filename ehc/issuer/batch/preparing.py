"""Rows of a file made into applications, by the rules of `POST /v1/cards`.

What a plain row says is taken by a short way, which is what most rows of a register are: a name in common Chinese
characters, a citizen id, a mobile number. Every other row goes through `read_person`, the rule itself. The short way takes
only what `read_person` would leave as it is; a property test holds the two together.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from ehc.cards.states import Level
from ehc.core.documents import CITIZEN_ID, check_character
from ehc.core.tables import ethnicities, ethnicity, provinces, sex, sexes
from ehc.errors import FieldError, InvalidValue
from ehc.files.pieces import Record, bare
from ehc.issuer.applications import Application, Proof, read_person
from ehc.issuer.batch.columns import PEOPLE

LEVELS: tuple[Level, ...] = tuple(level for level in Level if level is not Level.NONE)
"""What a row, or a whole file, may say of how its people were proved."""
APP_LEVELS: tuple[Level, ...] = tuple(level for level in LEVELS if level is not Level.EXTERNAL_MATCH)
"""What an app's file may say: a match is the register's own word."""

# Longest cells, as in the bodies of `POST /v1/cards`.
_LONGEST = {"name": 128, "id_type": 3, "id_number": 64, "phone": 32, "address": 256, "employer": 128, "reference": 128}
_LINE_FEEDS = re.compile(r"\s*[\r\n]+\s*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_SEXES = {name: sex(name) for entry in sexes().values() for name in (entry.code, entry.name_en)} | {"": None}
_NATIONS = {name: ethnicity(name) for e in ethnicities().values() for name in (e.code, e.name_zh)} | {"": None}
_Levels = Mapping[str, Level]
_LEVELS: _Levels = {str(level): level for level in LEVELS}

# Blocks of ideographs that neither NFC nor the other rules for names touch.
_PLAIN_NAME = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]{1,64}")
_PLAIN_NUMBER = re.compile(r"[1-8]\d{16}[\dX]", re.ASCII)
_PLAIN_PHONE = re.compile(r"1[3-9]\d{9}", re.ASCII)


class Applicant(NamedTuple):
    """One person of a file in normal form; `Person` with its line, level and where the proof is kept."""

    line: int
    name: str
    phone: str | None
    id_type: str
    id_number: str
    sex: str | None
    birth_date: date | None
    ethnicity: str | None
    address: str | None
    employer: str | None
    level: Level
    reference: str | None


class Fault(NamedTuple):
    """One reason why a row is not imported. `field` is a column, or empty for the whole row."""

    line: int
    position: int
    field: str
    code: str


@dataclass
class Prepared:
    """The rows of a piece: how many, who can be taken, and what is wrong with the others."""

    rows: int
    applicants: list[Applicant]
    faults: list[Fault]


def prepare(
    rows: Iterator[Record], *, header: list[str], level: Level, today: date, levels: Sequence[Level] = LEVELS
) -> Prepared:
    """The rows of a piece read. `level` is for rows that do not say their own, `levels` what they may say."""
    width, cells_of = len(header), PEOPLE.getter(header)
    named = {str(one): one for one in levels}
    prepared = Prepared(0, [], [])
    for line, cells, fault in rows:
        prepared.rows += 1
        if cells is None or len(cells) != width:
            found: Applicant | list[Fault] = [Fault(line, 0, "", fault or "columns")]
        else:
            cells.append("")
            row = cells_of(cells)
            found = _plain(line, row, level, today, named) or _careful(line, row, level, today, named)
        if isinstance(found, Applicant):
            prepared.applicants.append(found)
        else:
            prepared.faults += found
    return prepared


def _plain(line: int, row: tuple[str, ...], level: Level, today: date, levels: _Levels = _LEVELS) -> Applicant | None:
    """The applicant in a row that needs no more than a look; None for any other."""
    name, id_type, number, phone, sex_text, birth, nation, address, employer, level_text, reference = row
    if (
        id_type != CITIZEN_ID
        or not _PLAIN_NAME.fullmatch(name)
        or not _PLAIN_NUMBER.fullmatch(number)
        or not (phone == "" or _PLAIN_PHONE.fullmatch(phone))
        or sex_text not in _SEXES
        or nation not in _NATIONS
        or not (level_text == "" or level_text in levels)
        or not (_is_plain(address, 256) and _is_plain(employer, 128) and _is_plain(reference, 128))
    ):
        return None
    born = _citizen_birth(number)
    if born is None or born > today or not (birth == "" or birth == f"{number[6:10]}-{number[10:12]}-{number[12:14]}"):
        return None
    return Applicant(
        line,
        name,
        phone or None,
        CITIZEN_ID,
        number,
        _SEXES[sex_text] or ("1" if number[16] in "13579" else "2"),
        born,
        _NATIONS[nation],
        address or None,
        employer or None,
        levels[level_text] if level_text else level,
        reference or None,
    )


def _is_plain(text: str, longest: int) -> bool:
    return len(text) <= longest and (text.isprintable() and text == text.strip() and text[:1] != "'")


def _careful(
    line: int, row: tuple[str, ...], level: Level, today: date, levels: _Levels = _LEVELS
) -> Applicant | list[Fault]:
    """The applicant in a row by the rules themselves, or everything that is wrong with it."""
    cells = {name: bare(_LINE_FEEDS.sub(" ", cell).strip()) for name, cell in zip(PEOPLE.names, row, strict=True)}
    wrong = [(name, code) for name, cell in cells.items() if (code := _cell_fault(name, cell, levels))]
    known = {name for name, _ in wrong}
    try:
        wanted = Application(
            name=cells["name"],
            id_type=cells["id_type"],
            id_number=cells["id_number"],
            phone=cells["phone"] or None,
            proof=Proof(levels.get(cells["level"], level), cells["reference"] or None),
            sex=_SEXES.get(cells["sex"]),
            birth_date=date.fromisoformat(cells["birth_date"])
            if cells["birth_date"] and "birth_date" not in known
            else None,
            ethnicity=_NATIONS.get(cells["nation"]),
            address=cells["address"] or None,
            employer=cells["employer"] or None,
        )
        person = read_person(wanted, today=today)
    except InvalidValue as error:
        wrong += [_named(field) for field in error.fields if field.pointer[1:] not in known]
    if wrong:
        return [Fault(line, at, name, code) for at, (name, code) in enumerate(wrong)]
    document = person.document
    if document is None:
        raise LookupError("a row names a document")
    return Applicant(
        line,
        person.name,
        person.phone,
        document.type,
        document.number,
        person.sex,
        person.birth_date,
        person.ethnicity,
        person.address,
        person.employer,
        wanted.proof.level,
        wanted.proof.evidence,
    )


def _cell_fault(name: str, cell: str, levels: _Levels) -> str:
    """The code of what is wrong with the shape of a cell; empty if nothing is."""
    if not cell:
        return "required" if name in {"name", "id_type", "id_number"} else ""
    if len(cell) > _LONGEST.get(name, 64):
        return "length"
    if _CONTROL.search(cell):
        return "characters"
    if name == "level":
        return "" if cell in levels else "choice"
    return "" if _SHAPES.get(name, _anything)(cell) else "date" if name == "birth_date" else "choice"


def _anything(_: str) -> bool:
    return True


def _is_day(cell: str) -> bool:
    try:
        return bool(re.fullmatch(r"\d{4}-\d\d-\d\d", cell, re.ASCII)) and bool(date.fromisoformat(cell))
    except ValueError:
        return False


_SHAPES: dict[str, Callable[[str], bool]] = {
    "sex": _SEXES.__contains__,
    "nation": _NATIONS.__contains__,
    "birth_date": _is_day,
}


def _named(field: FieldError) -> tuple[str, str]:
    return field.pointer[1:], field.code


def _citizen_birth(number: str) -> date | None:
    """The birth date in a citizen id of 18 characters that is right in every way; None for any other.

    A number's parts repeat from row to row, so what each adds to the check sum is kept.
    """
    region = _REGIONS.get(number[:6])
    day = _DAYS.get(number[6:14])
    if region is None or day is None:
        return _first_seen(number)
    if _CHECKS[(region + day + _SEQUENCES[number[14:17]]) % 11] != number[17]:
        return None
    return date.fromisoformat(number[6:14])


def _first_seen(number: str) -> date | None:
    if number[:2] not in provinces() or check_character(number[:17]) != number[17]:
        return None
    try:
        born = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return None
    if born.year < 1800:
        return None
    if len(_REGIONS) < 10_000 and len(_DAYS) < 100_000:
        _REGIONS[number[:6]] = _sum(number[:6], _WEIGHTS[:6]) % 11
        _DAYS[number[6:14]] = _sum(number[6:14], _WEIGHTS[6:14]) % 11
    return born


def _sum(digits: str, weights: tuple[int, ...]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True))


# ISO 7064 MOD 11-2 (GB 11643-1999): what each digit of a citizen id counts, and the check character of each sum mod 11.
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECKS = "10X98765432"
_SEQUENCES = {f"{n:03}": _sum(f"{n:03}", _WEIGHTS[14:]) for n in range(1000)}
_REGIONS: dict[str, int] = {}
_DAYS: dict[str, int] = {}
