"""Registration, and what happens to a card after it. Functions take a session, a clock and keys; none commits."""

import hmac
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ehc import audit
from ehc.callers import Caller
from ehc.cards import store as cards
from ehc.cards.models import CardRow
from ehc.cards.states import (
    APPROVE,
    REAPPLY,
    REAPPLY_FOR_REVIEW,
    REJECT,
    CardStatus,
    Level,
    Move,
    outranks,
)
from ehc.clock import local_day
from ehc.codes import national
from ehc.core.documents import citizen_facts, read_document
from ehc.core.ids import uuid7
from ehc.core.names import normal_name
from ehc.core.phones import normal_phone
from ehc.errors import EhcError, InvalidValue, Text, WrongFields
from ehc.keystore.secret_keys import Secrets
from ehc.residents import store as residents
from ehc.residents.models import DocumentRow, ResidentRow
from ehc.residents.store import Person


class IdentityMismatch(EhcError):
    """The document is known under another name. The answer says no more than that the two do not fit."""

    code = "identity-mismatch"


class CardCancelled(EhcError):
    """The person's card was cancelled; a new application needs the old one restored."""

    code = "card-cancelled"


@dataclass(frozen=True)
class Application:
    """What an app sends to register a person, as typed."""

    name: str
    id_type: str
    id_number: str
    phone: str
    level: Level
    sex: str | None = None
    birth_date: date | None = None
    ethnicity: str | None = None
    address: str | None = None
    evidence: str | None = None


@dataclass(frozen=True)
class Account:
    """A card and its holder, in clear, for whoever may see them."""

    card: CardRow
    person: Person
    ehc_id: str
    index_id: str


@dataclass(frozen=True)
class Registry:
    """What registering needs besides a session: the keys, and which proofs wait for a person to confirm them."""

    secrets: Secrets
    reviewed_levels: frozenset[Level] = frozenset()

    def first_status(self, level: Level) -> CardStatus:
        """The state in which a card of this level starts."""
        return CardStatus.PENDING_REVIEW if level in self.reviewed_levels else CardStatus.ACTIVE


def register(
    session: Session, wanted: Application, *, caller: Caller, registry: Registry, now: datetime
) -> tuple[Account, bool]:
    """The person's account, and whether it was made now. The same person again has the same card and gains a grant.

    Raises `InvalidValue`, `IdentityMismatch` or `CardCancelled`.
    """
    person = read_person(wanted, today=local_day(now))
    document = residents.find(session, person.document, blind_index=registry.secrets.blind_index)
    if document is None:
        try:
            with session.begin_nested():
                return _open_account(session, person, wanted, caller=caller, registry=registry, now=now), True
        except IntegrityError:  # another request registered the same person in this very moment
            document = residents.find(session, person.document, blind_index=registry.secrets.blind_index)
            if document is None:
                raise
    return _known_account(session, document, person, wanted, caller=caller, registry=registry, now=now), False


def read_person(wanted: Application, *, today: date) -> Person:
    """An application in normal form (national rules 1.4). Raises one `InvalidValue` that names every wrong member."""
    wrong = WrongFields()
    with wrong:
        name = normal_name(wanted.name)
    with wrong:
        phone = normal_phone(wanted.phone)
    with wrong:
        document = read_document(wanted.id_type, wanted.id_number, today=today)
        facts = citizen_facts(document)
        birth_date = _birth_date(wanted.birth_date, facts.birth_date if facts else None, today)
    wrong.require_none()
    sex = wanted.sex or (facts.sex if facts else None)  # a number whose sex digit is wrong does exist: believe the app
    return Person(name, phone, document, sex, birth_date, wanted.ethnicity, wanted.address)


def account_of(session: Session, card: CardRow, *, secrets: Secrets) -> Account:
    """A card with its holder, opened."""
    resident = session.get_one(ResidentRow, card.resident_id)
    document = session.get_one(DocumentRow, card.document_id)
    return Account(
        card=card,
        person=residents.open_person(resident, document, sealer=secrets.sealer),
        ehc_id=secrets.sealer.unseal(card.ehc_id, _place("ehc_id", card.id)),
        index_id=secrets.sealer.unseal(card.index_id, _place("index_id", card.id)),
    )


def change_status(
    session: Session,
    card_id: UUID,
    how: Move,
    *,
    caller: Caller,
    reason: str,
    secrets: Secrets,
    now: datetime,
    version: int | None = None,
) -> Account:
    """Suspend, resume or cancel a card that the caller has a grant for. Raises `NoSuchCard`, `Conflict`, `StaleVersion`."""
    card = cards.granted(session, card_id, caller.id)
    _move(session, card, how, actor=_actor(caller), reason=reason, secrets=secrets, now=now, version=version)
    return account_of(session, card, secrets=secrets)


def review(
    session: Session, card: CardRow, *, approve: bool, actor: str, reason: str | None, secrets: Secrets, now: datetime
) -> None:
    """Decide an application that waits for review. Raises `Conflict` if it does not, or no longer, wait."""
    how = APPROVE if approve else REJECT
    _move(session, card, how, actor=actor, reason=reason, secrets=secrets, now=now)


