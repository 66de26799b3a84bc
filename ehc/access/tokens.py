"""Bearer tokens: JWTs (RFC 7519, RFC 9068) signed with ES256 that live ten minutes."""

import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from secrets import token_urlsafe
from threading import Lock
from typing import Any
from uuid import UUID

import jwt

from ehc.access import clients
from ehc.callers import Caller, NotAuthentic, Scope
from ehc.clock import Clock
from ehc.crypto.keys import ES256, KeyId, KeyRing, UnknownKey
from ehc.db import UnitOfWork
from ehc.keystore.refreshed import Refreshed
from ehc.keystore.signing_keys import DatedSigner, signer_at

LIFE = timedelta(minutes=10)
RECHECK_SECONDS = 10.0
"""How long a token is believed before its client is looked up again: a disabled client stops within this time."""
_REMEMBERED = 20_000
_TYPE = "at+jwt"


@dataclass(frozen=True)
class Names:
    """Who issues tokens and for whom they are meant; a token of another deployment is refused."""

    issuer: str
    audience: str


def issue(
    caller: Caller, scopes: frozenset[Scope], *, signers: tuple[DatedSigner, ...], names: Names, now: datetime
) -> str:
    """A token for a client that has proved itself, limited to `scopes`."""
    signer = signer_at(signers, now)
    claims = {
        "iss": names.issuer,
        "aud": names.audience,
        "sub": str(caller.id),
        "client_id": str(caller.id),
        "iat": int(now.timestamp()),
        "exp": int((now + LIFE).timestamp()),
        "jti": token_urlsafe(12),
        "scope": " ".join(sorted(scopes)),
    }
    kid = urlsafe_b64encode(signer.key_id).decode()
    return jwt.encode(claims, signer.private, algorithm="ES256", headers={"kid": kid, "typ": _TYPE})


@dataclass(slots=True)
class _Known:
    caller: Caller
    expires_at: float
    checked_at: float


class Tokens:
    """Tells whose a token is. Remembers what it verified, and looks the client up again every ten seconds."""

    def __init__(
        self,
        *,
        rings: Refreshed[KeyRing],
        names: Names,
        work: UnitOfWork,
        clock: Clock,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rings, self._names, self._work, self._clock, self._timer = rings, names, work, clock, timer
        self._known: dict[str, _Known] = {}
        self._lock = Lock()

    def authenticate(self, token: str) -> Caller:
        """The caller a token was issued to, with the token's scopes. Raises `NotAuthentic`."""
        known = self._known.get(token)
        if known is None or self._timer() - known.checked_at >= RECHECK_SECONDS:
            known = self._check(token)
        if known.expires_at <= self._clock.now().timestamp():
            raise NotAuthentic
        return known.caller

    def _check(self, token: str) -> _Known:
        client_id, scopes, expires_at = self._verify(token)
        asked_at = self._timer()  # before we look: what changes while we do is not believed a moment longer
        with self._work() as session:
            caller = clients.by_id(session, client_id)
        if caller is None:
            self._known.pop(token, None)
            raise NotAuthentic
        known = _Known(replace(caller, scopes=scopes & caller.scopes), expires_at, asked_at)
        with self._lock:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[token] = known
        return known

    def _verify(self, token: str) -> tuple[UUID, frozenset[Scope], float]:
        try:
            key_id = _key_id(jwt.get_unverified_header(token))
            hint = jwt.decode(token, options={"verify_signature": False, "verify_exp": False, "verify_aud": False})
            ring = self._rings.get()
            if key_id not in ring:
                ring = self._rings.refresh()
            key = ring.key_for(key_id, algorithm=ES256, issued_at=int(hint["iat"]), skew=5)
            claims = jwt.decode(
                token,
                key.public,
                algorithms=["ES256"],
                issuer=self._names.issuer,
                audience=self._names.audience,
                options={"require": ["exp", "iat", "sub", "scope"], "verify_exp": False, "verify_iat": False},
            )
            scopes = frozenset(map(Scope, claims["scope"].split()))
            return UUID(claims["sub"]), scopes, float(claims["exp"])  # our clock, not PyJWT's, decides on `exp`
        except (jwt.InvalidTokenError, UnknownKey, KeyError, ValueError, TypeError, AttributeError, OverflowError):
            raise NotAuthentic from None


def _key_id(header: Mapping[str, Any]) -> KeyId:
    """The key that a header names. Raises `InvalidTokenError` for what is no access token (RFC 9068), whoever signed it."""
    if header.get("typ") != _TYPE or "crit" in header:
        raise jwt.InvalidTokenError
    return KeyId(urlsafe_b64decode(header["kid"]))
