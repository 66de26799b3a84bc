"""Registration, and reading an account. Functions take a session, a clock and keys; none commits."""

import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn
from uuid import UUID

from psycopg.errors import UniqueViolation
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ehc import audit
from ehc.callers import Caller
from ehc.cards import events
from ehc.cards import store as cards
from ehc.cards.models import CardRow
from ehc.cards.states import (
    APPROVE,
    REAPPLY,
    REAPPLY_FOR_REVIEW,
    RESTORABLE,
    RESTORE,
    RESTORE_FOR_REVIEW,
    CardStatus,
    Cause,
    Kind,
    Level,
    Move,
    Party,
    outranks,
)
from ehc.cards.store import Acting, acting
from ehc.core.documents import Document
from ehc.core.ids import uuid7
from ehc.errors import EhcError, Text
from ehc.issuer import death_notices, family_links, family_traces, lifecycle, majority, phone_proofs, proofs
from ehc.issuer.applications import Application
from ehc.issuer.proofs import Weighed
from ehc.issuer.registry import Registry, national_ids, open_ids
from ehc.keystore.secret_keys import Secrets
from ehc.residents import store as residents
from ehc.residents.models import DocumentRow, ResidentRow
from ehc.residents.store import Person

_ONE_EHC_ID = "uq_card_ehc_id_index"
_UNSURE = frozenset({CardStatus.LOST, CardStatus.PENDING_REVIEW})
"""Who applies again for such a card may be anybody: it takes no phone from them, which would then speak for its holder."""


class IdentityMismatch(EhcError):
    """The document is known under another name. The answer says no more than that the two do not fit."""

    code = "identity-mismatch"


class CardCancelled(EhcError):
    """The person's card was cancelled, and a new application does not restore it."""

    code = "card-cancelled"


@dataclass(frozen=True)
class Account:
    """A card and its holder, in clear, for whoever may see them. A temporary card has no ids of its own."""

    card: CardRow
    person: Person
    ehc_id: str | None
    index_id: str | None


def register(
    session: Session,
    person: Person,
    wanted: Application,
    weighed: Weighed,
    *,
    caller: Caller,
    registry: Registry,
    now: datetime,
) -> tuple[Account, bool]:
    """The person's account, and whether it was made now. The same person again has the same card and gains a grant.

    `person` is `wanted` in normal form, and `weighed` its proof. Raises `InvalidValue`, `IdentityMismatch`,
    `CardCancelled`, or `Conflict` where what the proof was weighed by has changed since.
    """
    by = acting(caller)
    document = _known(session, person, registry)
    made = None
    if document is None:
        try:
            with session.begin_nested():
                if wanted.phone_proof is not None:
                    _spend(session, wanted.phone_proof, person, caller=caller, registry=registry, now=now)
                made = open_account(session, person, weighed, by=by, registry=registry, now=now)
        except IntegrityError as error:  # another request registered the same person in this very moment
            document = _known(session, person, registry)
            if document is None:
                raise_taken(error)
    if made is not None and wanted.phone_proof is not None:
        session.get_one(ResidentRow, made.card.resident_id).phone_proved_at = now
        session.flush()
    account = made or _known_account(
        session, document, person, wanted, weighed, caller=caller, registry=registry, now=now
    )
    if cards.grant(session, account.card, caller.id, at=now) and made is None:
        audit.record(session, "card.granted", actor=by.actor, subject=str(account.card.id), at=now)
    return account, made is not None


def needs_proof(session: Session, person: Person, *, registry: Registry) -> bool:
    """Whether asking the identity authority about an applicant can change anything."""
    document = _known(session, person, registry)
    return _can_gain(cards.of_resident(session, document.resident_id) if document else None)


def account_of(session: Session, card: CardRow, *, secrets: Secrets) -> Account:
    """A card with its holder, opened."""
    resident = session.get_one(ResidentRow, card.resident_id)
    document = session.get_one(DocumentRow, card.document_id) if card.document_id else None
    person = residents.open_person(resident, document, sealer=secrets.sealer)
    return Account(card, person, *open_ids(card, secrets))


def open_account(
    session: Session, person: Person, weighed: Weighed, *, by: Acting, registry: Registry, now: datetime
) -> Account:
    """A new card for a person who is not known. Raises `IntegrityError` if the document is, by now, or `Conflict`."""
    _require_weighed(weighed, None)
    require_alive(session, document_of(person), registry=registry)
    secrets = registry.secrets
    document = residents.add(session, person, sealer=secrets.sealer, blind_index=secrets.blind_index, at=now)
    card_id = uuid7(now)
    card = CardRow(
        id=card_id,
        resident_id=document.resident_id,
        document_id=document.id,
        kind=Kind.FORMAL,
        status=weighed.status,
        level=weighed.level,
        **national_ids(document_of(person), person.name, card_id, secrets),
        sandbox=secrets.sandbox,
        version=1,
        created_at=now,
        status_changed_at=now,
    )
    session.add(card)
    session.flush()
    events.note(session, card, "registered", old=None, acting=by, sealer=secrets.sealer, at=now, words=weighed.words)
    facts = {"level": weighed.level, "status": card.status}
    audit.record(session, "card.registered", actor=by.actor, subject=str(card_id), at=now, facts=facts)
    proofs.keep(session, card, weighed, at=now)
    session.get_one(ResidentRow, card.resident_id).phone_by_guardian = (
        by.party is Party.GUARDIAN and person.phone is not None
    )
    return Account(card, person, *open_ids(card, secrets))


