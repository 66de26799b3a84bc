"""Ties: the heads of all chains at one moment in one text, with the hash of the tie before, signed.

A tie makes computing a chain anew useless: what it holds of the chain cannot be said again without the signing key. Each is
announced by an act `audit.tied` in the log, so that ties cannot be taken off the end without taking rows off a chain.

A body is these lines, in this order, each ended by a line feed: `ehc-audit-tie-1`, `seq N`, `at TIME`, `previous HEX` (the
SHA-256 of the body before; zeros in the first), `method NAME` (how acts were linked then: `sha256` or `hmac-sm3`),
`key HEX` (8 bytes), and for each chain from 0 to 63 `head CHAIN SEQ HEX`.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple, Protocol

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from ehc.audit.links import CHAINS, FIRST
from ehc.audit.models import AuditHead, AuditTie
from ehc.audit.writing import method_in_force, record, write
from ehc.errors import EhcError, Text

TIED = "audit.tied"
"""The act that announces a tie; its facts name it."""
METHOD_LINE, FIRST_HEAD_LINE = 5, 7
"""Numbers of lines of a body, from 1."""
_FORM = "ehc-audit-tie-1"


class TornLog(EhcError):
    """The head of a chain is gone, so there is nothing that could be signed for it."""

    code = "audit-log-torn"


class TieSigner(Protocol):
    """What signs ties: a signer of the keystore."""

    @property
    def key_id(self) -> bytes:
        """The 8-byte name of the key."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The 64-byte `r ‖ s` signature of `data`."""
        ...


class Head(NamedTuple):
    """Where a chain ends: `seq` 0 and 32 zero bytes while it is empty."""

    chain: int
    seq: int
    hash: bytes


class Made(NamedTuple):
    """A tie and the SHA-256 of its body. Kept elsewhere, the two show later that no tie up to it was taken out."""

    seq: int
    hash: bytes


def tie(session: Session, signer: TieSigner, *, now: datetime) -> Made | None:
    """Tie the chains together as they are; None if no act came since the last tie. Never commits.

    Waits for no act: what is not committed yet is in the next tie. Two at once make one after the other. Raises `TornLog`.
    """
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext('ehc.audit.tie'))"))
    last = session.scalars(select(AuditTie).order_by(AuditTie.seq.desc()).limit(1)).one_or_none()
    before = _heads(session)
    if _told(before) == (_told_by(last.body) if last else _told(head._replace(seq=0, hash=FIRST) for head in before)):
        return None
    seq = last.seq + 1 if last else 1
    record(session, TIED, actor="service", subject="audit", at=now, facts={"tie": seq})
    write(session)
    previous = body_hash(last.body) if last else FIRST
    body = _Body(seq, now, previous, method_in_force(session), signer.key_id, _told(_heads(session))).text()
    row = AuditTie(seq=seq, at=now, body=body, key_id=signer.key_id, signature=signer.sign(body.encode()))
    session.add(row)
    session.flush()
    return Made(seq, body_hash(body))


def body_hash(body: str) -> bytes:
    """What the next tie holds of this one, 32 bytes."""
    return sha256(body.encode()).digest()


def heads_of(body: str) -> list[Head]:
    """The heads in a body, one for each chain, in order. Raises `ValueError` if it has not the form of one."""
    found = []
    for line in body.splitlines()[FIRST_HEAD_LINE - 1 :]:
        word, chain, seq, digits = line.split(" ")
        if word != "head":
            raise ValueError
        found.append(Head(int(chain), int(seq), bytes.fromhex(digits)))
    if [head.chain for head in found] != list(range(CHAINS)):
        raise ValueError
    return found


def as_written(row: AuditTie, previous: bytes) -> bool:
    """Whether a tie's body is what its columns and the hash of the tie before give."""
    lines = row.body.splitlines(keepends=True)
    try:
        method = lines[METHOD_LINE - 1].removeprefix("method ").removesuffix("\n")
        told = _told(heads_of(row.body))
    except (ValueError, IndexError):
        return False
    return row.body == _Body(row.seq, row.at, previous, method, row.key_id, told).text()


def previous_of(body: str) -> bytes:
    """The hash of the tie before, as a body tells it. Raises `ValueError` if it has not the form of one."""
    _, _, _, line, *_ = body.splitlines()
    return bytes.fromhex(line.removeprefix("previous "))


def _heads(session: Session) -> list[Head]:
    columns = AuditHead.chain, AuditHead.seq, AuditHead.hash
    heads = [Head(*row) for row in session.execute(select(*columns).order_by(AuditHead.chain))]
    if [head.chain for head in heads] != list(range(CHAINS)):
        raise TornLog(
            Text(
                "审计日志有链尾缺失，请运行 ehc audit verify。",
                "Heads of audit chains are missing. Run `ehc audit verify`.",
            )
        )
    return heads


def _told(heads: Iterable[Head]) -> str:
    return "".join(f"head {head.chain} {head.seq} {head.hash.hex()}\n" for head in heads)


def _told_by(body: str) -> str:
    return "".join(body.splitlines(keepends=True)[FIRST_HEAD_LINE - 1 :])


class _Body(NamedTuple):
    seq: int
    at: datetime
    previous: bytes
    method: str
    key_id: bytes
    heads: str

    def text(self) -> str:
        when = self.at.astimezone(UTC).isoformat()
        named = {"seq": self.seq, "at": when, "previous": self.previous.hex(), "method": self.method}
        lines = (f"{name} {value}\n" for name, value in (named | {"key": self.key_id.hex()}).items())
        return f"{_FORM}\n{''.join(lines)}{self.heads}"
