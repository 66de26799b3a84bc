"""Registration, and reading an account. Functions take a session, a clock and keys; none commits."""

import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Any

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
    outranks,
)
from ehc.cards.store import Acting
from ehc.core.documents import Document
from ehc.core.ids import uuid7
from ehc.errors import EhcError, Text
from ehc.issuer import family_links, lifecycle, phone_proofs, proofs
from ehc.issuer.applications import Application
from ehc.issuer.proofs import Weighed
from ehc.issuer.registry import Registry, acting, national_ids, open_ids
from ehc.keystore.secret_keys import Secrets
from ehc.residents import store as residents
from ehc.residents.models import DocumentRow, ResidentRow
from ehc.residents.store import Person


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

    `person` is `wanted` in normal form, and `weighed` its proof. Raises `InvalidValue`, `IdentityMismatch` or
    `CardCancelled`.
    """
    document = _known(session, person, registry)
    made = None
    if document is None:
        try:
            with session.begin_nested():
                made = open_account(session, person, weighed, by=acting(caller), registry=registry, now=now)
        except IntegrityError:  # another request registered the same person in this very moment
            document = _known(session, person, registry)
            if document is None:
                raise
    account = made or _known_account(session, document, person, weighed, caller=caller, registry=registry, now=now)
    if cards.grant(session, account.card, caller.id, at=now) and made is None:
        audit.record(session, "card.granted", actor=acting(caller).actor, subject=str(account.card.id), at=now)
    if wanted.phone_proof is not None:
        phone_proofs.spend(session, wanted.phone_proof, person.phone, caller=caller, secrets=registry.secrets, now=now)
        _phone_is_proved(session, account, person, registry.secrets, now)
    return account, made is not None


def needs_proof(session: Session, person: Person, *, registry: Registry) -> bool:
    """Whether asking the identity authority about an applicant can change anything."""
    document = _known(session, person, registry)
    card = cards.of_resident(session, document.resident_id) if document else None
    return (
        card is None
        or card.level != Level.EXTERNAL_MATCH
        or card.status not in {CardStatus.ACTIVE, CardStatus.SUSPENDED}
    )


def account_of(session: Session, card: CardRow, *, secrets: Secrets) -> Account:
    """A card with its holder, opened."""
    resident = session.get_one(ResidentRow, card.resident_id)
    document = session.get_one(DocumentRow, card.document_id) if card.document_id else None
    person = residents.open_person(resident, document, sealer=secrets.sealer)
    return Account(card, person, *open_ids(card, secrets))


def open_account(
    session: Session, person: Person, weighed: Weighed, *, by: Acting, registry: Registry, now: datetime
) -> Account:
    """A new card for a person who is not known. Raises `IntegrityError` if the document is, by now."""
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
    return Account(card, person, *open_ids(card, secrets))


def require_same_name(known: str, given: str) -> None:
    """Raises `IdentityMismatch` where two names in normal form differ."""
    if not hmac.compare_digest(known.encode(), given.encode()):
        raise IdentityMismatch(
            Text(
                "姓名与证件信息不一致，请核对后重试。",
                "Name and document do not fit together. Check both, then try again.",
            )
        )


def document_of(person: Person) -> Document:
    """The document of a person who has one. Raises `LookupError`."""
    if person.document is None:
        raise LookupError("nobody has proved this person's identity")
    return person.document


def apply_again(
    session: Session, card: CardRow, weighed: Weighed, *, by: Acting, registry: Registry, now: datetime
) -> None:
    """What a further application does to a card: a better proof counts, and what ended may begin anew.

    Raises `CardCancelled`.
    """
    if card.status == CardStatus.CANCELLED:
        _restore(session, card, weighed, by=by, registry=registry, now=now)
    elif card.status == CardStatus.REJECTED:
        how = REAPPLY_FOR_REVIEW if weighed.status is CardStatus.PENDING_REVIEW else REAPPLY
        _move(session, card, how, by=by, registry=registry, now=now, weighed=weighed, level=weighed.level)
    else:
        _raise_level(session, card, weighed, by=by, registry=registry, now=now)


def _known(session: Session, person: Person, registry: Registry) -> DocumentRow | None:
    return residents.find(session, document_of(person), blind_index=registry.secrets.blind_index)


def _known_account(
    session: Session,
    document: DocumentRow | None,
    person: Person,
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
    card = cards.of_resident(session, resident.id)
    if card is None:
        raise cancelled()
    apply_again(session, card, weighed, by=acting(caller), registry=registry, now=now)
    _fill(session, card, resident, person, by=acting(caller), secrets=secrets, now=now)
    return account_of(session, card, secrets=secrets)


def _fill(
    session: Session,
    card: CardRow,
    resident: ResidentRow,
    person: Person,
    *,
    by: Acting,
    secrets: Secrets,
    now: datetime,
) -> None:
    """Take from an application what is not on record: of a child who had no phone, of a closed account. Replaces nothing."""
    session.refresh(resident)
    wanted = {name: getattr(person, name) for name in ("phone", "address", "employer")}
    missing = {name: value for name, value in wanted.items() if value and getattr(resident, name) is None}
    if not missing or card.status == CardStatus.LOST or not cards.change(session, card):
        return
    columns = residents.sealed(resident.id, missing, sealer=secrets.sealer, blind_index=secrets.blind_index)
    for column, value in columns.items():
        setattr(resident, column, value)
    resident.version += 1
    status, changed = CardStatus(card.status), list(missing)
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


def _raise_level(
    session: Session, card: CardRow, weighed: Weighed, *, by: Acting, registry: Registry, now: datetime
) -> None:
    better = outranks(weighed.level, Level(card.level))
    if better:
        cards.raise_level(session, card, weighed.level)
        old, sealer = CardStatus(card.status), registry.secrets.sealer
        events.note(session, card, "level-raised", old=old, acting=by, sealer=sealer, at=now, words=weighed.words)
        facts = {"level": weighed.level}
        audit.record(session, "card.level-raised", actor=by.actor, subject=str(card.id), at=now, facts=facts)
    confirmed = weighed.found is not None and weighed.status is CardStatus.ACTIVE
    if card.status == CardStatus.PENDING_REVIEW and confirmed:
        _move(session, card, APPROVE, by=proofs.AUTHORITY, registry=registry, now=now, weighed=weighed)
    elif better or card.status == CardStatus.PENDING_REVIEW:
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
    lifecycle.apply(session, card, how, acting=by, secrets=secrets, now=now, words=weighed.words, **values)
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


def _phone_is_proved(session: Session, account: Account, person: Person, secrets: Secrets, now: datetime) -> None:
    """A proved phone becomes the phone of the account, also of one that was there already."""
    resident = session.get_one(ResidentRow, account.card.resident_id)
    for column, value in residents.sealed(
        resident.id, {"phone": person.phone}, sealer=secrets.sealer, blind_index=secrets.blind_index
    ).items():
        setattr(resident, column, value)
    resident.phone_proved_at = now
    resident.version += 1
    session.flush()
