"""Checking the ties themselves: none missing, each in order, unchanged, and signed by a key that is ours."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ehc.audit.findings import Fault, Finding
from ehc.audit.links import FIRST, HmacKey
from ehc.audit.models import AuditTie
from ehc.audit.ties import FIRST_HEAD_LINE, METHOD_LINE, Made, as_written, body_hash, heads_of, previous_of
from ehc.crypto.keys import BadSignature, KeyId, VerifyKey


@dataclass(frozen=True)
class Keys:
    """What the log is checked with: HMAC keys by the method they make, and every key that ever signed ties.

    A revoked key stands in `ties` until it was revoked, and in `revoked`: a later tie must vouch for its own.
    """

    hmac: Mapping[str, HmacKey] = field(default_factory=dict)
    ties: Mapping[KeyId, VerifyKey] = field(default_factory=dict)
    revoked: Set[KeyId] = frozenset()


class Tied(NamedTuple):
    """What one tie holds of one chain, and the method that was in force when it was made."""

    tie: int
    method: str
    seq: int
    hash: bytes


class TieCheck:
    """Follows the ties once, in constant memory. Then `bad` are those that prove nothing, `newest` what the last one holds."""

    def __init__(self, session: Session, keys: Keys) -> None:
        self._session, self._keys = session, keys
        self.last = 0
        self.bad: set[int] = set()
        self.newest: dict[int, int] = {}
        self._previous: bytes | None = FIRST
        self._unvouched: int | None = None

    def findings(self, kept: Made | None = None) -> Iterator[Finding]:
        """What is wrong with the ties. `kept` is one whose hash was kept outside the database."""
        found = kept is None
        for row in self._session.scalars(select(AuditTie).order_by(AuditTie.seq).execution_options(yield_per=100)):
            if row.seq > self.last + 1:
                yield Finding(Fault.TIE_MISSING, None, self.last + 1, row.seq - 1)
                self._previous = None
            yield from self._judge(row)
            found = found or kept == (row.seq, body_hash(row.body))
            self._session.expunge(row)
        if self._unvouched is not None:
            yield Finding(Fault.TIE_UNVOUCHED, None, self._unvouched, self.last)
        if kept is not None and not found:
            yield Finding(Fault.TIE_NOT_KEPT, None, kept.seq)

    def of(self, chain: int) -> Iterator[Tied]:
        """What the ties hold of one chain, in their order. Bad ties are left out: they are reported by themselves."""
        line = func.split_part(AuditTie.body, "\n", FIRST_HEAD_LINE + chain)
        method = func.split_part(AuditTie.body, "\n", METHOD_LINE)
        rows = select(AuditTie.seq, method, line).order_by(AuditTie.seq).execution_options(yield_per=1000)
        with self._session.execute(rows) as found:  # closed also if left half-read
            for seq, named, head in found:
                if seq not in self.bad:
                    _, _, end, digits = head.split(" ")
                    yield Tied(seq, named.removeprefix("method "), int(end), bytes.fromhex(digits))

    def _judge(self, row: AuditTie) -> Iterator[Finding]:
        fault = self._fault(row)
        self.last = row.seq
        if fault is None:
            self._previous = body_hash(row.body)
            self.newest = {head.chain: head.seq for head in heads_of(row.body)}
            if row.key_id not in self._keys.revoked:
                self._unvouched = None
            elif self._unvouched is None:
                self._unvouched = row.seq
        else:
            self._previous = None
            self.bad.add(row.seq)
            yield Finding(fault, None, row.seq)

    def _fault(self, row: AuditTie) -> Fault | None:
        try:
            previous = previous_of(row.body) if self._previous is None else self._previous
        except ValueError:
            return Fault.TIE_CHANGED
        if not as_written(row, previous):
            return Fault.TIE_CHANGED
        key = self._keys.ties.get(KeyId(row.key_id))
        if key is None or not key.covers(int(row.at.timestamp()), skew=0):
            return Fault.TIE_FORGED
        try:
            key.verify(row.body.encode(), row.signature)
        except BadSignature:
            return Fault.TIE_CHANGED
        return None
