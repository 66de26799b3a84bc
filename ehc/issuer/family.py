"""Families (家庭成员): an adult adds those for whom they act; a member without a card gets one in the same step.

What is asked of whom: the guardian holds a normal card (national rules 1.8) and is 18; the relation is proved; an adult who
uses an app of their own agrees. Nobody acts for themselves, nor for somebody who acts for them.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ehc import audit
from ehc.callers import Caller
from ehc.cards import store as cards
from ehc.cards.events import Words
from ehc.cards.models import CardRow, GrantRow
from ehc.cards.states import CardStatus, Kind, Level, Party
from ehc.cards.store import Acting, acting
from ehc.core.ids import uuid7
from ehc.errors import EhcError, Text
from ehc.issuer import accounts, family_links, majority, newborns, phone_proofs
from ehc.issuer.accounts import Account
from ehc.issuer.applications import Proof
from ehc.issuer.newborns import Newborn
from ehc.issuer.proofs import Weighed
from ehc.issuer.registry import Registry
from ehc.residents import store as residents
from ehc.residents.models import FamilyLinkRow, ResidentRow
from ehc.residents.store import Person


class GuardianNotActive(EhcError):
    """The guardian's own card is not normal (provincial interface, code 7003)."""

    code = "guardian-not-active"


class GuardianNotOfAge(EhcError):
    """The guardian is under 18, or nobody knows the birth date."""

    code = "guardian-not-of-age"


class HolderOnly(EhcError):
    """The app acts for the holder's guardian, and this is the holder's to do."""

    code = "holder-only"


class FamilyFull(EhcError):
    """The guardian acts for as many people as the deployment allows."""

    code = "family-full"


class FamilyLoop(EhcError):
    """The member is the guardian, or acts for the guardian."""

    code = "family-loop"


class AgreementRequired(EhcError):
    """The member is an adult with an app of their own, and has not agreed."""

    code = "agreement-required"


@dataclass(frozen=True)
class Applicant:
    """Who shall be a member, in normal form, and what proves them. `newborn` where the mother's document names the child."""

    person: Person
    weighed: Weighed
    newborn: Newborn | None = None


@dataclass(frozen=True)
class Bond:
    """What ties the two: GB/T 4761, what the member is to the guardian; its proof; and the member's phone, if proved."""

    relation: str
    proof: Proof
    phone_proof: UUID | None = None
    photographed: bool = False
    """Whether photographs of the member's document and face came along, and are kept: all that one interface can send."""


@dataclass(frozen=True)
class Added:
    """A link, the member's account, and whether the link was made now."""

    link: FamilyLinkRow
    account: Account
    new: bool


def add(
    session: Session,
    card_id: UUID,
    applicant: Applicant,
    bond: Bond,
    *,
    caller: Caller,
    registry: Registry,
    now: datetime,
) -> Added:
    """Let the holder of a card act for somebody, and the calling app see that person's card. The same again changes nothing.

    Raises this module's errors, and what registration raises.
    """
    guardian = guardian_of(session, card_id, caller=caller, now=now)
    person = applicant.person
    if applicant.newborn is not None:
        person = newborns.settle(session, applicant.newborn, guardian.resident_id, registry=registry, now=now)
    known = residents.find(session, accounts.document_of(person), blind_index=registry.secrets.blind_index)
    pair = {guardian.resident_id, known.resident_id if known else guardian.resident_id}
    family_links.hold(session, pair)
    session.refresh(guardian)
    _require_guardian(session, guardian, now)
    by = acting(caller, Party.GUARDIAN)
    account, made = _account(session, person, applicant, by=by, registry=registry, now=now)
    link = _link_now(session, guardian, account.card, registry, now)
    new = link is None
    if not made:
        account = accounts.account_of(
            session, account.card, secrets=registry.secrets
        )  # a link that ended takes the phone
    if link is None:
        _require_place(session, guardian, account.card, registry, now)
        _require_agreement(session, account, applicant, bond, made=made, caller=caller, registry=registry, now=now)
        link = _linked(session, guardian, account, bond, registry=registry, now=now)
    granted = cards.grant(session, account.card, caller.id, at=now, link_id=link.id, until=link.until)
    sealer = registry.secrets.sealer
    if new:
        family_links.show_guardian(session, link.member_id, at=now)
        words = Words(evidence=bond.proof.evidence, clerk=bond.proof.clerk)
        facts = {"relation": bond.relation, "method": bond.proof.level}
        family_links.note(session, link, "family-added", acting=by, sealer=sealer, at=now, words=words, facts=facts)
    elif granted:
        audit.record(session, "card.granted", actor=by.actor, subject=str(account.card.id), at=now)
    session.refresh(account.card)
    return Added(link, account, new)


def guardian_of(session: Session, card_id: UUID, *, caller: Caller, now: datetime) -> CardRow:
    """The card of whoever wants to act for somebody, through an app of their own. Raises `NoSuchCard` or `HolderOnly`."""
    guardian, party = cards.granted_as(session, card_id, caller.id, at=now)
    if party is not Party.RESIDENT:
        raise holder_only()
    return guardian


def holder_only() -> HolderOnly:
    """The answer for an app that may see a card only as its holder's guardian does."""
    return HolderOnly(
        Text(
            "此操作须由持卡人本人通过其自己的应用办理。",
            "Only the holder does this, through an app that registered the holder.",
        )
    )


