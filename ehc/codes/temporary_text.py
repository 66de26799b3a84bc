"""Codes of temporary cards (临时卡): `692`, 16 random digits and a check digit, 20 characters (national rules 1.9).

A name for a row and nothing more: it says nothing about the person, is not signed, and is good for whatever the row still
allows. 16 digits, 53 bits, keep it from being guessed as long as attempts are limited. The interface that temporary cards
come from has room for 20 characters (RHC_E0012), so there is none for a signature.

The check digit is ISO 7064 MOD 11,10 (GB/T 17710), for people who type: it finds every single wrong digit and 98 of 100 swaps
of neighbours, as Luhn's does, and nine of ten swaps across one digit, of which Luhn's finds none.
"""

import re
from collections.abc import Callable

from ehc.codes.signed import MAX_DIGITS, WHITE, Malformed, UnknownFormat
from ehc.core.randomness import random_bytes

TEMPORARY_PREFIX = "692"

_SHAPE = re.compile(r"[0-9]{20}")
_RANDOM_DIGITS = 16
_CHOICES = 10**_RANDOM_DIGITS
_DRAWN_BYTES = 8
_FAIR = 2 ** (8 * _DRAWN_BYTES) // _CHOICES * _CHOICES
"""Draws from here on would make the lower numbers likelier than the others."""


def make_temporary(random: Callable[[int], bytes] = random_bytes) -> str:
    """A fresh code, 20 digits, each of the 10¹⁶ as likely as any other. The caller keeps it unique."""
    drawn = _FAIR
    while drawn >= _FAIR:
        drawn = int.from_bytes(random(_DRAWN_BYTES), "big")
    digits = f"{TEMPORARY_PREFIX}{drawn % _CHOICES:0{_RANDOM_DIGITS}}"
    return digits + check_digit(digits)


def read_temporary(text: str) -> str:
    """The 20 digits of a temporary code, without the white space that a scanner adds. Says nothing about the card.

    Raises `UnknownFormat` for a text that does not start with 692, `Malformed` for another length, other characters, a wrong
    check digit and for more than 1,024 characters, white space included.
    """
    if len(text) > MAX_DIGITS:  # before anything whose cost grows with it
        raise Malformed
    digits = text.strip(WHITE)
    if not digits.startswith(TEMPORARY_PREFIX):
        raise UnknownFormat
    if not _SHAPE.fullmatch(digits) or check_digit(digits[:-1]) != digits[-1]:
        raise Malformed
    return digits


def check_digit(digits: str) -> str:
    """The check digit of ISO 7064 MOD 11,10 over ASCII digits."""
    product = 10
    for digit in digits:
        product = 2 * ((product + int(digit)) % 10 or 10) % 11
    return str((11 - product) % 10)