def raise_taken(error: IntegrityError) -> NoReturn:
    """Nobody has the document, but a card that went on as another keeps the ids it gives: `CardCancelled`. Else `error`."""
    if isinstance(error.orig, UniqueViolation) and error.orig.diag.constraint_name == _ONE_EHC_ID:
        raise cancelled() from None
    raise error


def require_same_name(known: str, given: str) -> None:
    """Raises `IdentityMismatch` where two names in normal form differ."""
    if not hmac.compare_digest(known.encode(), given.encode()):
        raise IdentityMismatch(
            Text(
                "姓名与证件信息不一致，请核对后重试。",
                "Name and document do not fit together. Check both, then try again.",
            )
        )


def require_alive(session: Session, document: Document, *, registry: Registry) -> None:
    """Raises `CardCancelled` for a document whose holder's death was told of before anybody had a card with it."""
    if death_notices.told_of(session, document, blind_index=registry.secrets.blind_index):
        raise cancelled(deceased=True)


def document_of(person: Person) -> Document:
    """The document of a person who has one. Raises `LookupError`."""
    if person.document is None:
        raise LookupError("nobody has proved this person's identity")
    return person.document


def apply_again(
    session: Session, card: CardRow, weighed: Weighed, *, by: Acting, registry: Registry, now: datetime
) -> None:
    """What a further application does to a card: a better proof counts, and what ended may begin anew. The caller holds it.

    Raises `CardCancelled`, or `Conflict` where the authority was spared and could now add something.
    """
    _require_weighed(weighed, card)
    if card.status == CardStatus.CANCELLED:
        _restore(session, card, weighed, by=by, registry=registry, now=now)
    elif card.status == CardStatus.REJECTED:
        how = REAPPLY_FOR_REVIEW if weighed.status is CardStatus.PENDING_REVIEW else REAPPLY
        _move(session, card, how, by=by, registry=registry, now=now, weighed=weighed, level=weighed.level)
    else:
        _weigh_in(session, card, weighed, by=by, registry=registry, now=now)


def _known(session: Session, person: Person, registry: Registry) -> DocumentRow | None:
    return residents.find(session, document_of(person), blind_index=registry.secrets.blind_index)


def _can_gain(card: CardRow | None) -> bool:
    """Whether a match could make or better this card."""
    return (
        card is None
        or card.level != Level.EXTERNAL_MATCH
        or card.status not in {CardStatus.ACTIVE, CardStatus.SUSPENDED}
    )


def _require_weighed(weighed: Weighed, card: CardRow | None) -> None:
    """An authority that was spared had nothing to add then; now it might, so that the proof has to be weighed anew."""
    if weighed.spared and _can_gain(card):
        raise cards.wrong_state()


def _known_account(
    session: Session,
    document: DocumentRow | None,
    person: Person,
    wanted: Application,
    weighed: Weighed,
    *,
    caller: Caller,
    registry: Registry,
    now: datetime,
) -> Account:
    if document is None:
        raise LookupError("the person is not known")
    secrets = registry.secrets
    resident = session.get_one(ResidentRow, document.resident_id)
    known = residents.open_person(resident, document, sealer=secrets.sealer)
    require_same_name(known.name, person.name)
    family_links.hold(session, {resident.id})  # two applications take turns: the second finds what the first made
    session.refresh(resident)
    card = cards.of_resident(session, resident.id)
    if card is None:
        raise cancelled()
    if (
        wanted.phone_proof is not None
    ):  # held before anything is in the audit log (docs/architecture.md, Order of locks)
        phone_proofs.require(session, wanted.phone_proof, person.phone, caller=caller, secrets=secrets, now=now)
    apply_again(session, card, weighed, by=acting(caller), registry=registry, now=now)
    if card.status not in _UNSURE and majority.is_of_age(resident.birth_date, now):
        family_traces.forget_phone(resident)  # an adult's own registration has the word
    proved = _proves_phone(session, card, resident, person, wanted, caller=caller, registry=registry, now=now)
    _fill(session, card, resident, person, proved=proved, by=acting(caller), secrets=secrets, now=now)
    return account_of(session, card, secrets=secrets)