def _require_guardian(session: Session, guardian: CardRow, now: datetime) -> None:
    if guardian.status != CardStatus.ACTIVE or guardian.kind != Kind.FORMAL:
        raise GuardianNotActive(
            Text(
                "监护人本人的健康卡不是正常状态，不能添加家庭成员。",
                "The guardian's own card is not active. Restore it before adding members.",
            )
        )
    if not majority.is_of_age(session.get_one(ResidentRow, guardian.resident_id).birth_date, now):
        raise GuardianNotOfAge(
            Text(
                "监护人须年满 18 周岁，且出生日期已登记。",
                "A guardian is 18 or older, and the birth date is on record.",
            )
        )


def _account(
    session: Session, person: Person, applicant: Applicant, *, by: Acting, registry: Registry, now: datetime
) -> tuple[Account, bool]:
    """The member's account, and whether it was made now; as registration does, but without a grant of the app's own."""
    document, secrets = accounts.document_of(person), registry.secrets
    known = residents.find(session, document, blind_index=secrets.blind_index)
    if known is None:
        try:
            with session.begin_nested():
                made = accounts.open_account(session, person, applicant.weighed, by=by, registry=registry, now=now)
        except IntegrityError as error:  # another request registered the same person in this very moment
            known = residents.find(session, document, blind_index=secrets.blind_index)
            if known is None:
                accounts.raise_taken(error)
        else:
            if applicant.newborn is not None:
                session.get_one(ResidentRow, made.card.resident_id).birth_order = applicant.newborn.order
            return made, True
    holder = session.get_one(ResidentRow, known.resident_id)
    family_links.hold(session, {holder.id})
    session.refresh(known)
    if known.resident_id != holder.id:  # a join that was faster has given the document to another record
        raise cards.wrong_state()
    session.refresh(holder)
    accounts.require_same_name(residents.open_person(holder, known, sealer=secrets.sealer).name, person.name)
    card = cards.of_resident(session, holder.id)
    if card is None:
        raise accounts.cancelled()
    session.refresh(card)
    accounts.apply_again(session, card, applicant.weighed, by=by, registry=registry, now=now)
    return accounts.account_of(session, card, secrets=secrets), False


def _link_now(
    session: Session, guardian: CardRow, member: CardRow, registry: Registry, now: datetime
) -> FamilyLinkRow | None:
    """The link there is. One that the member has outgrown, and that no job has ended yet, ends here."""
    link = family_links.between(session, guardian.resident_id, member.resident_id)
    if link is not None and link.until is not None and link.until <= now:
        majority.end_one(session, link, secrets=registry.secrets, now=now)
        return None
    return link


def _require_place(session: Session, guardian: CardRow, member: CardRow, registry: Registry, now: datetime) -> None:
    if family_links.acts_for(session, member.resident_id, guardian.resident_id, at=now):
        raise FamilyLoop(
            Text(
                "不能添加本人，也不能添加正在代本人办理的人。",
                "The member is the guardian, or acts for the guardian. End that link first.",
            )
        )
    if family_links.count(session, guardian.resident_id, at=now) >= registry.family_members:
        raise FamilyFull(
            Text(
                f"家庭成员已达上限 {registry.family_members} 人，请先解除一位。",
                f"There are {registry.family_members} members already. End one link before adding another.",
            )
        )


def _require_agreement(
    session: Session,
    account: Account,
    applicant: Applicant,
    bond: Bond,
    *,
    made: bool,
    caller: Caller,
    registry: Registry,
    now: datetime,
) -> None:
    """A proof that is sent is used, whoever the member is; only an adult with an app of their own must send one.

    It has to be of a phone that the member proved through such an app: any other may be the guardian's own.
    """
    resident = session.get_one(ResidentRow, account.card.resident_id)
    own_phone = resident.phone_proved_at is not None and not resident.phone_by_guardian
    is_asked = not (made or majority.is_minor(account.person.birth_date, now)) and _has_own_app(session, account.card)
    if is_asked and not own_phone and (applicant.weighed.proof.level is Level.CLERK or bond.photographed):
        return  # no phone to ask: the clerk who saw the document saw its holder, or their face is in evidence
    if bond.phone_proof is not None and (own_phone or not is_asked):
        phone = account.person.phone
        phone_proofs.spend(session, bond.phone_proof, phone, caller=caller, secrets=registry.secrets, now=now)
        resident.phone_proved_at, resident.phone_by_guardian = now, not own_phone
        resident.version += 1
        session.flush()
        return
    if not is_asked:
        return
    raise AgreementRequired(
        Text(
            "该成年人已自行使用健康卡，须本人同意：请验证其本人在自己应用中验证过的手机并提交 phone_proof；没有的到窗口办理。",
            "This adult uses the card themselves and has to agree: prove the phone that they proved in an app of their own, "
            "and send `phone_proof`; without such a phone, have a clerk see them.",
        )
    )


def _linked(
    session: Session, guardian: CardRow, account: Account, bond: Bond, *, registry: Registry, now: datetime
) -> FamilyLinkRow:
    link_id, evidence, born = uuid7(now), bond.proof.evidence, account.person.birth_date
    sealer = registry.secrets.sealer
    link = FamilyLinkRow(
        id=link_id,
        guardian_id=guardian.resident_id,
        member_id=account.card.resident_id,
        relation=bond.relation,
        method=bond.proof.level,
        evidence=sealer.seal(evidence, f"family_link.evidence:{link_id}") if evidence else None,
        until=majority.comes_of_age(born) if born is not None and majority.is_minor(born, now) else None,
        created_at=now,
    )
    session.add(link)
    session.flush()
    return link


def _has_own_app(session: Session, card: CardRow) -> bool:
    """Whether an app ever saw this card otherwise than for a guardian, also before it was cancelled."""
    own = select(GrantRow.client_id).where(GrantRow.card_serial == card.serial, GrantRow.link_id.is_(None))
    return session.scalars(own.limit(1)).first() is not None
