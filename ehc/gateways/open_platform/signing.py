"""The signature of a request (open-platform JSON 2): the text that is signed, in each of the ways that clients have. Pure.

The text does not tell one map from every other (a value may hold `&x=`), and the secret only follows it. So a signature
proves who sent a request, no more; nothing is allowed because of where a member stands.
"""

import hmac
import json
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from ehc.gateways.open_platform.envelope import Inexact, Request

SIGN_LENGTH = 44
"""Standard Base64, with padding, of a SHA-256."""

_GO_ESCAPES = str.maketrans({"<": r"\u003c", ">": r"\u003e", "&": r"\u0026", "\u2028": r"\u2028", "\u2029": r"\u2029"})
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_MOST_NAMES = 60
_quoted = json.encoder.encode_basestring
"""Only `"`, `\\` and control characters are escaped (2.1)."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How one family of clients makes the text (2.2). The defaults are the rule (2.1)."""

    name: str
    common_wins: bool = False
    """Which of two members of the same name is signed."""
    blank: bool = False
    """Whether text of nothing but white space is signed."""
    zero: bool = True
    """Whether the number 0 and `false` are signed."""
    escaped: bool = False
    """Whether nested JSON is as Go's encoder writes it."""
    nulls: bool = False
    """Whether nested JSON keeps members that are null."""
    words: tuple[str, str] = ("false", "true")


PROFILES = (
    Profile("standard"),
    Profile("cs", common_wins=True, words=("False", "True")),
    Profile("go", blank=True, escaped=True),
    Profile("go-nulls", blank=True, escaped=True, nulls=True),
    Profile("nd", blank=True, zero=False),
    Profile("pf", blank=True),
)
"""In the order in which they are tried (2.3)."""


def matching(request: Request, secrets: Sequence[bytes]) -> str | None:
    """The name of the first profile in which a request is signed with one of these secrets; None: it is not signed so.

    Nearly always all texts are the same, and one digest is made.
    """
    sign = request.common.get("sign")
    if not isinstance(sign, str) or len(sign) != SIGN_LENGTH or not sign.isascii():
        return None
    for name, text in _texts(request):
        if any(hmac.compare_digest(_digest(text, secret), sign.encode()) for secret in secrets):
            return name
    return None


def canonical(request: Request, profile: Profile = PROFILES[0]) -> str:
    """The text that is signed, without the secret (2.1)."""
    common = {name: value for name, value in request.common.items() if name != "sign"}
    merged = {**request.req, **common} if profile.common_wins else {**common, **request.req}
    said = ((name, _text(value, profile)) for name, value in sorted(merged.items()) if _signed(value, profile))
    return "&".join(f"{name}={text}" for name, text in said if text)


def signed_names(request: Request) -> str:
    """The names of the members that the rule signs, in its order: what an integrator compares with their own text."""
    common = {name: value for name, value in request.common.items() if name != "sign"}
    merged = sorted({**common, **request.req}.items())
    names = [name for name, value in merged if _NAME.fullmatch(name) and _signed(value, PROFILES[0])]
    return "&".join(names[:_MOST_NAMES])


def sign(text: str, secret: bytes) -> str:
    """The signature of a text."""
    return _digest(text.encode(), secret).decode()


def _texts(request: Request) -> Iterator[tuple[str, bytes]]:
    """The texts that may have been signed, each once. Half a surrogate pair has no bytes: nothing that holds one was signed."""
    seen: set[bytes] = set()
    for profile in PROFILES:
        try:
            text = canonical(request, profile).encode()
        except UnicodeEncodeError:
            return
        if text not in seen:
            seen.add(text)
            yield profile.name, text


def _digest(text: bytes, secret: bytes) -> bytes:
    made = sha256(text)
    made.update(secret)
    return b64encode(made.digest())


def _signed(value: Any, profile: Profile) -> bool:
    """Whether a member takes part. An empty one never does: `name=` is what no client that works signs (2.2)."""
    if isinstance(value, str):
        return bool(value if profile.blank else value.strip())
    if isinstance(value, bool | int | Inexact) and not profile.zero:
        return float(value.text) != 0 if isinstance(value, Inexact) else bool(value)
    return value is not None


def _text(value: Any, profile: Profile) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return profile.words[value]
    if isinstance(value, int):
        return str(value)
    return _json(value, profile)


def _json(value: Any, profile: Profile) -> str:
    """Compact JSON, members sorted at every level: not as it was sent, for Go sends them in another order than it signs."""
    if isinstance(value, dict):
        members = sorted((name, item) for name, item in value.items() if item is not None or profile.nulls)
        return "{" + ",".join(f"{_string(name, profile)}:{_json(item, profile)}" for name, item in members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_json(item, profile) for item in value) + "]"
    if isinstance(value, str):
        return _string(value, profile)
    if isinstance(value, Inexact):
        return value.text
    if value is None:
        return "null"
    return ("false", "true")[value] if isinstance(value, bool) else str(value)


def _string(text: str, profile: Profile) -> str:
    quoted = _quoted(text)
    return quoted.translate(_GO_ESCAPES) if profile.escaped else quoted
