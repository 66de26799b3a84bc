"""Public side of the signing keys: their states, and the ring that checks with them. No private key comes by here.

A key is pending before `signs_from`, active until `signs_until`, then retired: it still checks what it signed in its time.
Revoked is for ever and at once.
"""

from datetime import datetime
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key
from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc.crypto.keys import KeyRing, VerifyKey
from ehc.keystore.models import SigningKeyRow


class Purpose(StrEnum):
    """What a key signs: codes that residents show, printed codes, bearer tokens, ties of the audit log, lists for terminals.

    Prints have keys of their own, so that revoking the key of codes on screens does not end every card on paper.
    """

    CODE = "code"
    PRINT = "print"
    TOKEN = "token"  # noqa: S105 - the name of a purpose
    AUDIT = "audit"
    LIST = "list"


class KeyState(StrEnum):
    """Where a signing key is in its life."""

    PENDING = "pending"
    ACTIVE = "active"
    RETIRED = "retired"
    REVOKED = "revoked"


def state_of(key: SigningKeyRow, now: datetime) -> KeyState:
    """The state that a key's dates give it at `now`."""
    if key.revoked_at is not None:
        return KeyState.REVOKED
    if now < key.signs_from:
        return KeyState.PENDING
    return KeyState.ACTIVE if key.signs_until is None or now < key.signs_until else KeyState.RETIRED


def signing_keys(session: Session, *purposes: Purpose) -> list[SigningKeyRow]:
    """Every key of some purposes, the newest first."""
    newest_first = SigningKeyRow.signs_from.desc(), SigningKeyRow.created_at.desc()
    mine = select(SigningKeyRow).where(SigningKeyRow.purpose.in_(purposes))
    return list(session.scalars(mine.order_by(*newest_first)))


def load_ring(session: Session, *purposes: Purpose) -> KeyRing:
    """All keys that were not revoked: pending ones too, so that a worker whose clock is behind knows them already."""
    rows = (row for row in signing_keys(session, *purposes) if row.revoked_at is None)
    return KeyRing(VerifyKey(public_key(row), row.signs_from, row.signs_until) for row in rows)


def public_key(row: SigningKeyRow) -> ec.EllipticCurvePublicKey:
    """The key object of a stored public key. Raises `TypeError` if the stored key is of another kind."""
    key = load_der_public_key(row.public_key)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("a stored signing key is not an elliptic-curve key")
    return key
