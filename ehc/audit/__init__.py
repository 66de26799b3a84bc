"""The audit log: every act of a person or program leaves a row in the same transaction, chained by hash.

There are 64 chains, so that acts on different cards do not wait for each other; an act on one subject always lands in the
same chain. Taking a row out, or changing one, breaks the next link of its chain. Now and then a tie, signed, holds the
heads of all chains together, so a chain that was computed anew from the start is found too. Why it is so:
`docs/decisions/0006-audit.md`.
"""

from ehc.audit.export import lines
from ehc.audit.findings import Fault, Finding
from ehc.audit.following import length, still, untied_since, verify
from ehc.audit.links import CHAINS, HMAC_SM3, SHA256, HmacKey, sha256_link
from ehc.audit.models import AuditHead, AuditRow, AuditTie
from ehc.audit.proofs import Keys
from ehc.audit.role import too_strong, warn_if_too_strong
from ehc.audit.ties import Made, TieSigner, TornLog, tie
from ehc.audit.writing import Act, KeySource, coming_from, hashing, record, record_all, write

__all__ = [
    "CHAINS",
    "HMAC_SM3",
    "SHA256",
    "Act",
    "AuditHead",
    "AuditRow",
    "AuditTie",
    "Fault",
    "Finding",
    "HmacKey",
    "KeySource",
    "Keys",
    "Made",
    "TieSigner",
    "TornLog",
    "coming_from",
    "hashing",
    "length",
    "lines",
    "record",
    "record_all",
    "sha256_link",
    "still",
    "tie",
    "too_strong",
    "untied_since",
    "verify",
    "warn_if_too_strong",
    "write",
]
