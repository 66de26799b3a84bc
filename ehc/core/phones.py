"""Telephone numbers in one form (national rules 4.4). A number is not an identity: numbers are given to new people."""

import re
import unicodedata

from ehc.core.names import visible
from ehc.errors import InvalidValue, Text

_TYPING_AIDS = re.compile("[\\s().\u2010-\u2015\u2212-]")
_TRUNK_ZERO = re.compile(r"^(\+.*)\(0\)")
_MOBILE = re.compile(r"1[3-9]\d{9}", re.ASCII)
# Area code with its leading 0 (3 digits for 010 and 02x, 4 for the others), then 7 or 8 digits.
_LANDLINE = re.compile(r"0(?:10|2\d|[3-9]\d{2})\d{7,8}", re.ASCII)
_ABROAD = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)
_MAX_TYPED = 64

_NOT_A_PHONE = Text(
    "请填写 11 位手机号码，或带区号的固定电话；境外号码请以 + 和国家或地区代码开头。",
    "Give an 11-digit mobile number, a landline with its area code, or + and the country code for other numbers.",
)


def normal_phone(text: str) -> str:
    """One form: 11 digits for mainland mobiles, 0 and area code for landlines, `+` and 7-15 digits elsewhere (E.164).

    Drops +86, 0086, 86, spaces, hyphens, dots and parentheses. Raises `InvalidValue` at /phone, `phone-form`.
    """
    if len(text) > _MAX_TYPED:
        raise InvalidValue.at("/phone", "phone-form", _NOT_A_PHONE)
    typed = unicodedata.normalize("NFKC", visible(text)).strip()
    number = _TYPING_AIDS.sub("", _TRUNK_ZERO.sub(r"\1", typed))
    number = re.sub(r"^00", "+", number)
    number = _mainland(number) or number
    if any(form.fullmatch(number) for form in (_MOBILE, _LANDLINE)) or _is_abroad(number):
        return number
    raise InvalidValue.at("/phone", "phone-form", _NOT_A_PHONE)


def is_mobile(number: str) -> bool:
    """Whether a number in normal form can receive short messages: a mainland mobile, or a number abroad."""
    return bool(_MOBILE.fullmatch(number)) or _is_abroad(number)


def _mainland(number: str) -> str | None:
    """The number without the mainland's country code, if it is a mainland number; else None."""
    bare = re.sub(r"^\+?86", "", number)
    for candidate in (bare, f"0{bare}"):  # abroad, a landline is dialled without the 0 of its area code
        if bare != number and (_MOBILE.fullmatch(candidate) or _LANDLINE.fullmatch(candidate)):
            return candidate
    return None


def _is_abroad(number: str) -> bool:
    return bool(_ABROAD.fullmatch(number)) and not number.startswith("+86")
