"""Code tables of the field, read once from the package's own files. Codes are text: leading zeros count."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from ehc.errors import Text


@dataclass(frozen=True)
class Entry:
    """One line of a code table: its code and its name; `name_en` is empty where the table has none."""

    code: str
    name_zh: str
    name_en: str


@dataclass(frozen=True)
class Department:
    """One department (科室): 4-digit code; `parent` is its group's first two digits; `local` if Qinghai added it."""

    code: str
    name_zh: str
    parent: str
    local: bool


@dataclass(frozen=True)
class Region:
    """One administrative area (GB/T 2260): a province (level 1), a city or prefecture (2), or a county or district (3)."""

    code: str
    name_zh: str
    level: int
    parent: str | None


@dataclass(frozen=True)
class DocumentType:
    """One kind of identity document (身份证件类别, CV02.01.101) and the form of its numbers.

    `form` is a regular expression for the whole number, `form_text` the same for people. If `person_number`, a number
    of 18 characters is built as GB 11643-1999 says. `keep` is how many leading characters to keep, or None for all.
    """

    code: str
    name: Text
    form: str
    form_text: Text
    person_number: bool
    keep: int | None


@dataclass(frozen=True)
class Word:
    """One word of our own for a step or channel, its codes elsewhere (the national one first), its name for people."""

    word: str
    codes: tuple[str, ...]
    name: Text


# 诊疗环节, national rules 1.10. A stay in hospital has no national code.
MEDICAL_STEPS = (
    Word("registration", ("010101",), Text("挂号", "registration")),
    Word("diagnosis", ("010102",), Text("诊断", "diagnosis")),
    Word("medicine", ("010103",), Text("取药", "collecting medicine")),
    Word("examination", ("010104",), Text("检查", "examination")),
    Word("payment", ("010105",), Text("收费", "payment")),
    Word("prescription", ("010106",), Text("开方", "prescription")),
    Word("surgery", ("010107",), Text("手术", "surgery")),
    Word("inpatient", (), Text("住院", "hospital stay")),
    Word("other", ("000000",), Text("其他", "other")),
)

# 用卡渠道: two digits in the provincial interface, four on the open platform.
CHANNELS = (
    Word("window", ("01", "0100"), Text("人工窗口", "staffed window")),
    Word("kiosk", ("02", "0200"), Text("自助机", "self-service kiosk")),
    Word("doctor-station", ("0300",), Text("医生工作台", "doctor's workstation")),
    Word("service-account", ("0401",), Text("服务号", "service account")),
    Word("mini-program", ("0402",), Text("小程序", "mini-program")),
    Word("gate", (), Text("闸机", "entrance gate")),
    Word("mobile", (), Text("移动终端", "mobile terminal")),
    Word("other", ("99",), Text("其他", "other")),
)


def _by_text(words: tuple[Word, ...]) -> Mapping[str, str]:
    return {text: word.word for word in words for text in (word.word, *word.codes)}


_STEP_WORDS = _by_text(MEDICAL_STEPS)
_CHANNEL_WORDS = _by_text(CHANNELS)


def medical_step(text: str) -> str | None:
    """The word for a medical step (诊疗环节), given the word or its 6-digit code; None if it is neither."""
    return _STEP_WORDS.get(text)


def medical_step_code(word: str) -> str:
    """The national 6-digit code of a medical step, 000000 for those without one. Raises `KeyError` for another word."""
    codes = {step.word: step.codes for step in MEDICAL_STEPS}[word]
    return codes[0] if codes else "000000"


def channel(text: str) -> str | None:
    """The word for a channel (用卡渠道), given the word or its 2- or 4-digit code; None if it is neither."""
    return _CHANNEL_WORDS.get(text)


@cache
def code_table(name: str) -> Mapping[str, Entry]:
    """One table of `code_tables.csv`, by code, in its order. Raises `KeyError` for a table that is not there."""
    rows = [row for row in _rows("code_tables.csv") if row["table"] == name]
    if not rows:
        raise KeyError(name)
    return MappingProxyType({row["code"]: Entry(row["code"], row["name_zh"], row["name_en"]) for row in rows})


def sex(text: str) -> str | None:
    """The GB/T 2261.1 code of a sex, from the code or its English word (`male`); None for anything else."""
    return next((entry.code for entry in sexes().values() if text in (entry.code, entry.name_en)), None)


def ethnicity(text: str) -> str | None:
    """The GB/T 3304 code of an ethnicity, from the code or its name (`汉族`); None for anything else."""
    return next((entry.code for entry in ethnicities().values() if text in (entry.code, entry.name_zh)), None)


def sexes() -> Mapping[str, Entry]:
    """Sex (性别), GB/T 2261.1-2003: 0 unknown, 1 male, 2 female, 9 not stated."""
    return code_table("sex")


def ethnicities() -> Mapping[str, Entry]:
    """Ethnicity (民族), GB/T 3304-1991: 01 to 56, and 99 unknown."""
    return code_table("ethnicity")


@cache
def provinces() -> Mapping[str, Entry]:
    """Provinces by the first two digits of a GB/T 2260 code, with 83 for Taiwan residents' permits."""
    rows = [row for row in _rows("provinces_gbt2260.csv") if row["code2"].isdecimal()]
    return MappingProxyType({row["code2"]: Entry(row["code2"], row["name_zh"], row["name_en"]) for row in rows})


@cache
def regions() -> Mapping[str, Region]:
    """Provinces, cities and counties by their 6-digit code, a parent before what lies in it.

    As of 2023-06-30. Without the lines of GB/T 2260 that name no place (市辖区), so what hangs on those hangs on the province.
    """
    names = {row["code"]: row["name_zh"] for row in _rows("regions_gbt2260.csv")}
    return MappingProxyType({code: _region(code, names) for code in sorted(names)})


def _region(code: str, names: Mapping[str, str]) -> Region:
    """A region with the parent that its code tells: 2+2+2 digits."""
    province, city = f"{code[:2]}0000", f"{code[:4]}00"
    if code == province:
        return Region(code, names[code], 1, None)
    if code == city:
        return Region(code, names[code], 2, province)
    return Region(code, names[code], 3, city if city in names else province)


@cache
def departments() -> Mapping[str, Department]:
    """Departments (标准科室代码) by their 4-digit code."""
    return MappingProxyType(
        {
            row["code"]: Department(row["code"], row["name_zh"], row["parent"], row["origin"] == "local")
            for row in _rows("departments.csv")
        }
    )


@cache
def document_types() -> Mapping[str, DocumentType]:
    """Kinds of identity document by their 2-digit code (national rules 4.2)."""
    return MappingProxyType({row["code"]: _document_type(row) for row in _rows("id_document_types.csv")})


def _document_type(row: Mapping[str, str]) -> DocumentType:
    return DocumentType(
        code=row["code"],
        name=Text(row["name_zh"], row["name_en"]),
        form=row["form"],
        form_text=Text(row["form_zh"], row["form_en"]),
        person_number=row["person_number"] == "yes",
        keep=int(row["keep"]) if row["keep"] else None,
    )


def _rows(name: str) -> list[dict[str, str]]:
    text = files("ehc.core").joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
