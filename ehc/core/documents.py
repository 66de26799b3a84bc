"""Identity documents (身份证件): one normal form for a number, and the checks its kind allows (national rules 4.2).

A right check character proves nothing about the person; it catches slips of the hand. What each kind of number looks
like is data (`data/id_document_types.csv`); what is code here is the citizen id number (公民身份号码, GB 11643-1999,
national rules 4.1) and the kinds built like it: residence permits for Hong Kong, Macao and Taiwan residents, and the
permanent residence card for foreigners of 2023, whose first digit is 9.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date

from ehc.core.names import visible
from ehc.core.tables import DocumentType, document_types, provinces
from ehc.errors import InvalidValue, Text

CITIZEN_ID, BIRTH_CERTIFICATE, OTHER = "01", "08", "99"

# Type and number are encrypted as 32 bytes, 2 of them the type (national rules 1.4).
MAX_NUMBER_BYTES = 30

_PERSON_NUMBER = re.compile(r"\d{17}[\dX]", re.ASCII)
_OLD_CITIZEN_ID = re.compile(r"\d{15}", re.ASCII)
_DASHES = re.compile("[\u2010-\u2015\u2212-]")
_CERTIFICATE_NUMBER = re.compile(r"[A-Z][0-9]{9}")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECKS = "10X98765432"


@dataclass(frozen=True)
class Document:
    """One identity document in normal form: 2-digit type and number. Personal data. Made by `read_document`."""

    type: str
    number: str


@dataclass(frozen=True)
class CitizenFacts:
    """What a number itself says about its holder: birth date, and sex as GB/T 2261.1 (`1` male, `2` female)."""

    birth_date: date
    sex: str


def read_document(id_type: str, id_number: str, *, today: date) -> Document:
    """The document in normal form, every check its kind allows passed.

    Raises `InvalidValue`: `id-type-unknown` at /id_type; at /id_number `id-number-length`, `id-number-form`,
    `id-number-region`, `id-number-date` or `id-number-check`. County codes are not looked up: retired ones stay in use.
    """
    kind = document_types().get(id_type)
    if kind is None:
        raise InvalidValue.at("/id_type", "id-type-unknown", _TYPE_UNKNOWN)
    number = _normal_number(kind, id_number)
    if not re.fullmatch(kind.form, number, re.ASCII):
        raise _not_its_form(kind)
    if kind.person_number and _PERSON_NUMBER.fullmatch(number):
        _require_person_number(number, today)
    return Document(kind.code, number[: kind.keep])


def citizen_facts(document: Document) -> CitizenFacts | None:
    """Birth date and sex, where the number carries them; None for every other number.

    Carried by citizen ids, by household registers and driving licences that show one, and by the permits built alike.
    """
    kind = document_types().get(document.type)
    if kind is None or not kind.person_number or not _PERSON_NUMBER.fullmatch(document.number):
        return None
    born = _birth_date(document.number)
    if born is None:
        return None
    return CitizenFacts(born, "1" if int(document.number[16]) % 2 else "2")


def one_type(id_type: str, number: str) -> str:
    """The type under which a number is one person's: a birth certificate (出生医学证明) is the same one as 08 and as 99."""
    if id_type == OTHER and _CERTIFICATE_NUMBER.fullmatch(number):
        return BIRTH_CERTIFICATE
    return id_type


def is_birth_certificate(document: Document) -> bool:
    """Whether a document is a birth certificate: type 08, or 99 with a number of that form."""
    return one_type(document.type, document.number) == BIRTH_CERTIFICATE


def check_character(first_17: str) -> str:
    """The 18th character for 17 digits: a digit or X (ISO 7064 MOD 11-2, GB 11643-1999)."""
    return _CHECKS[sum(int(digit) * weight for digit, weight in zip(first_17, _WEIGHTS, strict=True)) % 11]


