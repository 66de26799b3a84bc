"""Private side of the signing keys: making, rotating and revoking them, and the signers that hold them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from ehc import audit
from ehc.crypto.keys import KeyId, VerifyKey
from ehc.crypto.signer import SoftwareSigner, check_pair
from ehc.crypto.wrapping import KeyEncryptingKey
from ehc.errors import EhcError, Text
from ehc.keystore.models import SigningKeyRow
from ehc.keystore.ring import KeyState, Purpose, public_key, signing_keys, state_of

HEAD_START = timedelta(seconds=60)
"""How long a new key is pending: every worker reloads within 30 s, so all know it before it signs."""


OPERATOR = "operator"
"""Whoever has the machine, in the audit log."""


class NoSuchKey(EhcError):
    """No key has this id, or it is revoked already."""

    code = "key-not-found"


class NoActiveKey(EhcError):
    """Nothing can be signed: no key of this purpose is active."""

    code = "no-active-key"


@dataclass(frozen=True)
class DatedSigner:
    """A signer and the time in which it may sign."""

    signer: SoftwareSigner
    since: datetime
    until: datetime | None


def create(
    session: Session,
    kek: KeyEncryptingKey,
    purpose: Purpose,
    *,
    signs_from: datetime,
    now: datetime,
    actor: str = OPERATOR,
) -> KeyId:
    """Make and store a key pair; returns its id. Does not retire any other."""
    signer = SoftwareSigner.generate()
    row = SigningKeyRow(
        id=signer.key_id,
        purpose=purpose,
        public_key=signer.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        wrapped_private_key=kek.wrap(signer.dump(), _context(purpose, signer.key_id)),
        signs_from=_whole(signs_from),
    )
    session.add(row)
    session.flush()
    audit.record(session, "key.created", actor=actor, subject=signer.key_id.hex(), at=now)
    return signer.key_id


def rotate(
    session: Session, kek: KeyEncryptingKey, purpose: Purpose, *, now: datetime, head_start: timedelta = HEAD_START
) -> KeyId:
    """Make a key that takes over after `head_start`; until then the present one signs. Returns the new key's id."""
    takes_over = _whole(now + head_start)
    still_signing = or_(SigningKeyRow.signs_until.is_(None), SigningKeyRow.signs_until > takes_over)
    session.execute(
        update(SigningKeyRow)
        .where(SigningKeyRow.purpose == purpose, SigningKeyRow.revoked_at.is_(None), still_signing)
        .values(signs_until=takes_over)
    )
    return create(session, kek, purpose, signs_from=takes_over, now=now)


def revoke(
    session: Session,
    kek: KeyEncryptingKey,
    key_id: KeyId,
    *,
    now: datetime,
    actor: str = OPERATOR,
    facts: Mapping[str, Any] | None = None,
) -> KeyId | None:
    """Stop a key at once. If nothing else signs, a successor starts at once: its id is returned. Raises `NoSuchKey`."""
    revoked = session.execute(
        update(SigningKeyRow)
        .where(SigningKeyRow.id == key_id, SigningKeyRow.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(SigningKeyRow.purpose)
    ).scalar_one_or_none()
    if revoked is None:
        raise _no_such_key()
    audit.record(session, "key.revoked", actor=actor, subject=key_id.hex(), at=now, facts=facts)
    purpose = Purpose(revoked)
    session.expire_all()
    if any(state_of(row, now) is KeyState.ACTIVE for row in signing_keys(session, purpose)):
        return None
    return create(session, kek, purpose, signs_from=now, now=now, actor=actor)


def require_good(session: Session, key_id: KeyId) -> str:
    """The purpose of a key that was not revoked. Raises `NoSuchKey`."""
    live = SigningKeyRow.id == key_id, SigningKeyRow.revoked_at.is_(None)
    purpose = session.scalar(select(SigningKeyRow.purpose).where(*live))
    if purpose is None:
        raise _no_such_key()
    return purpose


def _no_such_key() -> NoSuchKey:
    return NoSuchKey(Text("没有这个密钥，或已吊销。", "There is no such key, or it is revoked already."))


def load_signers(session: Session, kek: KeyEncryptingKey, purpose: Purpose) -> tuple[DatedSigner, ...]:
    """Every signer of a purpose that was not revoked, the newest first, each checked against its published key."""
    return tuple(prove(row, kek) for row in signing_keys(session, purpose) if row.revoked_at is None)


def prove(row: SigningKeyRow, kek: KeyEncryptingKey) -> DatedSigner:
    """The signer of a stored key. Raises `KekError`, `BadSignature` or `ValueError` unless it is the one we publish."""
    signer = SoftwareSigner.load(kek.unwrap(row.wrapped_private_key, _context(row.purpose, row.id)))
    check_pair(signer, VerifyKey(public_key(row), row.signs_from))
    return DatedSigner(signer, row.signs_from, row.signs_until)


def signer_at(signers: tuple[DatedSigner, ...], now: datetime) -> SoftwareSigner:
    """The newest signer whose time has come. Raises `NoActiveKey`."""
    for dated in signers:
        if dated.since <= now and (dated.until is None or now < dated.until):
            return dated.signer
    raise NoActiveKey(
        Text("没有可用的签名密钥，请联系运维人员。", "No signing key is active. Tell the operators."), retry_after=5
    )


def exists(session: Session, purpose: Purpose) -> bool:
    """Whether any key of this purpose was ever made."""
    return session.scalar(select(SigningKeyRow.id).where(SigningKeyRow.purpose == purpose).limit(1)) is not None


def _whole(when: datetime) -> datetime:
    """Keys turn on the full second, as their published dates say (`nbf`, `exp`)."""
    return when.replace(microsecond=0)


def _context(purpose: str, key_id: bytes) -> str:
    return f"signing_key:{purpose}:{key_id.hex()}"
