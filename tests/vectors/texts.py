"""Builds `texts.json`: national texts, from the people of `ehc_vectors.csv`, and temporary codes."""

import csv
import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.vectors import Texts, TextVector

PEOPLE = {
    row["case"]: row
    for row in csv.DictReader(Path(__file__).with_name("ehc_vectors.csv").read_text(encoding="utf-8").splitlines())
}
A, B = PEOPLE["adult-a"], PEOPLE["adult-b"]
STATIC, DYNAMIC, CARD, VALIDITY = A["static_qr"], A["dynamic_qr"], A["card_id"], A["validity"]
WHITES = {"space": " ", "tab": "\t", "carriage return": "\r", "line feed": "\n", "CR LF": "\r\n"}
OTHER_WHITES = {
    "vertical tab": "\v",
    "NUL": "\0",
    "no-break space": "\xa0",
    "ideographic space": "\u3000",
    "BOM": "\ufeff",
}


def vector(
    expect: str, name: str, text: str, why: str, *, kind: str = "national", until: str | None = None
) -> TextVector:
    return {"name": name, "text": text, "kind": kind, "expect": expect, "until": until, "why": why}


def sealed(block: str, key: str = A["protection_key"]) -> str:
    """A block under SM4, both as hexadecimal."""
    encryptor = Cipher(algorithms.SM4(bytes.fromhex(key)), modes.ECB()).encryptor()
    return encryptor.update(bytes.fromhex(block)).hex().upper()


def instant(digits: str) -> str:
    """RFC 3339 of a time as the validity field writes it."""
    china = timezone(timedelta(hours=8))
    return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=china).isoformat()


def national_good() -> Iterator[TextVector]:
    for case, row in PEOPLE.items():
        yield vector("well-formed", f"static of {case}", row["static_qr"], "ehc_vectors.csv")
        if case != "len-16":  # its time does not exist
            until = instant(row["valid_time"])
            yield vector("well-formed", f"dynamic of {case}", row["dynamic_qr"], "ehc_vectors.csv", until=until)
    until = instant(A["valid_time"])
    for name, white in WHITES.items():
        why = "hand scanners add it"
        yield vector("well-formed", f"static, {name} at both ends", white + STATIC + white, why)
        yield vector("well-formed", f"dynamic, {name} at the end", DYNAMIC + white, why, until=until)
    long = DYNAMIC.ljust(1024)
    yield vector("well-formed", "1024 characters with white space", long, "the longest text", until=until)
    spliced = f"{CARD}:0:{B['validity']}"
    yield vector(
        "well-formed", "splice of two live codes", spliced, "only the record of issued codes tells", until=until
    )
    yield vector("well-formed", "dynamic cut down to static", f"{CARD}:1", "only the record of issued codes tells")
    for start in "691", "692":
        yield vector(
            "well-formed", f"card id that starts with {start}", start + STATIC[3:], "a colon tells the kinds apart"
        )
    yield vector("well-formed", "card id of decimal digits", "691" + "0" * 61 + ":1", "a colon tells the kinds apart")


