"""As whom a platform knows somebody within one app, and the person to whom that leads. Nothing here commits.

What is locked here comes after cards and people (docs/architecture.md, Order of locks), and before the audit log.
"""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ehc import audit
from ehc.core.ids import uuid7
from ehc.crypto.sealed import BlindIndex, Sealer
from ehc.outside.platforms import Platform, PlatformPerson
from ehc.residents.models import ResidentRow
from ehc.sessions import tokens
from ehc.sessions.models import PlatformIdentityRow, ResidentSessionRow

KEPT = timedelta(days=90)
"""How long a session that is over, or an identity that leads to nobody, is kept."""
SMS_LINK_IDLE = timedelta(days=60)
"""A link by phone alone that was not used for so long ends: carriers give a number to somebody else after ninety days."""


def known(
    session: Session,
    client_id: UUID,
    platform: Platform,
    who: PlatformPerson,
    *,
    sealer: Sealer,
    blind_index: BlindIndex,
    now: datetime,
) -> PlatformIdentityRow:
    """The identity of somebody within an app, made if it is new, held until the transaction ends."""
    index = blind_index.of("platform-identity", f"{client_id}:{platform}:{who.external_id}")
    identity_id = uuid7(now)
    new = insert(PlatformIdentityRow).values(
        id=identity_id,
        client_id=client_id,
        platform=platform,
        external_id=sealer.seal(who.external_id, _place("external_id", identity_id)),
        external_index=index,
        created_at=now,
        seen_at=now,
    )
    session.execute(new.on_conflict_do_nothing(index_elements=["client_id", "platform", "external_index"]))
    mine = PlatformIdentityRow.client_id == client_id, PlatformIdentityRow.platform == platform
    wanted = select(PlatformIdentityRow).where(*mine, PlatformIdentityRow.external_index == index).with_for_update()
    row = session.scalars(wanted.execution_options(populate_existing=True)).one()
    if who.union_id is not None:
        row.union_id = sealer.seal(who.union_id, _place("union_id", row.id))
    _drop_what_counts_no_more(session, row, now=now)
    row.seen_at = now
    session.flush()
    return row


def held(session: Session, identity_id: UUID) -> PlatformIdentityRow:
    """An identity as it is now, held until the transaction ends."""
    return session.get_one(PlatformIdentityRow, identity_id, with_for_update=True, populate_existing=True)


def tie(session: Session, identity: PlatformIdentityRow, resident: ResidentRow, *, now: datetime) -> None:
    """Let an identity lead to a person whose registered phone was just proved. The caller holds all three."""
    identity.resident_id, identity.phone_index, identity.linked_at = resident.id, resident.phone_index, now
    session.flush()


def untie(session: Session, identity: PlatformIdentityRow) -> None:
    """Let an identity lead to nobody. Its sessions stay, and touch no card."""
    identity.resident_id = identity.phone_index = identity.linked_at = None
    session.flush()


def untie_person(session: Session, resident_id: UUID, *, why: str, now: datetime) -> None:
    """Let no identity lead to a person any more, and end the sessions that did."""
    theirs = _hold_those_of(session, resident_id)
    tokens.end_of_identities(session, theirs, why=why, now=now)
    nobody = update(PlatformIdentityRow).where(theirs).values(resident_id=None, phone_index=None, linked_at=None)
    session.execute(nobody.execution_options(synchronize_session=False))


def forget_person(session: Session, resident_id: UUID) -> None:
    """Forget as whom platforms know a person, and the sessions: the account is closed."""
    theirs = _hold_those_of(session, resident_id)
    those = select(PlatformIdentityRow.id).where(theirs)
    for gone in (
        delete(ResidentSessionRow).where(ResidentSessionRow.identity_id.in_(those)),
        delete(PlatformIdentityRow).where(theirs),
    ):
        session.execute(gone.execution_options(synchronize_session=False))


def follow_phone(session: Session, identity_id: UUID, resident: ResidentRow) -> None:
    """The holder changed the registered phone in this identity's own session, and proved the new one."""
    identity = held(session, identity_id)
    if identity.resident_id == resident.id:
        identity.phone_index = resident.phone_index
        session.flush()


def purge_sessions(session: Session, *, now: datetime) -> int:
    """Forget up to 10,000 sessions that have long been over; how many. Call until it returns 0."""
    old = text("""
        DELETE FROM resident_session WHERE id IN (
            SELECT id FROM resident_session WHERE created_at < :before
            ORDER BY created_at LIMIT 10000 FOR UPDATE SKIP LOCKED
        ) RETURNING 1
    """)
    return len(session.execute(old, {"before": now - tokens.LONGEST - KEPT}).all())


def purge_identities(session: Session, *, now: datetime) -> int:
    """Forget up to 10,000 identities that lead to nobody and were not seen for long; how many. Call until it returns 0."""
    old = text("""
        DELETE FROM platform_identity WHERE id IN (
            SELECT id FROM platform_identity AS one
            WHERE seen_at < :before AND resident_id IS NULL
            AND NOT EXISTS (SELECT FROM resident_session WHERE identity_id = one.id)
            ORDER BY seen_at LIMIT 10000 FOR UPDATE SKIP LOCKED
        ) RETURNING 1
    """)
    return len(session.execute(old, {"before": now - tokens.LONGEST - KEPT}).all())


def _drop_what_counts_no_more(session: Session, row: PlatformIdentityRow, *, now: datetime) -> None:
    """A link that has stopped counting does not come back by itself, with a card or a number that does."""
    if row.resident_id is None:
        return
    stale = row.platform == Platform.SMS and now >= row.seen_at + SMS_LINK_IDLE
    if not stale and tokens.leads_to(session, row) is not None:
        return
    tokens.end_of_identities(session, PlatformIdentityRow.id == row.id, why="unlinked", now=now)
    untie(session, row)
    facts = {"why": "unused" if stale else "link-over"}
    audit.record(session, "resident.unlinked", actor="system", subject=str(row.id), at=now, facts=facts)


def _hold_those_of(session: Session, resident_id: UUID) -> ColumnElement[bool]:
    """Lock the identities that lead to a person, before their sessions, as a log-in does; the condition that names them."""
    theirs = PlatformIdentityRow.resident_id == resident_id
    session.execute(
        select(PlatformIdentityRow.id).where(theirs).order_by(PlatformIdentityRow.id).with_for_update()
    ).all()
    return theirs


def _place(column: str, identity_id: UUID) -> str:
    return f"platform_identity.{column}:{identity_id}"
