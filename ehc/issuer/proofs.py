"""Proof of identity (实名认证): what the identity authority is asked, and what its answer makes of a card.

With an authority configured its answer sets the level: a match makes the card active at `external-match`; anything else
leaves the application in the review queue, with the finding for the reviewer, and raises nothing of a card that is in use. An
authority that is away loses nothing: the question stays open and a job asks again. Ask outside a transaction: an answer can
take seconds.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.orm import Session

from ehc import audit, jobs
from ehc.cards import events
from ehc.cards import store as cards
from ehc.cards.events import NO_WORDS, Words
from ehc.cards.models import CardRow
from ehc.cards.states import APPROVE, LIVE, CardStatus, Level, Party, outranks
from ehc.cards.store import Acting
from ehc.core.ids import uuid7
from ehc.db import UnitOfWork
from ehc.errors import EhcError, Text
from ehc.issuer import family_links, lifecycle
from ehc.issuer.applications import Proof
from ehc.issuer.models import ProofRow
from ehc.issuer.registry import Registries, Registry
from ehc.outside.identity_authority import AuthorityAway, Finding, IdentityAuthority, Outcome, Question
from ehc.residents import store as residents
from ehc.residents.models import DocumentRow, ResidentRow
from ehc.residents.store import Person

RETRY = "issuer.retry-proof"
"""The job that asks again about one card."""
AUTHORITY = Acting("identity-authority", Party.AUTHORITY)

_OPEN = and_(
    ProofRow.finding.is_(None),
    CardRow.status.in_(LIVE),
    or_(CardRow.status == CardStatus.PENDING_REVIEW, CardRow.level != Level.EXTERNAL_MATCH),
)
"""A question whose answer can still change its card: one that waits, or one in use that could have a better level."""


class NotConfirmed(EhcError):
    """The proof of identity does not carry what is asked for."""

    code = "identity-not-confirmed"


@dataclass(frozen=True)
class Weighed:
    """A proof with what the authority said: the level it gives and the state a card starts in. `found` None: no answer."""

    proof: Proof
    level: Level
    status: CardStatus
    asked: bool = False
    found: Finding | None = None
    spared: bool = False
    """There is an authority, which had nothing to add and was not asked: true only while that is so."""

    @property
    def refuted(self) -> bool:
        """Whether the authority was asked and did not confirm it: by another answer, or by none."""
        return self.asked and (self.found is None or self.found.outcome is not Outcome.MATCH)

    @property
    def words(self) -> Words:
        """For the card's history."""
        return Words(evidence=self.proof.evidence, clerk=self.proof.clerk)


def weigh(registry: Registry, proof: Proof, person: Person) -> Weighed:
    """What a proof is worth. Asks the authority, if there is one; never raises because it is away."""
    if registry.authority is None or person.document is None:
        return unasked(registry, proof)
    claimed = _claimed(proof)
    try:
        found = registry.authority.ask(Question(person.name, person.document, person.birth_date))
    except AuthorityAway:
        return Weighed(proof, claimed, CardStatus.PENDING_REVIEW, asked=True)
    if found.outcome is Outcome.MATCH:
        return Weighed(
            proof, Level.EXTERNAL_MATCH, registry.first_status(Level.EXTERNAL_MATCH), asked=True, found=found
        )
    return Weighed(proof, claimed, CardStatus.PENDING_REVIEW, asked=True, found=found)


def unasked(registry: Registry, proof: Proof) -> Weighed:
    """What a proof is worth of which the authority can say nothing: where there is one, no claim of a match."""
    level = proof.level if registry.authority is None else _claimed(proof)
    return Weighed(proof, level, registry.first_status(level))


def spare(registry: Registry, proof: Proof) -> Weighed:
    """What a proof is worth where the authority has nothing to add (`accounts.needs_proof`)."""
    return replace(unasked(registry, proof), spared=True)


