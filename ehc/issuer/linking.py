"""One person with several documents, and cards that turn out to be one person's: linked, and joined. None commits.

The spec has no rule for merging index ids (national rules 1.4), so this is ours: one card goes on, the other ends and names
it, and its history is read with that of the one that goes on. Nobody undoes a join, so whoever is taken for the holder has
to be like the holder in all that both records tell (docs/decisions/0007-accounts.md).
"""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ehc.callers import Caller
from ehc.cards import events
from ehc.cards import store as cards
from ehc.cards.models import CardRow, GrantRow
from ehc.cards.states import JOIN, LIVE, CardStatus, Cause, Kind, Party
from ehc.cards.store import Acting, acting
from ehc.core.documents import CITIZEN_ID
from ehc.errors import Text
from ehc.issuer import accounts, changes, consents, family_links, lifecycle, proofs, rights
from ehc.issuer.proofs import Weighed
from ehc.issuer.registry import Registry
from ehc.residents import store as residents
from ehc.residents.models import DocumentRow, ResidentRow
from ehc.residents.store import Person

_NEVER = date.max
"""Nobody's birth date."""


@dataclass(frozen=True)
class Shown:
    """Whose document is linked, in normal form, and what proves them. `phone_proof`: of a card that it leads to already."""

    person: Person
    weighed: Weighed
    phone_proof: UUID | None = None


def link_document(
    session: Session,
    card: CardRow,
    shown: Shown,
    *,
    caller: Caller,
    party: Party,
    phone_needed: bool,
    registry: Registry,
    now: datetime,
    version: int | None = None,
) -> CardRow | None:
    """Add another document of the same person, freshly proved. The card that another record of them had is joined to this
    one, and returned. `phone_needed` is whether this deployment sends messages.

    Raises `NotConfirmed`, `AuthorityAway`, `IdentityMismatch`, `PhoneProofRequired`, `Conflict` or `StaleVersion`.
    """
    proofs.require_fresh(shown.weighed)
    found = _held(session, card, shown.person, registry)
    if version is not None and version != card.version:
        raise cards.stale()
    if card.status != CardStatus.ACTIVE or card.kind != Kind.FORMAL:
        raise cards.wrong_state()
    secrets, by, person = registry.secrets, acting(caller, party), shown.person
    stranger = session.get_one(ResidentRow, found.resident_id) if found else None
    known = residents.open_person(stranger, found, sealer=secrets.sealer) if stranger else None
    if known is not None:
        accounts.require_same_name(known.name, person.name)
    if stranger is not None and stranger.id == card.resident_id:
        return None
    holder = accounts.account_of(session, card, secrets=secrets).person
    _require_one_citizen_id(session, card, person, stranger)
    _require_alike(holder, person, known)
    other = None
    if stranger is None:
        _add(session, card, holder, person, registry=registry, now=now)
    else:
        other = cards.of_resident(session, stranger.id)
        if other is not None:
            _require_joinable(
                session, other, shown, phone_needed, caller=caller, party=party, registry=registry, now=now
            )
        _take_over(session, card, holder, stranger, registry)
        other = _join_theirs(session, card, stranger, other, by=by, registry=registry, now=now)
    weighed = shown.weighed
    changes.note(session, card, "document-linked", ["document"], by=by, registry=registry, now=now, weighed=weighed)
    return other


def join(
    session: Session, other: CardRow, card: CardRow, *, by: Acting, reason: str, registry: Registry, now: datetime
) -> None:
    """Let one card go on as another, which is active: it ends, and its history and consents are read with the other's from
    now on. Raises `Conflict`.
    """
    family_links.hold(session, {card.resident_id, other.resident_id})
    session.refresh(card)
    session.refresh(other)
    if card.status != CardStatus.ACTIVE or other.serial == card.serial:
        raise cards.wrong_state()
    words = events.Words(reason)
    lifecycle.apply(
        session, other, JOIN, acting=by, secrets=registry.secrets, now=now, words=words, joined_to=card.serial
    )
    consents.carry_over(
        session, other.resident_id, card, shared=other.sharing, by=by, secrets=registry.secrets, now=now
    )
    changes.note(session, card, "joined-with", ["history"], by=by, registry=registry, now=now)


def _held(session: Session, card: CardRow, person: Person, registry: Registry) -> DocumentRow | None:
    """The document as it is stored, if it is, with everybody held whom it concerns: both records, and their families.

    In one step, since each of the two may be linked to the other. Raises `Conflict` where a faster writer moved it.
    """
    blind_index, document = registry.secrets.blind_index, accounts.document_of(person)
    found = residents.find(session, document, blind_index=blind_index)
    owner = found.resident_id if found else card.resident_id
    family_links.hold(
        session, family_links.family_of(session, card.resident_id) | family_links.family_of(session, owner)
    )
    session.refresh(card)
    if found is None:
        return None
    session.refresh(found)
    if found.resident_id != owner or found.closed_at is not None:
        raise cards.wrong_state()
    return found


