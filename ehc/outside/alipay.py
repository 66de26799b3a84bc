"""Alipay's log-in of mini-programs: `alipay.system.oauth.token`, signed both ways with RSA2 (SHA256withRSA, PKCS #1 v1.5).

The signature of an answer is over the very text of its member, as it came; nothing in it counts before that was checked.
"""

import binascii
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, timedelta, timezone
from urllib.parse import urlencode

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

from ehc.clock import Clock
from ehc.errors import EhcError
from ehc.outside import platforms
from ehc.outside.members import member, text
from ehc.outside.platforms import PlatformPerson
from ehc.outside.signed_http import LIMIT, HttpParty, Misshapen, NoAnswer

METHOD = "alipay.system.oauth.token"
ANSWER, ERROR = "alipay_system_oauth_token_response", "error_response"
_BEIJING = timezone(timedelta(hours=8))
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_LEAST_BITS = 2048
_BLANK = " \t\r\n"
_ANSWERS = {
    "isv.code-invalid": platforms.code_invalid,
    "isv.code-is-old": platforms.code_used,
    "isv.app-call-limited": platforms.busy,
    "isv.method-call-limited": platforms.busy,
    "isp.unknow-error": platforms.busy,  # so spelled
    "isp.unknown-error": platforms.busy,
    "aop.unknow-error": platforms.busy,
    "aop.ACQ.SYSTEM_ERROR": platforms.busy,
}


@dataclass(frozen=True)
class AlipayApp:
    """A mini-program as Alipay knows it: its own key, and the key with which Alipay signs answers to it."""

    appid: str
    private_key: RSAPrivateKey = field(repr=False)
    platform_key: RSAPublicKey


def read_private_key(typed: str) -> RSAPrivateKey:
    """An app's private key, PEM or its bare base64, PKCS #8 or PKCS #1. Raises `ValueError`."""
    try:
        key = load_der_private_key(_der(typed), None)
    except (TypeError, UnsupportedAlgorithm):  # an encrypted one, or of a kind that nobody knows
        raise ValueError from None
    if not isinstance(key, RSAPrivateKey) or key.key_size < _LEAST_BITS:
        raise ValueError
    return key


def read_public_key(typed: str) -> RSAPublicKey:
    """Alipay's public key, PEM or its bare base64. Raises `ValueError`."""
    try:
        key = load_der_public_key(_der(typed))
    except UnsupportedAlgorithm:
        raise ValueError from None
    if not isinstance(key, RSAPublicKey) or key.key_size < _LEAST_BITS:
        raise ValueError
    return key


def signed_text(params: Mapping[str, str]) -> bytes:
    """What a request's signature is over: every parameter that says something, save the signature, in order of names."""
    told = sorted((name, value) for name, value in params.items() if name != "sign" and value)
    return "&".join(f"{name}={value}" for name, value in told).encode()


def sign(key: RSAPrivateKey, said: bytes) -> str:
    """The RSA2 signature of bytes, in base64."""
    return b64encode(key.sign(said, PKCS1v15(), hashes.SHA256())).decode()


def is_signed(key: RSAPublicKey, said: bytes, signature: str) -> bool:
    """Whether an RSA2 signature is this key's, over these bytes."""
    try:
        key.verify(b64decode(signature, validate=True), said, PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def raw_members(said: str) -> dict[str, str]:
    """The members of a JSON object, each as it is written. Raises `Misshapen`, also for a name that comes twice."""
    decoder, found = json.JSONDecoder(), {}
    try:
        at = _past(said, 0, "{")
        while True:
            name, at = decoder.raw_decode(said, _skip(said, at))
            start = _skip(said, _past(said, at, ":"))
            _, end = decoder.raw_decode(said, start)
            if not isinstance(name, str) or name in found:
                raise Misshapen
            found[name] = said[start:end]
            at = _skip(said, end)
            if said[at : at + 1] != ",":
                break
            at += 1
        if said[_past(said, at, "}") :].strip(_BLANK):
            raise Misshapen
    except (ValueError, RecursionError):
        raise Misshapen from None
    return found


class HttpAlipay(HttpParty):
    """Alipay's gateway at `url`. Threads may share it. Ask outside a database transaction: it can take 3 s."""

    def __init__(self, url: str, *, clock: Clock) -> None:
        """Raises `SetupError` for a URL that may not be used."""
        super().__init__("alipay", url)
        self._clock = clock

    def person(self, app: AlipayApp, code: str) -> PlatformPerson:
        """Who a log-in code stands for. Raises the refusals of `ehc/outside/platforms.py`, and `PlatformAway`."""
        try:
            found = self._told(lambda: self._ask(app, code))
        except NoAnswer as none:
            raise platforms.away(none.retry_after) from None
        if isinstance(found, EhcError):
            raise found
        return found

    def _ask(self, app: AlipayApp, code: str) -> PlatformPerson | EhcError:
        self._require_no_pause()
        params = {
            "app_id": app.appid,
            "method": METHOD,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": self._clock.now().astimezone(UTC).astimezone(_BEIJING).strftime("%Y-%m-%d %H:%M:%S"),
            "version": "1.0",
            "grant_type": "authorization_code",
            "code": code,
        }
        params["sign"] = sign(app.private_key, signed_text(params))
        headers = {
            "Content-Type": "application/x-www-form-urlencoded;charset=utf-8",
            "Accept-Encoding": "identity",
            "User-Agent": "ehc",
        }
        path, body = f"{self._base}?charset=utf-8", urlencode(params).encode()
        raw = self._in_time(lambda: self._exchange(path, headers, body))
        if raw.status != 200:
            raise NoAnswer("status")
        if len(raw.body) > LIMIT:
            raise NoAnswer("too-large")
        return _read(raw.body, app.platform_key)


def _read(body: bytes, key: RSAPublicKey) -> PlatformPerson | EhcError:
    try:
        whole = raw_members(body.decode())
    except UnicodeDecodeError:
        raise Misshapen from None
    name = ANSWER if ANSWER in whole else ERROR
    if name not in whole or (ANSWER in whole and ERROR in whole):
        raise Misshapen
    signature = json.loads(whole.get("sign", '""'))
    if not is_signed(key, whole[name].encode(), signature if isinstance(signature, str) else ""):
        if (
            name == ERROR
        ):  # Alipay does not sign for an app that it does not know: nothing that is said counts, but a no
            return platforms.refused()
        raise NoAnswer("signature")
    told = json.loads(whole[name])
    if name == ERROR or member(told, "sub_code"):
        return _refusal(told)
    user = member(told, "user_id")
    if user:
        return PlatformPerson(f"user:{text(told, 'user_id', _ID)}")
    return PlatformPerson(f"open:{text(told, 'open_id', _ID)}")


def _refusal(told: object) -> EhcError:
    sub_code = member(told, "sub_code")
    if isinstance(sub_code, str) and sub_code in _ANSWERS:
        return _ANSWERS[sub_code]()
    if member(told, "code") in ("20000", 20000):  # service currently unavailable
        return platforms.busy()
    return platforms.refused()


def _der(typed: str) -> bytes:
    bare = "".join(line.strip() for line in typed.strip().splitlines() if not line.startswith("-----"))
    return b64decode(bare, validate=True)  # binascii.Error is a ValueError


def _skip(said: str, at: int) -> int:
    while at < len(said) and said[at] in _BLANK:
        at += 1
    return at


def _past(said: str, at: int, sign: str) -> int:
    """Behind this sign, blanks before it skipped. Raises `ValueError` where something else stands."""
    at = _skip(said, at)
    if said[at : at + 1] != sign:
        raise ValueError
    return at + 1