def _open_account(
    session: Session, person: Person, wanted: Application, *, caller: Caller, registry: Registry, now: datetime
) -> Account:
    secrets = registry.secrets
    document = residents.add(session, person, sealer=secrets.sealer, blind_index=secrets.blind_index, at=now)
    index = national.index_id(person.document, person.name)
    index_id = national.hex_upper(index)
    ehc_id = national.hex_upper(national.card_id(secrets.security_key, person.document, index))
    card_id = uuid7(now)
    card = CardRow(
        id=card_id,
        resident_id=document.resident_id,
        document_id=document.id,
        status=registry.first_status(wanted.level),
        level=wanted.level,
        ehc_id=secrets.sealer.seal(ehc_id, _place("ehc_id", card_id)),
        ehc_id_index=secrets.blind_index.of("ehc-id", ehc_id),
        index_id=secrets.sealer.seal(index_id, _place("index_id", card_id)),
        index_id_index=secrets.blind_index.of("index-id", index_id),
        security_key_version=secrets.security_key_version,
        version=1,
        created_at=now,
        status_changed_at=now,
    )
    session.add(card)
    session.flush()
    actor = _actor(caller)
    cards.grant(session, card, caller.id, at=now)
    cards.note(session, card, None, actor=actor, sealer=secrets.sealer, at=now, evidence=wanted.evidence)
    facts = {"level": wanted.level, "status": card.status}
    audit.record(session, "card.registered", actor=actor, subject=str(card_id), at=now, facts=facts)
    return Account(card, person, ehc_id, index_id)


def _known_account(
    session: Session,
    document: DocumentRow,
    person: Person,
    wanted: Application,
    *,
    caller: Caller,
    registry: Registry,
    now: datetime,
) -> Account:
    secrets = registry.secrets
    resident = session.get_one(ResidentRow, document.resident_id)
    known = residents.open_person(resident, document, sealer=secrets.sealer)
    if not hmac.compare_digest(known.name.encode(), person.name.encode()):
        raise IdentityMismatch(
            Text(
                "姓名与证件信息不一致，请核对后重试。",
                "Name and document do not fit together. Check both, then try again.",
            )
        )
    card = cards.of_resident(session, resident.id)
    if card is None or card.status == CardStatus.CANCELLED:
        raise CardCancelled(
            Text(
                "该居民的健康卡已注销，请到发卡机构办理恢复。",
                "This person's card was cancelled. An issuing institution can restore it.",
            )
        )
    _apply_again(session, card, wanted, caller=caller, registry=registry, now=now)
    if cards.grant(session, card, caller.id, at=now):
        audit.record(session, "card.granted", actor=_actor(caller), subject=str(card.id), at=now)
    return account_of(session, card, secrets=secrets)


def _apply_again(
    session: Session, card: CardRow, wanted: Application, *, caller: Caller, registry: Registry, now: datetime
) -> None:
    """A rejected application starts anew; a better proof of identity raises the level."""
    if outranks(wanted.level, Level(card.level)):
        actor, sealer = _actor(caller), registry.secrets.sealer
        cards.raise_level(session, card, wanted.level)
        cards.note(session, card, CardStatus(card.status), actor=actor, sealer=sealer, at=now, evidence=wanted.evidence)
        facts = {"level": wanted.level}
        audit.record(session, "card.level-raised", actor=actor, subject=str(card.id), at=now, facts=facts)
    if card.status == CardStatus.REJECTED:
        waits = registry.first_status(wanted.level) is CardStatus.PENDING_REVIEW
        how = REAPPLY_FOR_REVIEW if waits else REAPPLY
        _move(session, card, how, actor=_actor(caller), reason=None, secrets=registry.secrets, now=now)


def _move(
    session: Session,
    card: CardRow,
    how: Move,
    *,
    actor: str,
    reason: str | None,
    secrets: Secrets,
    now: datetime,
    version: int | None = None,
) -> None:
    cards.move(session, card, how, actor=actor, reason=reason, sealer=secrets.sealer, at=now, version=version)
    audit.record(session, f"card.{how.name}", actor=actor, subject=str(card.id), at=now)


def _birth_date(given: date | None, known: date | None, today: date) -> date | None:
    if given and known and given != known:
        message = Text(
            "出生日期与证件号码不一致，请核对。", "The birth date is not the one in the document number. Check both."
        )
        raise InvalidValue.at("/birth_date", "birth-date-mismatch", message)
    if given and given > today:
        raise InvalidValue.at(
            "/birth_date", "birth-date-future", Text("出生日期不能晚于今天。", "A birth date is not in the future.")
        )
    return given or known


def _actor(caller: Caller) -> str:
    return f"{caller.kind}:{caller.id}"


def _place(column: str, card_id: UUID) -> str:
    return f"card.{column}:{card_id}"
