"""The keys of the audit log: those that link its acts and sign its ties, and all that ever did, to check it with."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy.orm import Session

from ehc import audit
from ehc.crypto.keys import BadSignature, KeyId, VerifyKey
from ehc.crypto.wrapping import KekError, KeyEncryptingKey
from ehc.keystore import secret_keys, signing_keys
from ehc.keystore.models import SigningKeyRow
from ehc.keystore.ring import Purpose, public_key
from ehc.keystore.ring import signing_keys as keys_of


def newest(session: Session, kek: KeyEncryptingKey) -> audit.HmacKey:
    """The key for HMAC-SM3 links. Raises `KekError`, or `LookupError` before `ehc keys init`."""
    return secret_keys.audit_keys(session, kek)[0]


def tie(session: Session, kek: KeyEncryptingKey, *, now: datetime) -> audit.Made | None:
    """Tie the chains of the audit log with the key that signs now; None if no act came since the last tie.

    Never commits. Raises `KekError`, or `NoActiveKey` before `ehc keys init`.
    """
    signer = signing_keys.signer_at(signing_keys.load_signers(session, kek, Purpose.AUDIT), now)
    return audit.tie(session, signer, now=now)


def checking(session: Session, kek: KeyEncryptingKey) -> audit.Keys:
    """Everything to check the log with, of all times. Raises `KekError`, or `LookupError` before `ehc keys init`."""
    hmac = {key.method: key for key in secret_keys.audit_keys(session, kek)}
    revoked = {KeyId(row.id) for row in keys_of(session, Purpose.AUDIT) if row.revoked_at is not None}
    return audit.Keys(hmac, {key.id: key for key in _proven(session, kek)}, revoked)


def _proven(session: Session, kek: KeyEncryptingKey) -> Iterator[VerifyKey]:
    """The public keys that our own wrapped private key proves: who can only write into the database cannot add one."""
    for row in keys_of(session, Purpose.AUDIT):
        try:
            signing_keys.prove(row, kek)
        except (KekError, BadSignature, ValueError):
            continue
        yield VerifyKey(public_key(row), row.signs_from, _end(row))


def _end(row: SigningKeyRow) -> datetime | None:
    ends = [end for end in (row.signs_until, row.revoked_at) if end is not None]
    return min(ends, default=None)
