"""Death notices (死亡登记) of the identity authority: each is acted on in a transaction of its own, then its page is done.

So a page never holds one card while it waits for another, and stands in nobody's way. What breaks off is read again.
"""

from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ehc import audit
from ehc.cards import store as cards
from ehc.cards.events import Words
from ehc.cards.states import DIE, RESTORABLE, CardStatus
from ehc.db import UnitOfWork
from ehc.issuer import family_links, lifecycle
from ehc.issuer.models import NoticeRow
from ehc.issuer.proofs import AUTHORITY
from ehc.keystore.secret_keys import Secrets
from ehc.outside.identity_authority import DeathNotice, IdentityAuthority
from ehc.residents import store as residents


def pull(authority: IdentityAuthority, *, work: UnitOfWork, secrets: Secrets, now: datetime) -> bool:
    """Read one page and end the cards it names, each in a transaction; whether more follow. A page read twice does no harm.

    Raises `AuthorityAway`.
    """
    with work() as session:
        place = session.get(NoticeRow, 1)
        since = place.cursor if place else None
    page = authority.deaths(since)
    for notice in page.notices:
        with work() as session:
            _end(session, notice, secrets, now)
    with work() as session:
        for notice_id in page.unreadable:  # for people to look at: `ehc audit export` finds them
            audit.record(session, "death-notice.unreadable", actor=AUTHORITY.actor, subject=notice_id, at=now)
        kept = {"cursor": page.cursor, "read_at": now}
        row = insert(NoticeRow).values(id=1, **kept)
        session.execute(row.on_conflict_do_update(index_elements=[NoticeRow.id], set_=kept))
    return page.more


def _end(session: Session, notice: DeathNotice, secrets: Secrets, now: datetime) -> None:
    document = residents.find(session, notice.document, blind_index=secrets.blind_index)
    if document is None:
        return
    family_links.hold(session, family_links.family_of(session, document.resident_id))  # a move under way comes first
    session.refresh(document)  # and may have been a join, with which the document went to another record
    card = cards.of_resident(session, document.resident_id)
    if card is None or (card.status == CardStatus.CANCELLED and card.cause not in RESTORABLE):
        return
    words = Words(reason="死亡登记 · death notice", evidence=notice.notice_id)
    lifecycle.apply(session, card, DIE, acting=AUTHORITY, secrets=secrets, now=now, words=words)
