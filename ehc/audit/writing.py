"""Writing to the audit log, in the acting transaction.

Acts are collected in the session and written as the last thing before its transaction commits, in the order of their chains.
Chains are shared by strangers: whoever locked one and went on to wait for a card, or for another chain, could wait for
somebody who waits for the first. A commit that cannot write them fails, so nothing is done without its trace; an act of a
savepoint that is rolled back goes with it.

SHA-256 links are computed by the database: one statement, which locks the head of one chain. HMAC-SM3 links need a key that
the database must never see: the head is locked and read first, the link computed here, then written: two statements. Three
acts or more take three statements by either method.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import event, text
from sqlalchemy.orm import Session, SessionTransaction

from ehc.audit.links import HMAC_SM3, SHA256, HmacKey, canonical, chain_of, digest, sha256_link

KeySource = Callable[[Session], HmacKey]
"""Gives the key of HMAC-SM3 links; asked once in a session, with that session."""

_KEY = "ehc.audit.key"
_WAITING = "ehc.audit.waiting"
_FROM = "ehc.audit.from"
_FEW = 2
"""So many acts are written one by one."""

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
    SELECT chain, seq, at, action, subject, entry, hash, :method
    FROM unnest(CAST(:chains AS smallint[]), CAST(:seqs AS bigint[]), CAST(:times AS timestamptz[]),
        CAST(:actions AS text[]), CAST(:subjects AS text[]), CAST(:entries AS text[]), CAST(:hashes AS bytea[]))
        AS act (chain, seq, at, action, subject, entry, hash)
""")
_MOVE_ALL = text("""
    UPDATE audit_head SET seq = moved.seq, hash = moved.hash
    FROM unnest(CAST(:chains AS smallint[]), CAST(:seqs AS bigint[]), CAST(:hashes AS bytea[])) AS moved (chain, seq, hash)
    WHERE audit_head.chain = moved.chain
""")


def hashing(method: str, key: KeySource) -> dict[str, Any]:
    """What a session must carry (`unit_of_work(engine, info=...)`) so that its acts are linked by this method."""
    return {_KEY: key} if method == HMAC_SM3 else {}


def coming_from(session: Session, where: str, request: str) -> None:
    """Say from where and with which request the acts of this session come: each tells it, as `from` and `request`.

    Not an address in clear, but a name of it.
    """
    session.info[_FROM] = {"from": where, "request": request}


class Act(NamedTuple):
    """One of many acts that `record_all` notes."""

    action: str
    subject: str
    facts: Mapping[str, Any]


class _Entry(NamedTuple):
    """An act as it will be written, and the savepoints that it stands or falls with."""

    chain: int
    at: datetime
    action: str
    subject: str
    entry: str
    within: tuple[SessionTransaction, ...]


def record(
    session: Session, action: str, *, actor: str, subject: str, at: datetime, facts: Mapping[str, Any] | None = None
) -> None:
    """Add one act to the chain of its subject: written when the caller's transaction commits, or by `write`. Never commits.

    `facts` hold ids, states and outcomes. Names, numbers, phones and codes do not belong here.
    """
    record_all(session, [Act(action, subject, facts or {})], actor=actor, at=at)


def record_all(session: Session, acts: Iterable[Act], *, actor: str, at: datetime) -> None:
    """Add many acts, each as `record` does."""
    if not session.in_transaction():
        session.begin()  # what is noted belongs to a transaction, also one that has asked the database nothing yet
    within = _savepoints(session.get_nested_transaction())
    waiting = session.info.setdefault(_WAITING, [])
    where: Mapping[str, str] = session.info.get(_FROM, {})
    for action, subject, facts in acts:
        entry = canonical(action, actor=actor, subject=subject, at=at, facts={**where, **facts})
        waiting.append(_Entry(chain_of(subject), at, action, subject, entry, within))


def write(session: Session) -> None:
    """Write the acts of a transaction so far: for whoever reads the log in it, and last thing before it commits.

    Chains are locked in their order, and kept until the commit: no other rows are to be locked after this.
    """
    waiting: list[_Entry] = session.info.pop(_WAITING, [])
    ordered = sorted(waiting, key=lambda act: act.chain)  # acts of one chain stay in the order in which they were done
    if len(ordered) > _FEW:
        _write_all(session, ordered, _key(session))
        return
    for act in ordered:
        _write_one(session, act, _key(session))


def _write_one(session: Session, act: _Entry, key: HmacKey | None) -> None:
    values: dict[str, Any] = {name: getattr(act, name) for name in ("chain", "at", "action", "subject", "entry")}
    if key is None:
        session.execute(_APPEND, values | {"digest": digest(act.entry), "method": SHA256}).one()
        return
    previous = session.execute(_LOCK, {"chain": act.chain}).scalar_one()
    session.execute(_APPEND_LINKED, values | {"hash": key.link(previous, act.entry), "method": key.method}).one()


def _write_all(session: Session, ordered: list[_Entry], key: HmacKey | None) -> None:
    found = session.execute(_LOCK_ALL, {"chains": sorted({act.chain for act in ordered})})
    heads: dict[int, tuple[int, bytes]] = {row.chain: (row.seq, row.hash) for row in found}
    rows = []
    for act in ordered:
        seq, previous = heads[act.chain]
        linked = key.link(previous, act.entry) if key else sha256_link(previous, act.entry)
        heads[act.chain] = seq + 1, linked
        rows.append((act.chain, seq + 1, act.at, act.action, act.subject, act.entry, linked))
    names = ("chains", "seqs", "times", "actions", "subjects", "entries", "hashes")
    columns = zip(names, map(list, zip(*rows, strict=True)), strict=True)
    session.execute(_INSERT_ALL, {"method": key.method if key else SHA256} | dict(columns))
    seqs, hashes = map(list, zip(*heads.values(), strict=True))
    session.execute(_MOVE_ALL, {"chains": list(heads), "seqs": seqs, "hashes": hashes})


def _savepoints(innermost: SessionTransaction | None) -> tuple[SessionTransaction, ...]:
    """A savepoint with all that it lies in."""
    found = []
    while innermost is not None and innermost.nested:
        found.append(innermost)
        innermost = innermost.parent
    return tuple(found)


@event.listens_for(Session, "before_commit")
def _write_before_commit(session: Session) -> None:
    if not session.in_nested_transaction():  # else it is a savepoint that is released
        write(session)


@event.listens_for(Session, "after_soft_rollback")
def _forget_what_was_rolled_back(session: Session, ended: SessionTransaction) -> None:
    while ended.parent is not None and not ended.nested:  # a flush that failed undoes the savepoint that it was in
        ended = ended.parent
    waiting: list[_Entry] = session.info.get(_WAITING, [])
    waiting[:] = [act for act in waiting if ended.nested and ended not in act.within]


@event.listens_for(Session, "after_transaction_end")
def _forget_what_was_never_committed(session: Session, ended: SessionTransaction) -> None:
    if ended.parent is None:
        session.info.pop(_WAITING, None)


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
