"""Cards as other systems name them: by their holder's document, or by the national card id. One statement each; no commits.

A client finds only what it has, or had, a grant for: whether there is somebody it may not see is not told.
"""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import case, or_, select
from sqlalchemy.orm import Session, aliased

from ehc.cards.models import CardRow, GrantRow
from ehc.cards.states import LIVE, CardStatus, Kind, Party
from ehc.core.documents import Document
from ehc.issuer.accounts import Account
from ehc.issuer.registry import open_ids
from ehc.keystore.secret_keys import Secrets
from ehc.residents import store as residents
from ehc.residents.models import DocumentRow, ResidentRow

_LIVE_FIRST = (case((CardRow.status.in_(LIVE), 0), else_=1), CardRow.serial.desc())


class Found(NamedTuple):
    """A card, its holder and document, for whom the client acts, and whether its grant is still open."""

    card: CardRow
    resident: ResidentRow
    document: DocumentRow
    party: Party
    open_grant: bool

    def opened(self, secrets: Secrets) -> Account:
        """The card and its holder in clear. Asks no database."""
        person = residents.open_person(self.resident, self.document, sealer=secrets.sealer)
        return Account(self.card, person, *open_ids(self.card, secrets))


def by_document(
    session: Session, document: Document, client_id: UUID, *, secrets: Secrets, at: datetime, hold: bool = False
) -> Found | None:
    """The live card of whoever has this document, where there is none the newest of the others. `hold` locks its row."""
    index = residents.number_index(secrets.blind_index, document)
    named = aliased(DocumentRow)
    wanted = _seen_by(client_id, at).join(named, named.resident_id == CardRow.resident_id)
    return _one(session, wanted.where(named.number_index == index, named.closed_at.is_(None)), hold)


def by_ehc_id(
    session: Session, ehc_id: str, client_id: UUID, *, secrets: Secrets, at: datetime, hold: bool = False
) -> Found | None:
    """The card with this national card id (电子健康卡ID), 64 hexadecimal digits."""
    wanted = CardRow.ehc_id_index == secrets.blind_index.of("ehc-id", ehc_id)
    return _one(session, _seen_by(client_id, at).where(wanted), hold)


def by_serial(session: Session, serial: int, client_id: UUID, *, at: datetime) -> Found | None:
    """The card that a code led to."""
    return _one(session, _seen_by(client_id, at).where(CardRow.serial == serial), False)


def status_of(session: Session, document: Document, *, secrets: Secrets) -> CardStatus | None:
    """The state of the card of whoever has this document, for somebody who brings the document itself; None for nobody."""
    index = residents.number_index(secrets.blind_index, document)
    wanted = select(CardRow.status).join(DocumentRow, DocumentRow.resident_id == CardRow.resident_id)
    wanted = wanted.where(DocumentRow.number_index == index, DocumentRow.closed_at.is_(None))
    wanted = wanted.where(CardRow.kind == Kind.FORMAL).order_by(*_LIVE_FIRST)
    status = session.scalars(wanted.limit(1)).first()
    return None if status is None else CardStatus(status)


def _seen_by(client_id: UUID, at: datetime) -> Any:
    own = aliased(DocumentRow)
    return (
        select(CardRow, ResidentRow, own, GrantRow.link_id, GrantRow.closed_at)
        .join(GrantRow, GrantRow.card_serial == CardRow.serial)
        .join(ResidentRow, ResidentRow.id == CardRow.resident_id)
        .join(own, own.id == CardRow.document_id)
        .where(GrantRow.client_id == client_id, or_(GrantRow.until.is_(None), GrantRow.until > at))
        .where(CardRow.kind == Kind.FORMAL)
        .order_by(*_LIVE_FIRST)
        .limit(1)
    )


def _one(session: Session, wanted: Any, hold: bool) -> Found | None:
    if hold:
        wanted = wanted.with_for_update(key_share=True, of=CardRow).execution_options(populate_existing=True)
    row = session.execute(wanted).one_or_none()
    if row is None:
        return None
    card, resident, document, link_id, closed_at = row
    return Found(card, resident, document, Party.GUARDIAN if link_id else Party.RESIDENT, closed_at is None)
