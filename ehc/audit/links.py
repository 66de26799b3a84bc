"""How a row is chained to the one before it. Pure: no storage here.

`sha256`: `hash = SHA-256(previous hash ‖ SHA-256(entry))`, which PostgreSQL can compute by itself.
`hmac-sm3:N`: `hash = HMAC-SM3(key N, previous hash ‖ entry)` (GB/T 32905, GB/T 15852.2), which needs our key.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.hashes import SM3
from cryptography.hazmat.primitives.hmac import HMAC

CHAINS = 64
FIRST = b"\x00" * 32
"""What the first row of a chain follows."""

SHA256, HMAC_SM3 = "sha256", "hmac-sm3"


@dataclass(frozen=True)
class HmacKey:
    """One version of the 32-byte key that makes HMAC-SM3 links."""

    version: int
    secret: bytes = field(repr=False)

    @property
    def method(self) -> str:
        """What rows linked with this key name as their method, for example `hmac-sm3:1`."""
        return f"{HMAC_SM3}:{self.version}"

    def link(self, previous: bytes, entry: str) -> bytes:
        """The hash of a row, 32 bytes."""
        mac = HMAC(self.secret, SM3())
        mac.update(previous + entry.encode())
        return mac.finalize()


def digest(entry: str) -> bytes:
    """What a SHA-256 link takes in of an entry, 32 bytes."""
    return sha256(entry.encode()).digest()


def sha256_link(previous: bytes, entry: str) -> bytes:
    """The hash of a row, 32 bytes."""
    return sha256(previous + digest(entry)).digest()


def chain_of(subject: str) -> int:
    """The chain in which all acts on a subject are."""
    return sha256(subject.encode()).digest()[0] % CHAINS


def canonical(action: str, *, actor: str, subject: str, at: datetime, facts: Mapping[str, Any]) -> str:
    """The one text of an act: JSON with sorted names, no spaces, times in UTC."""
    told = {
        "action": action,
        "actor": actor,
        "at": at.astimezone(UTC).isoformat(),
        "facts": dict(facts),
        "subject": subject,
    }
    return json.dumps(told, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def tells(entry: str, *, chain: int, action: str, subject: str, at: datetime) -> bool:
    """Whether the columns one searches by say what the chained entry says, in the chain where it belongs."""
    try:
        told = json.loads(entry)
        same = (told["action"], told["subject"], datetime.fromisoformat(told["at"])) == (action, subject, at)
    except (ValueError, TypeError, KeyError):
        return False
    return same and chain == chain_of(subject)
