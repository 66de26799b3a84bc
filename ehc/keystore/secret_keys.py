"""Symmetric keys: for sealing fields, for blind indexes, for the `cti` of codes, the audit log, and the province's own.

The security key (安全密钥) makes card ids, the protection key (保护密钥) the validity of national codes (national rules 1.2).
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from secrets import token_bytes

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ehc import audit
from ehc.codes.cti import CtiKey
from ehc.codes.national import SAMPLE_KEYS
from ehc.crypto.sealed import BlindIndex, Sealer
from ehc.crypto.wrapping import KeyEncryptingKey
from ehc.errors import EhcError, Text
from ehc.keystore.models import SecretKeyRow


class SecretPurpose(StrEnum):
    """What a symmetric key is for. `AUDIT` comes first: that the others were made may already be recorded with it."""

    AUDIT = "audit"
    SEAL = "seal"
    BLIND_INDEX = "blind-index"
    CTI = "cti"
    CARD_ID = "card-id"
    PROTECTION = "protection"


_SIZES = {
    SecretPurpose.AUDIT: 32,
    SecretPurpose.SEAL: 32,
    SecretPurpose.BLIND_INDEX: 32,
    SecretPurpose.CTI: 16,
    SecretPurpose.CARD_ID: 16,
    SecretPurpose.PROTECTION: 16,
}


class SampleKeyRefused(EhcError):
    """A key printed in the specification protects nothing."""

    code = "sample-key-refused"


@dataclass(frozen=True)
class Secrets:
    """The symmetric keys of the service, ready for use.

    `security_key` makes card ids (national rules 1.2). `protection_keys` are by version, the greatest in use; older ones
    still open the codes that they made. `audit_key` links the audit log where HMAC-SM3 is set.
    """

    sealer: Sealer
    blind_index: BlindIndex
    cti: CtiKey
    security_key: bytes = field(repr=False)
    security_key_version: int
    protection_keys: Mapping[int, bytes] = field(repr=False)
    audit_key: audit.HmacKey
    sandbox: bool = False
    """Whether what is made and found with them is of synthetic people."""

    def of_sandbox(self) -> "Secrets":
        """The same keys for the sandbox: its blind indexes are others, so that neither world finds anybody of the other.

        So are its card ids: else whoever knows a name and a number would learn there what a real person's static code says.
        """
        return replace(
            self,
            blind_index=BlindIndex(self.blind_index.of("world", "sandbox")),
            security_key=hmac.digest(self.security_key, b"sandbox", "sha256")[:16],
            sandbox=True,
        )


def create_missing(session: Session, kek: KeyEncryptingKey, *, at: datetime) -> list[SecretPurpose]:
    """Make a random key, version 1, for each purpose that has none; returns those purposes."""
    held = set(session.scalars(select(SecretKeyRow.purpose)))
    missing = [purpose for purpose in SecretPurpose if purpose not in held]
    for purpose in missing:
        store(session, kek, purpose, token_bytes(_SIZES[purpose]), at=at)
    return missing


def store(session: Session, kek: KeyEncryptingKey, purpose: SecretPurpose, key: bytes, *, at: datetime) -> int:
    """Wrap and keep a key as the newest version of its purpose; returns the version.

    Raises `SampleKeyRefused` for a key of the specification and `ValueError` for a wrong size.
    """
    _refuse_sample(key)
    if len(key) != _SIZES[purpose]:
        raise ValueError(f"a {purpose} key has {_SIZES[purpose]} bytes")
    newest = session.scalar(select(func.max(SecretKeyRow.version)).where(SecretKeyRow.purpose == purpose)) or 0
    version = newest + 1
    wrapped = kek.wrap(key, _context(purpose, version))
    session.add(SecretKeyRow(purpose=purpose, version=version, wrapped_key=wrapped))
    session.flush()
    audit.record(session, "key.created", actor="operator", subject=f"{purpose}:{version}", at=at)
    return version


def load(session: Session, kek: KeyEncryptingKey) -> Secrets:
    """All symmetric keys. Raises `KekError` for another key-encrypting key, `SampleKeyRefused`, or `LookupError`."""
    keys: dict[SecretPurpose, dict[int, bytes]] = {purpose: {} for purpose in SecretPurpose}
    for row in session.scalars(select(SecretKeyRow)):
        purpose = SecretPurpose(row.purpose)
        keys[purpose][row.version] = kek.unwrap(row.wrapped_key, _context(purpose, row.version))
    for purpose, versions in keys.items():
        if not versions:
            raise _no_key(purpose)
    version, security_key = max(keys[SecretPurpose.CARD_ID].items())
    for key in (security_key, *keys[SecretPurpose.PROTECTION].values()):
        _refuse_sample(key)
    return Secrets(
        sealer=Sealer(keys[SecretPurpose.SEAL]),
        blind_index=BlindIndex(max(keys[SecretPurpose.BLIND_INDEX].items())[1]),
        cti=CtiKey(max(keys[SecretPurpose.CTI].items())[1]),
        security_key=security_key,
        security_key_version=version,
        protection_keys=keys[SecretPurpose.PROTECTION],
        audit_key=audit.HmacKey(*max(keys[SecretPurpose.AUDIT].items())),
    )


def audit_keys(session: Session, kek: KeyEncryptingKey) -> list[audit.HmacKey]:
    """Every version of the key that links the audit log by HMAC-SM3, the newest first. Raises `KekError`, `LookupError`."""
    purpose = SecretPurpose.AUDIT
    newest_first = SecretKeyRow.version.desc()
    rows = session.scalars(select(SecretKeyRow).where(SecretKeyRow.purpose == purpose).order_by(newest_first))
    found = [audit.HmacKey(row.version, kek.unwrap(row.wrapped_key, _context(purpose, row.version))) for row in rows]
    if not found:
        raise _no_key(purpose)
    return found


def _no_key(purpose: SecretPurpose) -> LookupError:
    return LookupError(f"no {purpose} key is stored; run `ehc keys init`")


def _refuse_sample(key: bytes) -> None:
    if key in SAMPLE_KEYS:
        detail = Text(
            "这是规范中公开的示例密钥，不能使用。", "This key is printed in the specification. Use a key of your own."
        )
        raise SampleKeyRefused(detail)


def _context(purpose: SecretPurpose, version: int) -> str:
    return f"secret_key:{purpose}:{version}"
