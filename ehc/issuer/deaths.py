"""Death notices (死亡登记) of the identity authority: each is acted on in a transaction of its own, then its page is done.

So a page never holds one card while it waits for another, and stands in nobody's way. What breaks off is read again.

A notice about somebody without a card is kept, as the blind index of the document: else whoever applied in their name later
would have a card. Opening an account, linking a document and changing an identity ask for it (`accounts.require_alive`); what
gets by all the same, at the same moment or in an import, is ended when notices are pulled next. One whose card cannot be
ended is kept too, and tried again.
"""

from datetime import datetime

import structlog
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ehc import audit
from ehc.cards import store as cards
from ehc.cards.events import Words
from ehc.cards.states import DIE, RESTORABLE, CardStatus
from ehc.db import UnitOfWork
from ehc.errors import EhcError, Text
from ehc.issuer import family_links, lifecycle
from ehc.issuer.models import DeathRow, NoticeRow
from ehc.issuer.proofs import AUTHORITY
from ehc.keystore.secret_keys import Secrets
from ehc.outside.identity_authority import IdentityAuthority
from ehc.residents import store as residents
from ehc.residents.models import DocumentRow

log = structlog.get_logger(__name__)


class NoSuchNotice(EhcError):
    """No death notice with this id is kept."""

    code = "death-notice-not-found"


def pull(authority: IdentityAuthority, *, work: UnitOfWork, secrets: Secrets, now: datetime) -> bool:
    """Read one page and end the cards it names, each in a transaction; whether more follow. A page read twice does no harm.

    Raises `AuthorityAway`.
    """
    with work() as session:
        place = session.get(NoticeRow, 1)
        since = place.cursor if place else None
    page = authority.deaths(since)
    for notice in page.notices:
        index = residents.number_index(secrets.blind_index, notice.document)
        _act_on(work, index, notice.notice_id, secrets, now)
    with work() as session:
        for notice_id in page.unreadable:  # for people to look at: `ehc audit export` finds them
            audit.record(session, "death-notice.unreadable", actor=AUTHORITY.actor, subject=notice_id, at=now)
        kept = {"cursor": page.cursor, "read_at": now}
        row = insert(NoticeRow).values(id=1, **kept)
        session.execute(row.on_conflict_do_update(index_elements=[NoticeRow.id], set_=kept))
    _act_on_known(work, secrets, now)
    return page.more


def waiting(session: Session) -> list[DeathRow]:
    """The notices that are kept, the oldest first."""
    return list(session.scalars(select(DeathRow).order_by(DeathRow.noted_at, DeathRow.notice_id)))


def drop(session: Session, notice_id: str, *, actor: str, now: datetime) -> None:
    """Forget a notice that was a mistake. Raises `NoSuchNotice`."""
    dropped = session.execute(delete(DeathRow).where(DeathRow.notice_id == notice_id).returning(DeathRow.notice_id))
    if dropped.first() is None:
        raise NoSuchNotice(
            Text("没有这条待处理的死亡登记。", "No notice with this id is kept. `ehc cards death-notices` lists them.")
        )
    audit.record(session, "death-notice.dropped", actor=actor, subject=notice_id, at=now)


def _act_on(work: UnitOfWork, index: bytes, notice_id: str, secrets: Secrets, now: datetime) -> None:
    try:
        with work() as session:
            if _end(session, index, notice_id, secrets, now):
                session.execute(delete(DeathRow).where(DeathRow.number_index == index))
            else:
                _keep(session, index, notice_id, now)
    except Exception:  # whatever is wrong with one card, the others' notices are acted on
        log.exception("death notice not acted on", notice_id=notice_id)
        with work() as session:
            _keep(session, index, notice_id, now)


def _act_on_known(work: UnitOfWork, secrets: Secrets, now: datetime) -> None:
    """Act on kept notices whose person is known by now."""
    known = select(DeathRow.number_index, DeathRow.notice_id).join(
        DocumentRow, (DocumentRow.number_index == DeathRow.number_index) & DocumentRow.closed_at.is_(None)
    )
    with work() as session:
        found = session.execute(known.order_by(DeathRow.noted_at)).all()
    for index, notice_id in found:
        _act_on(work, index, notice_id, secrets, now)


def _keep(session: Session, index: bytes, notice_id: str, now: datetime) -> None:
    row = insert(DeathRow).values(number_index=index, notice_id=notice_id, noted_at=now)
    kept = session.execute(row.on_conflict_do_nothing().returning(DeathRow.notice_id)).first()
    if kept is not None:
        audit.record(session, "death-notice.kept", actor=AUTHORITY.actor, subject=notice_id, at=now)


def _end(session: Session, index: bytes, notice_id: str, secrets: Secrets, now: datetime) -> bool:
    """End the card that a notice is about; False if nobody is known by the document, or nobody with a card."""
    wanted = select(DocumentRow).where(DocumentRow.number_index == index, DocumentRow.closed_at.is_(None))
    document = session.scalars(wanted).one_or_none()
    if document is None:
        return False
    family_links.hold(session, family_links.family_of(session, document.resident_id))  # a move under way comes first
    session.refresh(document)  # and may have been a join, with which the document went to another record
    card = cards.of_resident(session, document.resident_id)
    if card is None:
        return False
    if card.status == CardStatus.CANCELLED and card.cause not in RESTORABLE:
        return True
    words = Words(reason="死亡登记 · death notice", evidence=notice_id)
    lifecycle.apply(session, card, DIE, acting=AUTHORITY, secrets=secrets, now=now, words=words)
    return True
