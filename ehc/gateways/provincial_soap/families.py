"""E0007, E0008, E0010 and E0015: members of a family bound, unbound and listed, newborns found by their parents.

Provincial SOAP 4.7, 4.8, 4.10 and 4.15. The person themselves (本人) is the guardian of `/v1`, where it is decided for whom
they act, and until when.
"""

from uuid import UUID

from sqlalchemy.orm import Session

from ehc.cards import store as cards
from ehc.cards.models import CardRow
from ehc.cards.states import CardStatus, Level
from ehc.clock import local_day
from ehc.core.documents import CITIZEN_ID, Document
from ehc.core.masking import mask_name
from ehc.core.names import normal_name
from ehc.core.tables import code_table
from ehc.errors import EhcError, InvalidValue
from ehc.gateways.provincial_soap import registering, store
from ehc.gateways.provincial_soap.asking import Asked, Told
from ehc.gateways.provincial_soap.messages import Part, node
from ehc.gateways.provincial_soap.people import document_of, unfit
from ehc.gateways.provincial_soap.registering import Applicant
from ehc.gateways.provincial_soap.result_codes import Failed
from ehc.gateways.provincial_soap.telling import (
    MEMBER,
    NEWBORN,
    masked_document,
    person_info,
    person_values,
    status_of,
)
from ehc.issuer import accounts, family, family_links, family_ties, finding, majority, newborns, photos
from ehc.issuer.applications import Proof
from ehc.issuer.family import Bond
from ehc.issuer.family_ties import Relative
from ehc.issuer.finding import Found
from ehc.residents import store as residents
from ehc.residents.models import FamilyLinkRow, ResidentRow
from ehc.residents.store import Person

_OTHER_RELATION = "8"
_NOT_BOUND: tuple[type[EhcError], ...] = (
    family.FamilyFull,
    family.FamilyLoop,
    family.AgreementRequired,
    newborns.MotherNotInFamily,
)
"""7005, each with its own words."""
_NO_GUARDIAN: tuple[type[EhcError], ...] = (family.GuardianNotActive, family.GuardianNotOfAge, family.HolderOnly)


def bind(asked: Asked) -> Told:
    """E0007: who has a card is bound, who has none is registered first, with three photographs."""
    relation = asked.text("relation") or _OTHER_RELATION
    if relation not in code_table("family_relation"):
        raise Failed("7005", "relation 不在代码表中")
    own_document, document = _document(asked, "self_", "7001", "7002"), _member_document(asked)
    with asked.services.work() as session:  # nobody is asked about a member for somebody who cannot have one
        own = _own(session, asked, own_document)
        known = _is_known(session, asked, document)
    sent = [] if known and not _has_photos(asked) else registering.read_photos(asked)
    one = registering.apply(asked, Proof(Level.SELF_DECLARED, f"RHC_E0007 {asked.reference}".strip()), sent)
    _require_age(asked, one.person)
    try:
        return _bound(asked, own.card.id, relation, one)
    except _NO_GUARDIAN as error:
        raise Failed("7003", error.detail.zh) from None
    except _NOT_BOUND as error:
        raise Failed("7005", error.detail.zh) from None


def unbind(asked: Asked) -> Told:
    """E0008. Of somebody whom neither the caller nor the family ever knew nothing is told, not even that they are there."""
    own_document = _document(asked, "self_", "7001", "7002")
    document = _document(asked, "", "8001", "8002")
    with asked.services.work() as session:
        own = _found(session, asked, own_document)
        if own is None or not own.open_grant:
            raise Failed("8003")
        asked.count(own.card)
        link = _link(session, asked, own, document)
        reason = f"RHC_E0008 {asked.reference}".strip()
        try:
            family_ties.end(
                session, own.card.id, link.id, reason=reason, caller=asked.caller, secrets=asked.secrets, now=asked.now
            )
        except (family_ties.NoSuchLink, family.HolderOnly):
            raise Failed("8005") from None
    return Told("8006")


def list_members(asked: Asked) -> Told:
    """E0010: one `personinfo` for each member, directly under `response`."""
    document = _document(asked, "self_", "7001", "7002")
    with asked.services.work() as session:
        own = _own(session, asked, document)
        kin = family_ties.read(session, own.card.id, caller=asked.caller, secrets=asked.secrets, now=asked.now)
        members = [_member(session, asked, relative) for relative in kin.members]
    total: Part = ("total", str(len(members)))
    return Told("5005", (total, *(("personinfo", node(MEMBER, values)) for values in members)))


def find_newborns(asked: Asked) -> Told:
    """E0015: children without a citizen id for whom a parent acts; each parent by number or by card id."""
    with asked.services.work() as session:
        found = [parent for prefix in ("mother_", "father_") if (parent := _parent(session, asked, prefix))]
        seen: dict[object, Part] = {}
        for parent in found:
            kin = family_ties.read(session, parent.card.id, caller=asked.caller, secrets=asked.secrets, now=asked.now)
            for relative in kin.members:
                values = _member(session, asked, relative, whole=True)
                if values["id_type"] != CITIZEN_ID and _is_child(session, asked, relative):
                    seen.setdefault(relative.card.id, ("personinfo", node(NEWBORN, values)))
    return Told("5005", (("personinfos", list(seen.values())),))


