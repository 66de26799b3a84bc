"""Revoking a signing key, decided by two people."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from ehc.approvals.kinds import Approved, Kind, Standing
from ehc.callers import Right
from ehc.crypto.keys import KeyId
from ehc.crypto.wrapping import KeyEncryptingKey
from ehc.keystore import signing_keys


def approval_kind(kek: KeyEncryptingKey) -> Kind:
    """How the end of a key is decided. Raises `NoSuchKey` for one that is revoked already."""

    def carry_out(session: Session, approved: Approved) -> Mapping[str, Any]:
        key_id, facts = _key(approved.arguments), {"approval_id": str(approved.id)}
        successor = signing_keys.revoke(session, kek, key_id, now=approved.now, actor=approved.by.actor, facts=facts)
        return {"successor": successor.hex() if successor else None}

    return Kind(right=Right.KEYS_REVOKE, look=_look, carry_out=carry_out)


def _look(session: Session, arguments: Mapping[str, Any]) -> Standing:
    key_id = _key(arguments)
    return Standing(key_id.hex(), signing_keys.require_good(session, key_id))


def _key(arguments: Mapping[str, Any]) -> KeyId:
    return KeyId(bytes.fromhex(arguments["key_id"]))