def national_mistyped() -> Iterator[TextVector]:
    for name, text in (
        ("lower-case card id", STATIC.lower()),
        ("lower-case dynamic text", DYNAMIC.lower()),
        ("one lower-case digit in the card id", STATIC.replace("F", "f", 1)),
        ("lower-case validity", DYNAMIC[:67] + DYNAMIC[67:].lower()),
        ("one lower-case digit in the validity", DYNAMIC[:-1] + "f"),
        ("letter beyond F in the card id", "G" + STATIC[1:]),
        ("letter beyond F in the validity", DYNAMIC[:-1] + "G"),
        ("Arabic-Indic digit in the validity", DYNAMIC[:-1] + "٠"),
        ("validity of 31 digits", DYNAMIC[:-1]),
        ("validity of 33 digits", DYNAMIC + "0"),
        ("validity of 14 digits", f"{CARD}:0:20260101000000"),
        ("validity empty", f"{CARD}:0:"),
        ("dynamic without validity", f"{CARD}:0"),
        ("no type", f"{CARD}:"),
        ("type of two digits", f"{CARD}:01"),
        ("type 1 twice", f"{CARD}:11"),
        ("type 2", f"{CARD}:2"),
        ("type 2 with validity", f"{CARD}:2:{VALIDITY}"),
        ("full-width type", f"{CARD}:１"),
        ("type as a letter", f"{CARD}:A"),
        ("static with validity", f"{CARD}:1:{VALIDITY}"),
        ("static with an empty third part", f"{STATIC}:"),
        ("static with a fourth part", f"{CARD}:1:{VALIDITY}:4400A0062FWHB0187"),
        ("dynamic with an empty fourth part", f"{DYNAMIC}:"),
        ("five parts", f"{DYNAMIC}:4400A0062FWHB0187:1"),
        ("five parts, the fourth empty", f"{DYNAMIC}::35020001001"),
        ("space before the type", f"{CARD}: 1"),
        ("line feed inside", f"{CARD}:0:\n{VALIDITY}"),
        ("two texts in one reading", f"{STATIC}\n{STATIC}"),
        ("1025 characters with white space", DYNAMIC.ljust(1025)),
    ):
        yield vector("malformed", name, text, "not one of the two layouts")
    for name, white in OTHER_WHITES.items():
        yield vector("malformed", f"static, {name} at the end", STATIC + white, "not a tolerated white space")
        yield vector("malformed", f"dynamic, {name} at the end", DYNAMIC + white, "not a tolerated white space")
        before = white + STATIC
        yield vector("unknown-format", f"{name} at the start", before, "not a tolerated white space", kind="unknown")


def validity_blocks() -> Iterator[TextVector]:
    """What only decrypting tells: national rules 2, measure E."""
    for name, block in (
        ("29 February of a common year", "20260229000000" + "00" * 9),
        ("month 13", "20261301000000" + "00" * 9),
        ("day 0", "20260100000000" + "00" * 9),
        ("31 April", "20260431000000" + "00" * 9),
        ("hour 24", "20260101240000" + "00" * 9),
        ("minute 60", "20260101006000" + "00" * 9),
        ("second 60", "20260101000060" + "00" * 9),
        ("year 0", "00000101000000" + "00" * 9),
        ("time not in BCD", "2026010100000A" + "00" * 9),
        ("last fill byte not zero", "20260101000000" + "00" * 8 + "01"),
        ("first fill byte not zero", "20260101000000" + "01" + "00" * 8),
        ("PKCS#7 fill", "20260101000000" + "09" * 9),
        ("time as ASCII digits", b"20260101000000\0\0".hex()),
    ):
        why = "a validity block is a time that exists, 14 BCD digits and nine zero bytes"
        yield vector("malformed", name, f"{CARD}:0:{sealed(block)}", why)
    late = sealed("20240229235959" + "00" * 9)
    until = "2024-02-29T23:59:59+08:00"
    yield vector("well-formed", "29 February of a leap year", f"{CARD}:0:{late}", "it exists", until=until)
    other = sealed(A["valid_block"], A["security_key"])
    yield vector("malformed", "validity under another key", f"{CARD}:0:{other}", "decrypts to no time")


def foreign() -> Iterator[TextVector]:
    random = "Zq7" + "x0Y9" * 15 + "w"
    for name, text in (
        ("type 9", f"{random}:9"),
        ("type 9, hexadecimal", f"{CARD}:9"),
        ("type 9, lower-case hexadecimal", f"{CARD.lower()}:9"),
        ("type 9, line feed at the end", f"{random}:9\n"),
        ("four parts", f"{DYNAMIC}:4400A0062FWHB0187"),
        ("fourth part of one character", f"{DYNAMIC}:1"),
        ("fourth part of 64 characters", f"{DYNAMIC}:{'9' * 64}"),
    ):
        yield vector("wrong-region", name, text, "a form that another platform makes, and we never")
    for name, text in (
        ("type 9 with a third part", f"{random}:9:{VALIDITY}"),
        ("64 random characters, type 1", f"{random}:1"),
        ("fourth part of 65 characters", f"{DYNAMIC}:{'9' * 65}"),
        ("fourth part with a sign", f"{DYNAMIC}:4400-A0062"),
        ("four parts in lower case", f"{DYNAMIC.lower()}:4400A0062FWHB0187"),
    ):
        yield vector("malformed", name, text, "not a form that is known of another platform")


