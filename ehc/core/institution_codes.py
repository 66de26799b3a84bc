"""Codes by which the outside world knows an institution, with their check characters. Pure."""

import re
from enum import StrEnum

from ehc.core.tables import provinces
from ehc.errors import InvalidValue, Text


class CodeKind(StrEnum):
    """Whose code it is."""

    WS_218 = "ws-218"
    """卫生机构(组织)代码, WS 218-2002: organisation code 9, region 6, economic type 2, class 4, management class 1."""
    USCC = "uscc"
    """统一社会信用代码, GB 32100-2015."""
    CLINIC = "clinic"
    """Clinics and village rooms: region 6, unit 4, attribute 2."""
    LOCAL = "local"
    """Whatever the region or the institution uses itself."""


NAMES = {
    CodeKind.WS_218: Text("卫生机构代码", "institution code (WS 218)"),
    CodeKind.USCC: Text("统一社会信用代码", "unified social credit code"),
    CodeKind.CLINIC: Text("12 位诊所（村卫生室）代码", "12-digit clinic code"),
    CodeKind.LOCAL: Text("本地编码", "local code"),
}

_FORMS = {
    CodeKind.WS_218: re.compile(r"[0-9A-Z]{8}[0-9X][0-9]{8}[A-Z][0-9]{4}"),
    CodeKind.USCC: re.compile(r"[0-9A-HJ-NP-RTUW-Y]{2}[0-9]{6}[0-9A-HJ-NP-RTUW-Y]{10}"),
    CodeKind.CLINIC: re.compile(r"[0-9]{12}"),
    CodeKind.LOCAL: re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,15}"),
}
_SAID = {
    CodeKind.WS_218: Text(
        "卫生机构代码应为 22 位：组织机构代码 9 位、行政区划 6 位、经济类型 2 位、机构类别 4 位、管理类别 1 位。",
        "22 characters: organisation code 9, region 6, economic type 2, class 4, management class 1.",
    ),
    CodeKind.USCC: Text(
        "统一社会信用代码应为 18 位数字或大写字母（不含 I、O、S、V、Z）。",
        "18 digits and capital letters without I, O, S, V and Z.",
    ),
    CodeKind.CLINIC: Text(
        "诊所（村卫生室）代码应为 12 位数字，前 6 位为行政区划。", "12 digits, the first six a region."
    ),
    CodeKind.LOCAL: Text(
        "本地编码应为 1 至 16 位字母、数字或 ._-，以字母或数字开头。",
        "1 to 16 letters, digits and ._-, a letter or digit first.",
    ),
}
_WHERE_REGION = {CodeKind.WS_218: 9, CodeKind.USCC: 2, CodeKind.CLINIC: 0}
_ORGANISATION_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)
_CREDIT_LETTERS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_WHOLE_COUNTRY = "100000"
"""The region in credit codes of bodies that the ministries register."""


def organisation_check(first_8: str) -> str:
    """The ninth character of an organisation code (GB 11714): a digit or X."""
    total = sum(int(letter, 36) * weight for letter, weight in zip(first_8, _ORGANISATION_WEIGHTS, strict=True))
    return "0123456789X0"[11 - total % 11]


def credit_check(first_17: str) -> str:
    """The 18th character of a unified social credit code (GB 32100)."""
    total = sum(_CREDIT_LETTERS.index(letter) * pow(3, place, 31) for place, letter in enumerate(first_17))
    return _CREDIT_LETTERS[-total % 31]


def kind_of(code: str) -> CodeKind:
    """What a code must be by its length: 22 characters, 18, twelve digits; any other is a local one. Does not check it."""
    if len(code) == 22:
        return CodeKind.WS_218
    if len(code) == 18:
        return CodeKind.USCC
    return CodeKind.CLINIC if _FORMS[CodeKind.CLINIC].fullmatch(code) else CodeKind.LOCAL


def read_code(kind: CodeKind, text: str, *, pointer: str = "/code") -> str:
    """The code as it is kept: no spaces around, capitals where its standard has them. Raises `InvalidValue`."""
    code = text.strip() if kind is CodeKind.LOCAL else text.strip().upper()
    if _FORMS[kind].fullmatch(code) is None or not code.isascii():
        raise InvalidValue.at(pointer, "code-form", _SAID[kind])
    where = _WHERE_REGION.get(kind)
    if where is not None and not _is_region(code[where : where + 6]):
        message = Text("代码中的行政区划不存在，请核对。", "The region inside the code does not exist.")
        raise InvalidValue.at(pointer, "code-region", message)
    if not _checks(kind, code):
        message = Text("校验码不符，请逐位核对。", "The check character does not fit. Compare it with the original.")
        raise InvalidValue.at(pointer, "code-check", message)
    return code


def _is_region(digits: str) -> bool:
    # The province alone: counties that are no more stay in codes that were given while they were.
    return digits == _WHOLE_COUNTRY or (digits[:2] in provinces() and digits[:2] != "83")


def _checks(kind: CodeKind, code: str) -> bool:
    if kind is CodeKind.WS_218:
        return code[8] == organisation_check(code[:8])
    return kind is not CodeKind.USCC or code[17] == credit_check(code[:17])
