"""Residents' sessions made directly in the database, for tests that are not about how they are made."""

from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc.access import clients
from ehc.cards.models import CardRow
from ehc.core.ids import uuid7
from ehc.outside.platforms import Platform, PlatformPerson
from ehc.residents.models import FamilyLinkRow, ResidentRow
from ehc.sessions import identities, tokens
from tests.contract.helpers import secrets_of
from tests.support.service import Api, Service


def token_of(service: Service, api: Api, card_id: str | None = None, *, ended: bool = False) -> str:
    """The token of somebody who has logged in through an app; of the holder of a card, if one is given."""
    secrets, now = secrets_of(service), service.clock.now()
    with service.session() as session:
        client_id = clients.named(session, api.credentials.client_id).id
        who = PlatformPerson(f"o{uuid4().hex}")
        identity = identities.known(
            session, client_id, Platform.WECHAT, who, sealer=secrets.sealer, blind_index=secrets.blind_index, now=now
        )
        if card_id is not None:
            identities.tie(session, identity, holder_of(session, card_id), now=now)
        token, row = tokens.open_session(session, identity, now=now)
        if ended:
            row.seen_at = now - tokens.IDLE
    return token


def act_for(service: Service, guardian_card: str, member_card: str) -> None:
    """Let one holder act for another, without a grant that comes of it."""
    now = service.clock.now()
    with service.session() as session:
        guardian, member = (holder_of(session, card_id).id for card_id in (guardian_card, member_card))
        facts = {"relation": "2", "method": "clerk", "created_at": now}
        session.add(FamilyLinkRow(id=uuid7(now), guardian_id=guardian, member_id=member, **facts))


def holder_of(session: Session, card_id: str) -> ResidentRow:
    """The holder of a card."""
    whose = CardRow.resident_id == ResidentRow.id
    return session.scalars(select(ResidentRow).join(CardRow, whose).where(CardRow.id == UUID(card_id))).one()
