"""Writing to the audit log, in the acting transaction.

SHA-256 links are computed by the database: one statement, which locks the head of one chain. HMAC-SM3 links need a key that
the database must never see: the head is locked and read first, the link computed here, then written: two statements.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from ehc.audit.links import HMAC_SM3, SHA256, HmacKey, canonical, chain_of, digest, sha256_link

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

_LOCK_ALL = text("SELECT chain, seq, hash FROM audit_head WHERE chain = ANY(:chains) ORDER BY chain FOR UPDATE")
_INSERT_ALL = text("""
    INSERT INTO audit (chain, seq, at, action, subject, entry, hash, method)
    SELECT chain, seq, :at, action, subject, entry, hash, :method
    FROM unnest(CAST(:chains AS smallint[]), CAST(:seqs AS bigint[]), CAST(:actions AS text[]),
        CAST(:subjects AS text[]), CAST(:entries AS text[]), CAST(:hashes AS bytea[]))
        AS act (chain, seq, action, subject, entry, hash)
""")
_MOVE_ALL = text("""
    UPDATE audit_head SET seq = moved.seq, hash = moved.hash
    FROM unnest(CAST(:chains AS smallint[]), CAST(:seqs AS bigint[]), CAST(:hashes AS bytea[])) AS moved (chain, seq, hash)
    WHERE audit_head.chain = moved.chain
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


class Act(NamedTuple):
    """One of many acts that `record_all` writes."""

    action: str
    subject: str
    facts: Mapping[str, Any]


def record_all(session: Session, acts: Iterable[Act], *, actor: str, at: datetime) -> None:
    """Add many acts, each as `record` does, in three statements however many. Never commits.

    Chains are locked in their order: two callers that have no other chain locked cannot lock each other out.
    """
    ordered = sorted(acts, key=lambda act: (chain_of(act.subject), act.subject))
    if not ordered:
        return
    key = _key(session)
    found = session.execute(_LOCK_ALL, {"chains": sorted({chain_of(act.subject) for act in ordered})})
    heads: dict[int, tuple[int, bytes]] = {row.chain: (row.seq, row.hash) for row in found}
    rows = []
    for act in ordered:
        chain = chain_of(act.subject)
        seq, previous = heads[chain]
        entry = canonical(act.action, actor=actor, subject=act.subject, at=at, facts=act.facts)
        linked = key.link(previous, entry) if key else sha256_link(previous, entry)
        heads[chain] = seq + 1, linked
        rows.append((chain, seq + 1, act.action, act.subject, entry, linked))
    names = ("chains", "seqs", "actions", "subjects", "entries", "hashes")
    columns = zip(names, map(list, zip(*rows, strict=True)), strict=True)
    shared = {"at": at, "method": key.method if key else SHA256}
    session.execute(_INSERT_ALL, shared | dict(columns))
    seqs, hashes = map(list, zip(*heads.values(), strict=True))
    session.execute(_MOVE_ALL, {"chains": list(heads), "seqs": seqs, "hashes": hashes})


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
