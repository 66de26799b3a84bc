"""What the bank signs and what we sign for it: notices by webhook, our answers, and the vectors of the document."""

import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any

import pytest

from ehc.dev.simulators.bank import BY_NUMBER
from ehc.outside.bank_gateway import AtBank, NoticeKind, Refusal
from ehc.outside.bank_http import read_notice
from ehc.outside.signed_http import FRESH, PartyKey, answer_headers, request_signed
from tests.unit.test_outside_signed_http import NOW

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "bank-gateway.md").read_text(encoding="utf-8")
KEY = PartyKey("a-bank", b"b" * 32)
PATH, BODY, NONCE = "/v1/bank-notices", b'{"notice_id":"B-1"}', "0123456789abcdef" * 2
AT = int(NOW.timestamp())


def signed(
    *, key: PartyKey = KEY, at: int | str = AT, path: str = PATH, body: bytes = BODY, nonce: str = NONCE, **more: str
) -> dict[str, str]:
    """The headers of a notice."""
    seconds = int(at) if str(at).isdecimal() else AT
    made = {
        "X-Ehc-Key": key.key_id,
        "X-Ehc-Time": str(at),
        "X-Ehc-Nonce": nonce,
        "X-Ehc-Signature": key.sign_request(path, seconds, nonce, body),
    }
    return made | {name.replace("_", "-"): value for name, value in more.items()}


def admitted(headers: dict[str, str], *, path: str = PATH, body: bytes = BODY) -> bool:
    return request_signed(path, headers, body, key=KEY, now=AT)


@pytest.mark.parametrize(
    ("seconds", "fresh"), [(0, True), (-FRESH, True), (FRESH, True), (-FRESH - 1, False), (FRESH + 1, False)]
)
def test_a_notice_is_admitted_while_it_is_fresh(seconds: int, fresh: bool) -> None:
    assert admitted(signed(at=AT + seconds)) is fresh


@pytest.mark.parametrize(
    "headers",
    [
        signed(key=PartyKey("a-bank", b"c" * 32)),
        signed(key=PartyKey("b-bank", b"b" * 32)),
        signed(path="/v1/bank-notices/"),
        signed(path="/v1/bindings/confirm"),
        signed(body=BODY + b" "),
        signed(at=""),
        signed(at="now"),
        signed(at=f"{AT}.0"),
        signed(at=f"-{AT}"),
        signed(at="1" * 13),
        signed(at=f" {AT}"),
        signed(nonce=""),
        signed(nonce=NONCE[:-1]),
        signed(nonce=NONCE + "0"),
        signed(nonce=NONCE.upper()),
        signed(nonce=NONCE + "\n"),
        signed(X_Ehc_Key="b-bank"),
        signed(X_Ehc_Time=str(AT + 1)),
        signed(X_Ehc_Nonce="f" * 32),
        signed(X_Ehc_Signature=""),
        signed(X_Ehc_Signature="0" * 64),
        signed(X_Ehc_Signature="é"),
        signed(X_Ehc_Signature=signed()["X-Ehc-Signature"].upper()),
        signed(X_Ehc_Signature=KEY.sign_answer(200, PATH, AT, NONCE, BODY)),
        *({name: value for name, value in signed().items() if name != gone} for gone in signed()),
        {},
    ],
    ids=lambda headers: ",".join(value[-12:] for value in headers.values()) or "none",
)
def test_a_notice_that_the_bank_did_not_sign_is_not_admitted(headers: dict[str, str]) -> None:
    assert not admitted(headers)
    assert admitted(signed())


def test_a_notice_whose_body_or_path_was_changed_is_not_admitted() -> None:
    assert not admitted(signed(), body=b'{"notice_id":"B-2"}')
    assert not admitted(signed(), body=b"")
    assert not admitted(signed(), path="/v1/cards")


def test_our_answer_is_tied_to_the_notice_it_answers() -> None:
    headers = answer_headers(PATH, NONCE, b"{}", key=KEY, now=AT)
    assert headers["X-Ehc-Nonce"] == NONCE
    assert headers["X-Ehc-Signature"] == KEY.sign_answer(200, PATH, AT, NONCE, b"{}")
    others = [
        answer_headers(PATH, "f" * 32, b"{}", key=KEY, now=AT),
        answer_headers(PATH, NONCE, b"[]", key=KEY, now=AT),
        answer_headers(PATH, NONCE, b"{}", key=KEY, now=AT + 1),
        answer_headers(PATH + "/", NONCE, b"{}", key=KEY, now=AT),
        answer_headers(PATH, NONCE, b"{}", key=PartyKey("a-bank", b"c" * 32), now=AT),
    ]
    assert headers["X-Ehc-Signature"] not in {other["X-Ehc-Signature"] for other in others}


# --- the document


def vectors() -> list[dict[str, Any]]:
    (block,) = re.findall(r"```json\n(\[.*?\])\n```", DOCUMENT, re.DOTALL)
    found: list[dict[str, Any]] = json.loads(block)
    return found


@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector["what"])
def test_the_vectors_of_the_document_hold_by_any_hmac_and_by_ours(vector: dict[str, Any]) -> None:
    lines, body = vector["signed"], vector["body"].encode()
    assert lines[6] == hashlib.sha256(body).hexdigest()
    secret = bytes(range(32))
    assert hmac.new(secret, "\n".join(lines).encode(), hashlib.sha256).hexdigest() == vector["signature"]
    kind, second, path, at, nonce, key_id, _ = lines
    key, headers = PartyKey(key_id, secret), dict(zip(HEADERS, (key_id, at, nonce, vector["signature"]), strict=True))
    if kind == "EHC1-REQUEST":
        assert second == "POST"
        assert request_signed(path, headers, body, key=key, now=int(at))
    else:
        assert (second, answer_headers(path, nonce, body, key=key, now=int(at))) == ("200", headers)


HEADERS = ("X-Ehc-Key", "X-Ehc-Time", "X-Ehc-Nonce", "X-Ehc-Signature")


def test_there_are_vectors_for_both_directions_and_both_ends() -> None:
    assert {(one["signed"][0], one["signed"][2]) for one in vectors()} == {
        ("EHC1-REQUEST", "/v1/bindings/start"),
        ("EHC1-REQUEST", "/v1/bindings/confirm"),
        ("EHC1-ANSWER", "/v1/bindings/confirm"),
        ("EHC1-REQUEST", PATH),
        ("EHC1-ANSWER", PATH),
    }
    (notice,) = [one["body"] for one in vectors() if one["signed"][0::2][:2] == ["EHC1-REQUEST", PATH]]
    assert read_notice(json.loads(notice), now=NOW).what is NoticeKind.LIMITS


def test_every_word_of_the_format_is_in_the_document() -> None:
    for word in (*Refusal, *AtBank, *NoticeKind):
        assert f"| `{word}` |" in DOCUMENT
    for ending, why in BY_NUMBER.items():
        assert f"| {ending} and a last digit that checks | `{why}` |" in DOCUMENT
