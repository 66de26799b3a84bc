"""`private_key_jwt`: a client proves itself with a JWT that it signed (RFC 7523 section 3, RFC 7521). Nothing here commits.

What an assertion says of its key is a hint at most: it is checked with the keys that we keep of the client that it names.
A client that does not exist, or has no key, costs the same signature check, and the answer is the same.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ehc.access import clients
from ehc.access.client_keys import keys_of
from ehc.access.models import ClientRow
from ehc.access.terminal_models import ClientAssertionRow
from ehc.callers import Caller
from ehc.crypto.jwk import Jwk, NotSigned, Unproved, read_jwk, read_jws, require_signed

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LONGEST = 4096
"""Longest assertion that is looked at, in characters."""
LIFE = timedelta(minutes=5)
"""How far ahead of our clock an assertion may end."""
SKEW = timedelta(seconds=30)
"""How far a client's clock may be ahead of ours when it says when an assertion was made."""
_CLOCKS = timedelta(minutes=1)
"""How far a server's clock may be behind that of the one which forgets: what is forgotten there could be spent here again."""
_LONGEST_NAME, _LONGEST_JTI = 200, 128
_NOBODY = (
    read_jwk(  # the example of RFC 7517 appendix A.1: its owner has lost it to everybody, and it proves nothing here
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        }
    )
)


def prove(
    session: Session, assertion: str, *, client_id: str | None, audiences: frozenset[str], now: datetime
) -> Caller | None:
    """The client that signed an assertion, spent with this; None for whatever is wrong with it.

    `client_id` is what the request says beside it, if anything. What is spent counts with the caller's commit. Raises
    `KeysDue` where the address of an app's keys has to be looked at first.
    """
    try:
        said = read_jws(assertion, longest=LONGEST)  # (1) size and shape; nothing is trusted yet
    except NotSigned:
        return None
    row = _named(session, said.payload, client_id)  # (2) whom it names
    kid = said.header.get("kid")
    hint = kid if isinstance(kid, str) else None
    keys = keys_of(session, row.id, now=now, kid=hint) if row is not None and row.disabled_at is None else ()
    signed = _signed(said, keys)  # (3) by a key that we keep of this client
    spent = _spendable(said.payload, audiences, now)  # (4) for us, and in its time by our clock
    if row is None or not signed or spent is None or not _spend(session, row, *spent):  # (5) once
        return None
    return clients.by_id(session, row.id)


def purge(session: Session, *, now: datetime) -> int:
    """Forget up to 10,000 spent assertions that no server takes any more; returns how many. Call until it returns 0."""
    old = text("""
        DELETE FROM client_assertion WHERE (client_id, jti_hash) IN (
            SELECT client_id, jti_hash FROM client_assertion WHERE expires_at <= :now
            ORDER BY expires_at LIMIT 10000 FOR UPDATE SKIP LOCKED
        ) RETURNING 1
    """)
    return len(session.execute(old, {"now": now - _CLOCKS}).all())


def _named(session: Session, claims: Mapping[str, Any], client_id: str | None) -> ClientRow | None:
    name = claims.get("iss")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or "\x00" in name:
        return None
    if claims.get("sub") != name or (client_id is not None and client_id != name):
        return None
    return session.scalars(select(ClientRow).where(ClientRow.client_id == name)).one_or_none()


def _signed(said: Unproved, keys: tuple[Jwk, ...]) -> bool:
    """Whether one of the keys made it. A `kid` that is one of theirs saves trying the others, and nothing more."""
    hinted = tuple(key for key in keys if said.header.get("kid") in {key.kid, key.thumbprint})
    for key in hinted or keys or (_NOBODY,):
        try:
            require_signed(said, key.public)
        except NotSigned:
            continue
        return bool(keys)
    return False


def _spendable(claims: Mapping[str, Any], audiences: frozenset[str], now: datetime) -> tuple[str, datetime] | None:
    """Its `jti` and end, where it is for us alone and in its time."""
    audience, jti, end = claims.get("aud"), claims.get("jti"), _moment(claims.get("exp"))
    if isinstance(audience, list) and len(audience) == 1:
        (audience,) = audience
    if not isinstance(audience, str) or audience not in audiences:
        return None
    if not isinstance(jti, str) or not 0 < len(jti) <= _LONGEST_JTI:
        return None
    if end is None or not now < end <= now + LIFE:
        return None
    for name in ("iat", "nbf"):
        since = _moment(claims.get(name))
        if name in claims and (since is None or since > now + SKEW):
            return None
    return jti, end


def _moment(given: object) -> datetime | None:
    """A NumericDate (RFC 7519 section 2), None for anything else and for what no calendar holds."""
    if not isinstance(given, int | float) or isinstance(given, bool):
        return None
    try:
        return datetime.fromtimestamp(given, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _spend(session: Session, row: ClientRow, jti: str, end: datetime) -> bool:
    """Whether this `jti` came for the first time. Two at once: the second waits here for the first's commit."""
    digest = sha256(jti.encode("utf-8", "surrogatepass")).digest()
    once = insert(ClientAssertionRow).values(client_id=row.id, jti_hash=digest, expires_at=end)
    return session.execute(once.on_conflict_do_nothing().returning(ClientAssertionRow.client_id)).first() is not None