def require_fresh(weighed: Weighed, *, least: Level = Level.DOCUMENT_SEEN) -> None:
    """Refuse what is not proof enough to change an identity or to thaw a card. Raises `NotConfirmed` or `AuthorityAway`.

    With an authority its match is asked for; without one, a document that somebody saw.
    """
    if weighed.asked and weighed.found is None:
        detail = Text(
            "实名核验服务暂不可用，请稍后重试。",
            "The identity authority is away. Nothing was changed; try again shortly.",
        )
        raise AuthorityAway(detail, retry_after=10)
    enough = weighed.level is Level.EXTERNAL_MATCH if weighed.asked else not outranks(least, weighed.level)
    if not enough or weighed.status is CardStatus.PENDING_REVIEW:
        detail = Text(
            "身份未得到确认：请核对姓名与证件，或到发卡机构窗口由工作人员核验。",
            "The identity was not confirmed. Check name and document, or have staff of an issuing institution see it.",
        )
        raise NotConfirmed(detail)


def least_again(level: str) -> Level:
    """The proof that gives a card of this level back to its holder: what it was registered with. For one that an authority
    confirmed, a document that somebody saw will do, where there is none to ask any more."""
    return Level.DOCUMENT_SEEN if level == Level.EXTERNAL_MATCH else Level(level)


def keep(session: Session, card: CardRow, weighed: Weighed, *, at: datetime) -> None:
    """Remember what the authority was asked and answered; where it has not answered, have a job ask again.

    A card has one open question at most: asking again goes on with it, and an answer closes it. The caller holds the card.
    """
    if not weighed.asked:
        return
    found = weighed.found
    waiting = select(ProofRow).where(ProofRow.card_serial == card.serial, ProofRow.finding.is_(None))
    row = session.scalars(waiting.order_by(ProofRow.asked_at.desc()).limit(1)).one_or_none()
    if row is None:
        row = ProofRow(id=uuid7(at), card_serial=card.serial, asked_at=at, tries=0)
        session.add(row)
    row.tries += 1
    if found is not None:
        row.finding, row.reference, row.answered_at = found.outcome, found.reference, at
    session.flush()
    if found is None:
        ask_again(session, card.id)


def ask_again(session: Session, card_id: UUID) -> None:
    """Enqueue the question about a card, unless it is enqueued already."""
    jobs.defer(session, RETRY, queueing_lock=f"{RETRY}:{card_id}", card_id=str(card_id))


def retry(
    card_id: UUID, *, work: UnitOfWork, authority: IdentityAuthority, registries: Registries, now: datetime
) -> Outcome | None:
    """Ask about a card whose question is open, and act on the answer. None: there is nothing to ask, or no more.

    Raises `AuthorityAway`; the job that calls this then tries later.
    """
    with work() as session:
        waiting = _waiting(session, card_id)
        if waiting is None:
            return None
        question = _question(session, waiting[0], registries())
        session.execute(update(ProofRow).where(ProofRow.id == waiting[1]).values(tries=ProofRow.tries + 1))
    found = authority.ask(question)
    with work() as session:
        waiting = _held(session, card_id)
        if waiting is None:
            return None
        registry = registries()
        if _question(session, waiting[0], registry) != question:  # the answer is about who the holder was then
            ask_again(session, card_id)
            return None
        _answered(session, *waiting, found, registry=registry, now=now)
    return found.outcome


