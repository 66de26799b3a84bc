"""Numbers of bank accounts (银行卡号): which bank's they are, and the slips of the hand that a number shows by itself.

The table of issuer numbers (BIN, national rules 4.4) is data: `data/bank_bins.csv`, or the file that `EHC_BANK_BINS_FILE`
names. Prefixes may have 4 to 8 digits; the longest that fits counts.
"""

import csv
import re
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

from ehc.errors import InvalidValue, Text

_DIGITS = re.compile(r"\d{12,19}", re.ASCII)
_PREFIX, _BANK = re.compile(r"\d{4,8}", re.ASCII), re.compile(r"[A-Z0-9]{2,16}", re.ASCII)
_SPACES = re.compile(r"[ -]")

KINDS = {"debit", "credit"}


@dataclass(frozen=True)
class Bin:
    """One line of the table. `luhn` is whether the last digit checks: on some old cards it does not (national rules 4.4)."""

    bank: str
    name: str
    kind: str
    length: int
    luhn: bool


@dataclass(frozen=True)
class AccountNumber:
    """An account number in normal form, and the bank it belongs to. Personal data: it is never stored."""

    digits: str = field(repr=False)
    bank: str
    kind: str

    @property
    def last4(self) -> str:
        """What may be shown of it."""
        return self.digits[-4:]


def read_account(number: str, *, table: Path | None = None) -> AccountNumber:
    """The number in normal form: digits alone. Raises `InvalidValue` at /account_number.

    `account-form` for what is no number of 12 to 19 digits, `account-bank-unknown` where no bank of the table has it,
    `account-length` and `account-check` for one that its bank cannot have given.
    """
    digits = _SPACES.sub("", number)
    if not _DIGITS.fullmatch(digits):
        raise _wrong("account-form", "银行卡号应为 12 至 19 位数字。", "A bank account number has 12 to 19 digits.")
    known = next((bins(table)[digits[:size]] for size in range(8, 3, -1) if digits[:size] in bins(table)), None)
    if known is None:
        raise _wrong(
            "account-bank-unknown",
            "暂不支持该银行的卡，请换一张卡。",
            "Cards of this bank cannot be bound here. Use another.",
        )
    if len(digits) != known.length:
        raise _wrong("account-length", "银行卡号位数不对，请核对。", "The number has too few or too many digits.")
    if known.luhn and not passes_luhn(digits):
        raise _wrong("account-check", "银行卡号有误，请逐位核对。", "A digit of the number is wrong. Compare them all.")
    return AccountNumber(digits, known.bank, known.kind)


def passes_luhn(digits: str) -> bool:
    """Whether the last digit fits the others (ISO/IEC 7812-1 annex B)."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


@cache
def bins(table: Path | None = None) -> dict[str, Bin]:
    """The table by prefix. Raises `LookupError` for a file that is not such a table."""
    source = table if table is not None else files("ehc.binding") / "data" / "bank_bins.csv"
    try:
        rows = list(csv.DictReader(source.read_text(encoding="utf-8").splitlines(), strict=True))
        read = dict(_line(row) for row in rows)
    except (OSError, csv.Error, KeyError, TypeError, ValueError):
        read = {}
    if not read or len(read) != len(rows):
        raise LookupError("the table of bank issuer numbers cannot be read; see docs/bank-gateway.md")
    return read


def bank_name(bank: str, *, table: Path | None = None) -> str | None:
    """The Chinese name of a bank of the table."""
    return next((one.name for one in bins(table).values() if one.bank == bank), None)


def _line(row: dict[str, str]) -> tuple[str, Bin]:
    """A line of the table. Raises `KeyError`, `TypeError` or `ValueError`."""
    if not (_PREFIX.fullmatch(row["prefix"]) and row["kind"] in KINDS and row["luhn"] in {"yes", "no"}):
        raise ValueError
    if not (_BANK.fullmatch(row["bank"]) and row["bank_zh"] and 12 <= int(row["length"]) <= 19):
        raise ValueError
    return row["prefix"], Bin(row["bank"], row["bank_zh"], row["kind"], int(row["length"]), row["luhn"] == "yes")


def _wrong(code: str, chinese: str, english: str) -> InvalidValue:
    return InvalidValue.at("/account_number", code, Text(chinese, english))
