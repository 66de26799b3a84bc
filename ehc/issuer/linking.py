"""One person with several documents, and cards that turn out to be one person's: linked, and joined. None commits.

The spec has no rule for merging index ids (national rules 1.4), so this is ours: one card goes on, the other ends and names
it, and its history is read with that of the one that goes on.
"""

from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ehc.cards import events
from ehc.cards import store as cards
from ehc.cards.models import CardRow
from ehc.cards.states import JOIN, LIVE, Cause, Kind
from ehc.cards.store import Acting
from ehc.issuer import accounts, changes, family_links, lifecycle, proofs
from ehc.issuer.proofs import Weighed
from ehc.issuer.registry import Registry
from ehc.residents import store as residents
from ehc.residents.models import DocumentRow, ResidentRow
from ehc.residents.store import Person


def link_document(
    session: Session, card: CardRow, person: Person, weighed: Weighed, *, by: Acting, registry: Registry, now: datetime
) -> CardRow | None:
    """Add another document of the same person, freshly proved. The card that another record of them had is joined to this
    one, and returned. Raises `NotConfirmed`, `AuthorityAway` or `Conflict`.
    """
    proofs.require_fresh(weighed)
    if card.status not in LIVE or card.kind != Kind.FORMAL:
        raise cards.wrong_state()
    secrets, document = registry.secrets, accounts.document_of(person)
    found = residents.find(session, document, blind_index=secrets.blind_index)
    if found is None:
        try:
            with session.begin_nested():
                residents.add_document(
                    session, card.resident_id, document, at=now, sealer=secrets.sealer, blind_index=secrets.blind_index
                )
        except IntegrityError:
            raise changes.in_use() from None
    elif found.resident_id == card.resident_id:
        return None
    other = _take_over(session, card, found, person, by=by, registry=registry, now=now) if found else None
    changes.note(session, card, "document-linked", ["document"], by=by, registry=registry, now=now, weighed=weighed)
    return other


def join(
    session: Session, other: CardRow, card: CardRow, *, by: Acting, reason: str, registry: Registry, now: datetime
) -> None:
    """Let one card go on as another: it ends, and its history is read with the other's from now on. Raises `Conflict`."""
    if card.status not in LIVE or other.serial == card.serial:
        raise cards.wrong_state()
    words = events.Words(reason)
    lifecycle.apply(
        session, other, JOIN, acting=by, secrets=registry.secrets, now=now, words=words, joined_to=card.serial
    )
    changes.note(session, card, "joined-with", ["history"], by=by, registry=registry, now=now)


def _take_over(
    session: Session,
    card: CardRow,
    found: DocumentRow,
    person: Person,
    *,
    by: Acting,
    registry: Registry,
    now: datetime,
) -> CardRow | None:
    """Another record of the same person: its documents move here, its card is joined to this one."""
    stranger = session.get_one(ResidentRow, found.resident_id)
    known = residents.open_person(stranger, found, sealer=registry.secrets.sealer)
    accounts.require_same_name(known.name, person.name)
    people = {end for one in (card.resident_id, stranger.id) for end in family_links.family_of(session, one)}
    family_links.hold(session, people)  # in one order, should each of the two be linked to the other
    session.refresh(card)
    session.refresh(found)
    if card.status not in LIVE or found.resident_id != stranger.id:
        raise cards.wrong_state()
    other = cards.of_resident(session, stranger.id)
    if other is not None:
        _require_free(other, by)
    for row in residents.documents_of(session, stranger.id):
        row.resident_id = card.resident_id
    session.flush()
    if other is None or other.status not in LIVE:
        return None
    reason = "同一人的另一证件 · another document of the same person"
    join(session, other, card, by=by, reason=reason, registry=registry, now=now)
    family_links.hand_over(session, stranger.id, card, acting=by, sealer=registry.secrets.sealer, at=now)
    return other


def _require_free(other: CardRow, by: Acting) -> None:
    """What staff stopped, or a death ended, does not go on under another card. Raises `HeldByStaff` or `CardCancelled`."""
    lifecycle.require_not_held(other, by.party)
    if other.cause == Cause.DECEASED:
        raise accounts.cancelled(deceased=True)
