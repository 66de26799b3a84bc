"""Writing to the audit log, in the acting transaction.

SHA-256 links are computed by the database: one statement, which locks the head of one chain. HMAC-SM3 links need a key that
the database must never see: the head is locked and read first, the link computed here, then written: two statements.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from ehc.audit.links import HMAC_SM3, SHA256, HmacKey, canonical, chain_of, digest

KeySource = Callable[[Session], HmacKey]
"""Gives the key of HMAC-SM3 links; asked once in a session, with that session."""

_KEY = "ehc.audit.key"

_APPEND = text("""
    WITH head AS (
        UPDATE audit_head SET seq = seq + 1, hash = sha256(hash || :digest) WHERE chain = :chain RETURNING seq, hash
    )
    INSERT INTO audit (chain, seq, at, action, subject, entry, hash, method)
    SELECT :chain, seq, :at, :action, :subject, :entry, hash, :method FROM head
    RETURNING seq
""")
_LOCK = text("SELECT hash FROM audit_head WHERE chain = :chain FOR UPDATE")
_APPEND_LINKED = text("""
    WITH head AS (UPDATE audit_head SET seq = seq + 1, hash = :hash WHERE chain = :chain RETURNING seq)
    INSERT INTO audit (chain, seq, at, action, subject, entry, hash, method)
    SELECT :chain, seq, :at, :action, :subject, :entry, :hash, :method FROM head
    RETURNING seq
""")


def hashing(method: str, key: KeySource) -> dict[str, Any]:
    """What a session must carry (`unit_of_work(engine, info=...)`) so that its acts are linked by this method."""
    return {_KEY: key} if method == HMAC_SM3 else {}


def record(
    session: Session, action: str, *, actor: str, subject: str, at: datetime, facts: Mapping[str, Any] | None = None
) -> None:
    """Add one act to the chain of its subject. Part of the caller's transaction; never commits.

    `facts` hold ids, states and outcomes. Names, numbers, phones and codes do not belong here.
    """
    entry = canonical(action, actor=actor, subject=subject, at=at, facts=facts or {})
    chain = chain_of(subject)
    values: dict[str, Any] = {"chain": chain, "at": at, "action": action, "subject": subject, "entry": entry}
    key = _key(session)
    if key is None:
        session.execute(_APPEND, values | {"digest": digest(entry), "method": SHA256}).one()
        return
    previous = session.execute(_LOCK, {"chain": chain}).scalar_one()
    session.execute(_APPEND_LINKED, values | {"hash": key.link(previous, entry), "method": key.method}).one()


def method_in_force(session: Session) -> str:
    """The method by which this session links: `sha256` or `hmac-sm3`."""
    return HMAC_SM3 if _KEY in session.info else SHA256


def _key(session: Session) -> HmacKey | None:
    source = session.info.get(_KEY)
    if source is None or isinstance(source, HmacKey):
        return source
    key: HmacKey = source(session)
    session.info[_KEY] = key
    return key