def _proves_phone(
    session: Session,
    card: CardRow,
    resident: ResidentRow,
    person: Person,
    wanted: Application,
    *,
    caller: Caller,
    registry: Registry,
    now: datetime,
) -> bool:
    """Whether an application proves the phone of the account, which uses the proof up. One of another phone, or for a card
    that is lost or waits for review, is neither used nor counts: a registration replaces no phone. Raises `InvalidValue`.
    """
    if wanted.phone_proof is None or card.status in _UNSURE:
        return False
    on_record = residents.open_person(resident, None, sealer=registry.secrets.sealer).phone
    if on_record not in {None, person.phone}:
        return False
    _spend(session, wanted.phone_proof, person, caller=caller, registry=registry, now=now)
    return True


def _spend(
    session: Session, proof_id: UUID, person: Person, *, caller: Caller, registry: Registry, now: datetime
) -> None:
    phone_proofs.spend(session, proof_id, person.phone, caller=caller, secrets=registry.secrets, now=now)


def _fill(
    session: Session,
    card: CardRow,
    resident: ResidentRow,
    person: Person,
    *,
    proved: bool,
    by: Acting,
    secrets: Secrets,
    now: datetime,
) -> None:
    """Take from an application what is not on record: of a child who had no phone, of a closed account. Replaces nothing.

    `proved`: that the phone, which is the one on record or fills the gap, was proved.
    """
    phone = () if card.status in _UNSURE else ("phone",)
    wanted = {name: getattr(person, name) for name in (*phone, "address", "employer")}
    missing = {name: value for name, value in wanted.items() if value and getattr(resident, name) is None}
    changed = [*missing, *(["phone_proved"] if proved else [])]
    if not changed or card.status == CardStatus.LOST:
        return
    if not cards.change(session, card):
        raise cards.wrong_state()
    columns = residents.sealed(resident.id, missing, sealer=secrets.sealer, blind_index=secrets.blind_index)
    columns |= {"phone_by_guardian": False} if proved or "phone" in missing else {}
    columns |= {"phone_proved_at": now} if proved else {}
    for column, value in columns.items():
        setattr(resident, column, value)
    resident.version += 1
    status = CardStatus(card.status)
    events.note(session, card, "changed", old=status, acting=by, sealer=secrets.sealer, at=now, changed=changed)
    facts = {"changed": changed, "party": by.party}
    audit.record(session, "card.changed", actor=by.actor, subject=str(card.id), at=now, facts=facts)


def _restore(
    session: Session, card: CardRow, weighed: Weighed, *, by: Acting, registry: Registry, now: datetime
) -> None:
    if not registry.restore_cancelled or card.cause not in RESTORABLE:
        raise cancelled(deceased=card.cause == Cause.DECEASED)
    weaker = outranks(proofs.least_again(card.level), weighed.level)  # else cancelling would thaw a lost card with less
    how = RESTORE_FOR_REVIEW if weaker or weighed.status is CardStatus.PENDING_REVIEW else RESTORE
    _move(session, card, how, by=by, registry=registry, now=now, weighed=weighed, level=weighed.level)
    resident = session.get_one(ResidentRow, card.resident_id)
    resident.erase_after = None
    session.flush()


def _weigh_in(
    session: Session, card: CardRow, weighed: Weighed, *, by: Acting, registry: Registry, now: datetime
) -> None:
    """A further proof of a live card: a better one raises the level, a match ends the wait, any is in the history.

    What the authority did not confirm raises nothing that is in use: that is for a match, or for a reviewer.
    """
    waits, words = card.status == CardStatus.PENDING_REVIEW, weighed.words
    better = outranks(weighed.level, Level(card.level)) and (waits or not weighed.refuted)
    if better:
        proofs.raise_level(session, card, weighed.level, by=by, words=words, registry=registry, now=now)
    if waits and weighed.found is not None and weighed.status is CardStatus.ACTIVE:
        _move(session, card, APPROVE, by=proofs.AUTHORITY, registry=registry, now=now, weighed=weighed)
        return
    if not better and (words.clerk or words.evidence):
        if not cards.change(session, card):
            raise cards.wrong_state()
        proofs.note_proof(session, card, "proof-shown", by=by, words=words, registry=registry, now=now)
    if weighed.found is not None and not better:
        proofs.note_finding(session, card, weighed.found, at=now)
    proofs.keep(session, card, weighed, at=now)


def _move(
    session: Session,
    card: CardRow,
    how: Move,
    *,
    by: Acting,
    registry: Registry,
    now: datetime,
    weighed: Weighed,
    **values: Any,
) -> None:
    secrets = registry.secrets
    lifecycle.apply(session, card, how, acting=by, secrets=secrets, now=now, words=weighed.words, proved=True, **values)
    proofs.keep(session, card, weighed, at=now)


def cancelled(*, deceased: bool = False) -> CardCancelled:
    """The answer for a person whose card is over."""
    if deceased:
        return CardCancelled(
            Text(
                "该居民的健康卡已因死亡登记注销，如有误请到发卡机构办理。",
                "This card ended with a death notice. If that is wrong, turn to an issuing institution.",
            )
        )
    return CardCancelled(
        Text(
            "该居民的健康卡已注销，请到发卡机构办理恢复。",
            "This person's card was cancelled. An issuing institution can restore it.",
        )
    )