def _normal_number(kind: DocumentType, text: str) -> str:
    """The number as it is hashed: full width folded, no white space, upper case, 15-digit citizen ids made 18.

    Hyphens are dropped as typing aids, but kept where the form is free: there they may tell two numbers apart.
    """
    if len(text) > 4 * MAX_NUMBER_BYTES:  # before any work: folding costs more than counting
        raise _refused("id-number-length")
    number = "".join(unicodedata.normalize("NFKC", visible(text)).upper().split())
    number = unicodedata.normalize("NFKC", _DASHES.sub("-" if _is_free(kind) else "", number))
    if not number:
        raise _refused("id-number-length")
    # Before encoding: a lone surrogate from JSON has no bytes.
    if not number.isprintable() or not any(sign.isalnum() for sign in number):
        raise _not_its_form(kind)
    if len(number.encode()) > MAX_NUMBER_BYTES:
        raise _refused("id-number-length")
    if kind.code == CITIZEN_ID:
        return _citizen_number(number)
    return number


def _is_free(kind: DocumentType) -> bool:
    return kind.form.startswith(".")


def _citizen_number(number: str) -> str:
    """A citizen id of 18 characters; the 15 digits issued before 1999-10 gain a 19 and the check (rules 4.1)."""
    if _OLD_CITIZEN_ID.fullmatch(number):
        first_17 = f"{number[:6]}19{number[6:]}"
        return first_17 + check_character(first_17)
    if len(number) != 18:
        raise _refused("id-number-citizen-length")
    return number


def _require_person_number(number: str, today: date) -> None:
    # 9 is not a region: it marks a foreigner, and only the forms of types that foreigners hold admit it.
    if number[0] != "9" and number[:2] not in provinces():
        raise _refused("id-number-region")
    born = _birth_date(number)
    if born is None or born > today:
        raise _refused("id-number-date")
    if check_character(number[:17]) != number[17]:
        raise _refused("id-number-check")


def _birth_date(number: str) -> date | None:
    """Characters 7 to 14 as a date; None if there is no such day, or it is before 1800."""
    try:
        born = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return None
    return born if born.year >= 1800 else None


_TYPE_UNKNOWN = Text(
    "不支持该证件类型；请填写两位证件类型代码，例如 01 居民身份证、03 护照、99 其他法定有效证件。",
    "This document type is not known; give its two digits, such as 01 identity card, 03 passport, 99 other document.",
)

_REFUSALS = {
    "id-number-length": Text(
        "请填写证件号码，长度不超过 30 个字节（一个汉字占 3 个字节）。",
        "Give the document number, at most 30 bytes (a Chinese character takes 3).",
    ),
    "id-number-citizen-length": Text(
        "居民身份证号码应为 18 位；请检查是否漏填或多填。",
        "An identity card number has 18 characters; look for missing or extra ones.",
    ),
    "id-number-region": Text(
        "证件号码前两位不是省级代码；请对照证件检查。",
        "The first two digits are not a province; compare them with the document.",
    ),
    "id-number-date": Text(
        "证件号码第 7 至 14 位不是有效的出生日期；请对照证件检查。",
        "Characters 7 to 14 are not a possible birth date; compare them with the document.",
    ),
    "id-number-check": Text(
        "证件号码的校验码不符，通常是有一位填错；请对照证件检查。",
        "The check character does not fit, so some character is probably wrong; compare the number with the document.",
    ),
}


def _refused(rule: str) -> InvalidValue:
    code = "id-number-length" if rule == "id-number-citizen-length" else rule
    return InvalidValue.at("/id_number", code, _REFUSALS[rule])


def _not_its_form(kind: DocumentType) -> InvalidValue:
    zh = f"{kind.name.zh}的号码格式应为：{kind.form_text.zh}；请对照证件检查。"
    en = f"The number of a {kind.name.en} has this form: {kind.form_text.en}; compare it with the document."
    return InvalidValue.at("/id_number", "id-number-form", Text(zh, en))
