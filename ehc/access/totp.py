"""Time-based one-time passwords (RFC 6238): HMAC-SHA-1, 6 digits, 30 seconds, as every authenticator app takes. Pure."""

import hmac
from base64 import b32decode, b32encode
from datetime import datetime
from secrets import token_bytes
from urllib.parse import quote

STEP_SECONDS = 30
SKEW = 1
"""Steps before and after the present one that are taken too: clocks differ, and people type slowly."""
_DIGITS = 6


def new_secret() -> str:
    """A secret of 160 bits (RFC 4226 section 4), in base32."""
    return b32encode(token_bytes(20)).decode()


def step_at(now: datetime) -> int:
    """The step that an instant is in."""
    return int(now.timestamp()) // STEP_SECONDS


def code(secret: str, step: int) -> str:
    """The code of a step (RFC 4226 section 5.3)."""
    digest = hmac.digest(b32decode(secret), step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**_DIGITS:0{_DIGITS}}"


def step_of(secret: str, typed: str, *, now: datetime) -> int | None:
    """The step, within the skew, whose code this is."""
    present = step_at(now)
    found = None
    for step in range(present - SKEW, present + SKEW + 1):
        if hmac.compare_digest(code(secret, step).encode(), typed.encode()):
            found = step
    return found


def uri(secret: str, *, login: str, issuer: str) -> str:
    """What an authenticator app reads as a QR code."""
    label = f"{quote(issuer)}:{quote(login)}"
    return f"otpauth://totp/{label}?secret={secret}&issuer={quote(issuer)}&digits={_DIGITS}&period={STEP_SECONDS}"