def other_texts() -> Iterator[TextVector]:
    for name, text in (
        ("card id of 63 digits", STATIC[1:]),
        ("card id of 65 digits", "0" + STATIC),
        ("card id of 48 digits", STATIC[16:]),
        ("card id alone", CARD),
        ("full-width colon", f"{CARD}：1"),
        ("full-width first digit", f"４{STATIC[1:]}"),
        ("type 9 of 63 characters", f"{'x' * 63}:9"),
        ("type 9 of 65 characters", f"{'x' * 65}:9"),
        ("type 9 with a sign", f"{'x' * 63}-:9"),
        ("prefix 690", "690"),
        ("prefix 693", "69300000000000000000"),
        ("web address", "https://example.org/692"),
        ("empty text", ""),
        ("white space alone", " \t\r\n"),
    ):
        yield vector("unknown-format", name, text, "the start of no kind of code", kind="unknown")


def check_digit(digits: str) -> str:
    """The digit that makes the whole congruent to 1 (ISO 7064 MOD 11,10)."""
    product = 10
    for digit in digits:
        total = (product + int(digit)) % 10
        product = (total or 10) * 2 % 11
    return next(last for last in "0123456789" if (product + int(last)) % 10 == 1)


def temporary() -> Iterator[TextVector]:
    body = "6920123456789012345"
    good = body + check_digit(body)
    kind = "temporary"
    for name, digits in ("counted digits", body), ("zeros", "692" + "0" * 16), ("nines", "692" + "9" * 16):
        yield vector("well-formed", f"temporary, {name}", digits + check_digit(digits), "as we make them", kind=kind)
    for name, white in WHITES.items():
        yield vector(
            "well-formed", f"temporary, {name} at both ends", white + good + white, "hand scanners add it", kind=kind
        )
    yield vector("well-formed", "temporary, 1024 characters", good.ljust(1024), "the longest text", kind=kind)
    for last in "0123456789".replace(good[-1], ""):
        yield vector("malformed", f"temporary, check digit {last}", body + last, f"it is {good[-1]}", kind=kind)
    assert good[10] == "7"
    for name, text in (
        ("1025 characters", good.ljust(1025)),
        ("prefix alone", "692"),
        ("19 digits", good[:-1]),
        ("21 digits", good + "0"),
        ("19 digits, their check digit right", body[:-1] + check_digit(body[:-1])),
        ("21 digits, their check digit right", body + "0" + check_digit(body + "0")),
        ("neighbours swapped", good[:6] + good[7] + good[6] + good[8:]),
        ("one digit wrong", good[:10] + "0" + good[11:]),
        ("space inside", good[:10] + " " + good[11:]),
        ("minus inside", good[:10] + "-" + good[11:]),
        ("full-width digit", good[:10] + "７" + good[11:]),
        ("superscript digit", good[:10] + "²" + good[11:]),
        ("no-break space at the end", good + "\xa0"),
    ):
        yield vector("malformed", f"temporary, {name}", text, "20 ASCII digits, the last a check digit", kind=kind)


def build() -> str:
    """The text of `texts.json`."""
    parts = national_good(), national_mistyped(), validity_blocks(), foreign(), other_texts(), temporary()
    content: Texts = {
        "format": "Vectors of national and temporary texts; docs/code-format.md says what they mean.",
        "vectors": [found for part in parts for found in part],
    }
    return json.dumps(content, ensure_ascii=True, indent=1) + "\n"