def _bound(asked: Asked, own_id: UUID, relation: str, one: Applicant) -> Told:
    registry, now = asked.services.registry(), asked.now
    with asked.services.work() as session:
        known = _is_known(session, asked, accounts.document_of(one.person))
        applicant = family.Applicant(one.person, one.weighed)
        bond = Bond(relation, one.weighed.proof, photographed=bool(one.photos))
        added = family.add(session, own_id, applicant, bond, caller=asked.caller, registry=registry, now=now)
        card = added.account.card
        if added.new:
            registering.keep_photos(session, asked, card, one.photos, instead=not known)
        if not known:
            store.note_made(session, card, asked.caller.institution_id, at=now)
        applied = store.applied(session, card)
        values = person_values(added.account, applied, sent=asked.fields, told=asked.may_tell())
    told: Part = person_info(values)
    return Told("7006" if added.new else "7004", (told,))


def _document(asked: Asked, prefix: str, no_type: str, no_number: str) -> Document | None:
    """The document that two fields name; None for one that nobody can have. Raises `Failed` where one is empty."""
    citizen = prefix == "" and "id_card" in asked.fields
    if f"{prefix}id_type" not in asked.fields and not citizen:
        raise Failed(no_type)
    if f"{prefix}id_number" not in asked.fields and not citizen:
        raise Failed(no_number)
    return document_of(asked.fields, today=local_day(asked.now), prefix=prefix)


def _member_document(asked: Asked) -> Document | None:
    return document_of(asked.fields, today=local_day(asked.now))


def _found(session: Session, asked: Asked, document: Document | None) -> Found | None:
    if document is None:
        return None
    return finding.by_document(session, document, asked.caller.id, secrets=asked.secrets, at=asked.now)


def _own(session: Session, asked: Asked, document: Document | None) -> Found:
    """The card of the person themselves. Raises `Failed` 7003 unless it is in order, and of an app of their own."""
    own = _found(session, asked, document)
    if own is None or not own.open_grant or own.card.status != CardStatus.ACTIVE:
        raise Failed("7003")
    asked.count(own.card)
    return own


def _is_known(session: Session, asked: Asked, document: Document | None) -> bool:
    return document is not None and finding.status_of(session, document, secrets=asked.secrets) is not None


def _has_photos(asked: Asked) -> bool:
    return any(f"photo_{kind}" in asked.fields for kind in photos.KINDS)


def _require_age(asked: Asked, person: Person) -> None:
    try:
        newborns.require_age(person, today=local_day(asked.now), now=asked.now)
    except InvalidValue as error:
        raise unfit(error) from None


def _link(session: Session, asked: Asked, own: Found, document: Document | None) -> FamilyLinkRow:
    """The link to a member. Raises `Failed`: 8005 where there is none, or none any more; 8004 for a stranger."""
    row = residents.find(session, document, blind_index=asked.secrets.blind_index) if document else None
    if row is None:
        raise Failed("8004")
    link = family_links.between(session, own.card.resident_id, row.resident_id)
    if link is None:
        met = family_links.ever_between(session, own.card.resident_id, row.resident_id)
        raise Failed("8005" if met or _found(session, asked, document) else "8004")
    return link


def _member(session: Session, asked: Asked, relative: Relative, *, whole: bool = False) -> dict[str, str]:
    """The elements about a member: in clear where the app, having bound them, sent name and number itself; else masked."""
    card = relative.card
    account = accounts.account_of(session, card, secrets=asked.secrets)
    applied = store.applied(session, card)
    if _has_grant(session, asked, card):
        return person_values(account, applied, sent={}, told=asked.may_tell(), relation=relative.link.relation)
    bare = {"name": mask_name(relative.name), "relation": relative.link.relation}
    bare |= {"ehc_card_status": status_of(card, applied), "sex": (account.person.sex or "") if whole else ""}
    return bare | masked_document(account.person.document)


def _has_grant(session: Session, asked: Asked, card: CardRow) -> bool:
    try:
        cards.granted(session, card.id, asked.caller.id, at=asked.now)
    except cards.NoSuchCard:
        return False
    return True


def _is_child(session: Session, asked: Asked, relative: Relative) -> bool:
    resident = session.get_one(ResidentRow, relative.card.resident_id)
    return majority.is_minor(resident.birth_date, asked.now)


def _parent(session: Session, asked: Asked, prefix: str) -> Found | None:
    """A parent who is named, by number or by card id, and by the right name if by any; None for whom nobody knows."""
    if ehc_id := asked.text(f"{prefix}ecard_id"):
        found = finding.by_ehc_id(session, ehc_id.upper(), asked.caller.id, secrets=asked.secrets, at=asked.now)
    elif f"{prefix}id_number" in asked.fields:
        document = document_of(asked.fields, today=local_day(asked.now), prefix=prefix)
        found = _found(session, asked, document)
    else:
        return None
    if found is None or not found.open_grant:
        return None
    asked.count(found.card)
    return found if _is_called(found.opened(asked.secrets).person.name, asked.text(f"{prefix}name")) else None


def _is_called(name: str, given: str) -> bool:
    try:
        return not given or normal_name(given) == name
    except InvalidValue:
        return False