def pending(session: Session, *, most: int = 1000) -> list[tuple[CardRow, str | None]]:
    """Cards that wait for review, the oldest first, each with the newest finding about it: None where nobody was asked.

    `no-answer` is a question that is still open; a job asks again, so a reviewer may wait.
    """
    newest = (
        select(func.coalesce(ProofRow.finding, "no-answer"))
        .where(ProofRow.card_serial == CardRow.serial)
        .order_by(ProofRow.asked_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    waiting = select(CardRow, newest).where(CardRow.status == CardStatus.PENDING_REVIEW)
    return [(card, finding) for card, finding in session.execute(waiting.order_by(CardRow.serial).limit(most))]


def unanswered(session: Session, *, before: datetime, most: int = 1000) -> list[UUID]:
    """Cards whose question has had no answer for a while, the oldest first."""
    wanted = (
        select(CardRow.id)
        .join(ProofRow, ProofRow.card_serial == CardRow.serial)
        .where(ProofRow.asked_at <= before, _OPEN)
    )
    return list(session.scalars(wanted.order_by(ProofRow.asked_at).limit(most)))


def _waiting(session: Session, card_id: UUID) -> tuple[CardRow, UUID] | None:
    wanted = (
        select(CardRow, ProofRow.id)
        .join(ProofRow, ProofRow.card_serial == CardRow.serial)
        .where(CardRow.id == card_id, _OPEN)
        .order_by(ProofRow.asked_at.desc())
        .limit(1)
    )
    found = session.execute(wanted).one_or_none()
    return (found[0], found[1]) if found else None


def _held(session: Session, card_id: UUID) -> tuple[CardRow, UUID] | None:
    """As `_waiting`, with the card and its holder locked, so that the question is about who the holder is now."""
    resident_id = session.scalar(select(CardRow.resident_id).where(CardRow.id == card_id))
    if resident_id is not None:
        family_links.hold(session, {resident_id})
    return _waiting(session, card_id)


def _question(session: Session, card: CardRow, registry: Registry) -> Question:
    resident = session.get_one(ResidentRow, card.resident_id)
    document = session.get_one(DocumentRow, card.document_id)
    person = residents.open_person(resident, document, sealer=registry.secrets.sealer)
    if person.document is None:
        raise LookupError("a formal card has a document")
    return Question(person.name, person.document, person.birth_date)


def _answered(
    session: Session, card: CardRow, proof_id: UUID, found: Finding, *, registry: Registry, now: datetime
) -> None:
    answer = {"finding": found.outcome, "reference": found.reference, "answered_at": now}
    session.execute(update(ProofRow).where(ProofRow.id == proof_id, ProofRow.finding.is_(None)).values(**answer))
    note_finding(session, card, found, at=now)
    if found.outcome is not Outcome.MATCH:
        return
    if outranks(Level.EXTERNAL_MATCH, Level(card.level)):
        raise_level(session, card, Level.EXTERNAL_MATCH, by=AUTHORITY, words=NO_WORDS, registry=registry, now=now)
    waits = card.status == CardStatus.PENDING_REVIEW
    if waits and registry.first_status(Level.EXTERNAL_MATCH) is CardStatus.ACTIVE:
        lifecycle.apply(session, card, APPROVE, acting=AUTHORITY, secrets=registry.secrets, now=now)


def raise_level(
    session: Session, card: CardRow, level: Level, *, by: Acting, words: Words, registry: Registry, now: datetime
) -> None:
    """Give a card a better level, with the event and the audit row. Raises `Conflict` after a faster writer."""
    cards.raise_level(session, card, level)
    note_proof(session, card, "level-raised", by=by, words=words, registry=registry, now=now)


def note_proof(
    session: Session, card: CardRow, action: str, *, by: Acting, words: Words, registry: Registry, now: datetime
) -> None:
    """Write what a proof did to a card, its words sealed, into its history and into the audit log."""
    old, sealer = CardStatus(card.status), registry.secrets.sealer
    events.note(session, card, action, old=old, acting=by, sealer=sealer, at=now, words=words)
    facts = {"level": card.level}
    audit.record(session, f"card.{action}", actor=by.actor, subject=str(card.id), at=now, facts=facts)


def note_finding(session: Session, card: CardRow, found: Finding, *, at: datetime) -> None:
    """Write what the authority found about a card that was there already into the audit log."""
    facts = {"finding": found.outcome, "reference": found.reference}
    audit.record(session, "card.proof-answered", actor=AUTHORITY.actor, subject=str(card.id), at=at, facts=facts)


def _claimed(proof: Proof) -> Level:
    """The level that an app may claim where there is an authority: a match is the authority's to tell."""
    return Level.SELF_DECLARED if proof.level is Level.EXTERNAL_MATCH else proof.level
