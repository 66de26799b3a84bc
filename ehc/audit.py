"""The audit log: every act of a person or program leaves a row in the same transaction, chained by hash.

There are several chains, so that acts on different cards do not wait for each other; an act on one subject always lands in
the same chain. The database computes each link: `hash = SHA-256(previous hash ‖ SHA-256(canonical form))`, where the
canonical form is the row's own text. Taking a row out, or changing one, breaks every later link of its chain.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import BigInteger, DateTime, LargeBinary, SmallInteger, Text, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from ehc.db import Base

CHAINS = 64
_FIRST = b"\x00" * 32


class AuditHead(Base):
    """The last link of each chain. Its row lock orders the acts of a chain."""

    __tablename__ = "audit_head"

    chain: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


class AuditRow(Base):
    """One act. `entry` is its canonical form and holds ids and outcomes, never personal data."""

    __tablename__ = "audit"

    chain: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    action: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text, index=True)
    entry: Mapped[str] = mapped_column(Text)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


_APPEND = text("""
    WITH head AS (
        UPDATE audit_head SET seq = seq + 1, hash = sha256(hash || :digest) WHERE chain = :chain RETURNING seq, hash
    )
    INSERT INTO audit (chain, seq, at, action, subject, entry, hash)
    SELECT :chain, seq, :at, :action, :subject, :entry, hash FROM head
    RETURNING seq
""")


def record(
    session: Session, action: str, *, actor: str, subject: str, at: datetime, facts: Mapping[str, Any] | None = None
) -> None:
    """Add one act to the chain of its subject. Part of the caller's transaction; never commits. One statement.

    `facts` hold ids, states and outcomes. Names, numbers, phones and codes do not belong here.
    """
    entry = json.dumps(
        {
            "action": action,
            "actor": actor,
            "at": at.astimezone(UTC).isoformat(),
            "facts": dict(facts or {}),
            "subject": subject,
        },
        ensure_ascii=False,
        sort_keys=True,
        separators=(",", ":"),
    )
    values = {
        "chain": sha256(subject.encode()).digest()[0] % CHAINS,
        "digest": sha256(entry.encode()).digest(),
        "at": at,
        "action": action,
        "subject": subject,
        "entry": entry,
    }
    session.execute(_APPEND, values).one()


def broken_links(session: Session) -> Iterator[tuple[int, int]]:
    """Every (chain, seq) whose hash does not follow from the row before it, and the seq after a chain's end if rows were
    cut off there or its head is gone. Nothing when the log is whole."""
    heads = {head.chain: head for head in session.scalars(select(AuditHead))}
    told = session.scalars(select(AuditRow.chain).distinct())
    for chain in sorted({*range(CHAINS), *heads, *told}):
        head = heads.get(chain)
        last, seq = _FIRST, 0
        rows = select(AuditRow).where(AuditRow.chain == chain).order_by(AuditRow.seq).execution_options(yield_per=1000)
        for row in session.scalars(rows):
            linked = sha256(last + sha256(row.entry.encode()).digest()).digest()
            if linked != row.hash or row.seq != seq + 1 or not _tells_the_same(row):
                yield chain, row.seq
            last, seq = row.hash, row.seq
        if head is None or (seq, last) != (head.seq, head.hash):
            yield chain, seq + 1


def _tells_the_same(row: AuditRow) -> bool:
    """Whether the columns one searches by say what the chained entry says."""
    entry = json.loads(row.entry)
    told = entry["action"], entry["subject"], datetime.fromisoformat(entry["at"])
    return told == (row.action, row.subject, row.at)