def _require_one_citizen_id(session: Session, card: CardRow, person: Person, stranger: ResidentRow | None) -> None:
    """One person has one citizen id: a second is another person, or a number that changed. Raises `IdentityMismatch`."""
    theirs = {row.type for row in residents.documents_of(session, stranger.id)} if stranger else set()
    theirs.add(accounts.document_of(person).type)
    if CITIZEN_ID in theirs and any(
        row.type == CITIZEN_ID for row in residents.documents_of(session, card.resident_id)
    ):
        raise accounts.IdentityMismatch(
            Text(
                "持卡人已登记居民身份证；号码变更请修改证件号码（PATCH），不能另加一个。",
                "The holder has a citizen id on record. If its number changed, change it (PATCH); a second is not linked.",
            )
        )


def _require_alike(holder: Person, person: Person, known: Person | None) -> None:
    """What is told of the holder and of the linked person fits. Another record, `known`, has to be like the holder in name
    or birth date, since the two become one for ever. Raises `IdentityMismatch`.
    """
    told = [other for other in (person, known) if other is not None]
    unlike = any(_differ(holder.birth_date, one.birth_date) or _differ(holder.sex, one.sex) for one in told)
    tied = known is None or known.name == holder.name or (known.birth_date or _NEVER) == holder.birth_date
    if unlike or not tied:
        raise accounts.IdentityMismatch(
            Text(
                "该证件的姓名、性别或出生日期与持卡人的不一致，请核对，或到发卡机构办理。",
                "Name, sex or birth date of this document are not the holder's. Check them, or turn to an issuing institution.",
            )
        )


def _differ(one: object, other: object) -> bool:
    """Whether both are known, and not the same."""
    return one is not None and other is not None and one != other


def _require_joinable(
    session: Session,
    other: CardRow,
    shown: Shown,
    phone_needed: bool,
    *,
    caller: Caller,
    party: Party,
    registry: Registry,
    now: datetime,
) -> None:
    """What staff stopped, a death ended or somebody lost does not simply go on under another card; nor one that its holder
    uses through other apps, unless they prove its phone. Raises what says so.
    """
    lifecycle.require_not_held(other, party)
    if other.cause == Cause.DECEASED:
        raise accounts.cancelled(deceased=True)
    if other.status == CardStatus.LOST:
        proofs.require_fresh(shown.weighed, least=proofs.least_again(other.level))
    if other.status in LIVE and _used_elsewhere(session, other, caller):
        secrets, proof = registry.secrets, shown.phone_proof
        rights.require_phone(session, other, proof, needed=phone_needed, caller=caller, secrets=secrets, now=now)


def _used_elsewhere(session: Session, card: CardRow, caller: Caller) -> bool:
    """Whether another app than the caller has an open grant of the holder's own."""
    theirs = select(GrantRow.client_id).where(GrantRow.card_serial == card.serial, GrantRow.client_id != caller.id)
    theirs = theirs.where(GrantRow.link_id.is_(None), GrantRow.closed_at.is_(None))
    return session.scalars(theirs.limit(1)).first() is not None


def _add(session: Session, card: CardRow, holder: Person, person: Person, *, registry: Registry, now: datetime) -> None:
    """A document that nobody has. Raises `DocumentInUse` if somebody registered with it in this very moment."""
    secrets = registry.secrets
    accounts.require_alive(session, accounts.document_of(person), registry=registry)
    own_name = person.name if person.name != holder.name else None
    try:
        with session.begin_nested():
            residents.add_document(
                session,
                card.resident_id,
                accounts.document_of(person),
                name=own_name,
                at=now,
                sealer=secrets.sealer,
                blind_index=secrets.blind_index,
            )
    except IntegrityError:
        raise changes.in_use() from None


def _take_over(session: Session, card: CardRow, holder: Person, stranger: ResidentRow, registry: Registry) -> None:
    """The documents of another record of the same person move here, each under the name by which it was known."""
    sealer = registry.secrets.sealer
    for row in residents.documents_of(session, stranger.id):
        name = residents.open_person(stranger, row, sealer=sealer).name
        residents.name_document(row, name if name != holder.name else None, sealer=sealer)
        row.resident_id = card.resident_id
    session.flush()


def _join_theirs(
    session: Session,
    card: CardRow,
    stranger: ResidentRow,
    other: CardRow | None,
    *,
    by: Acting,
    registry: Registry,
    now: datetime,
) -> CardRow | None:
    """The card of the other record is joined, and its family goes on with this one. None where it had none that lives."""
    secrets = registry.secrets
    if other is None or other.status not in LIVE:
        shared = other is None or other.sharing or other.cause == Cause.CLOSED  # closing ends it, which is no refusal
        consents.carry_over(session, stranger.id, card, shared=shared, by=by, secrets=secrets, now=now)
        return None
    reason = "同一人的另一证件 · another document of the same person"
    join(session, other, card, by=by, reason=reason, registry=registry, now=now)
    family_links.hand_over(
        session, stranger.id, card, most=registry.family_members, acting=by, sealer=secrets.sealer, at=now
    )
    return other
