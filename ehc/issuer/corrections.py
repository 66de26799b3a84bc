"""Corrections (更正, 个人信息保护法 art. 46): a person asks to have something about them put right, and staff decide.

What is wanted is brought to normal form and checked when it is asked for, rests sealed, and is written by the decision that
grants it. `other` is for what no field holds, a check that was somebody else's for example: staff act on it themselves.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import func, select, tuple_, update
from sqlalchemy.orm import Session

from ehc import audit
from ehc.callers import Caller
from ehc.cards import store as cards
from ehc.cards.models import CardRow
from ehc.cards.states import LIVE, CardStatus, Level, Party
from ehc.cards.store import Acting, acting
from ehc.clock import local_day
from ehc.core.documents import citizen_facts, read_document
from ehc.core.ids import uuid7
from ehc.core.names import normal_name
from ehc.core.phones import normal_phone
from ehc.core.tables import ethnicity, sex
from ehc.errors import EhcError, InvalidValue, Text
from ehc.issuer import accounts, changes, family_links
from ehc.issuer.applications import Proof
from ehc.issuer.models import CorrectionRow
from ehc.issuer.proofs import Weighed
from ehc.issuer.registry import Registry
from ehc.keystore.secret_keys import Secrets
from ehc.outbox import writing as outbox
from ehc.outbox.kinds import EventKind
from ehc.residents.store import Person

MOST_OPEN = 20
"""Corrections of one card that may wait for a decision."""


class Field(StrEnum):
    """What can be put right. `nation` is the ethnicity (民族)."""

    NAME = "name"
    ID_NUMBER = "id_number"
    SEX = "sex"
    BIRTH_DATE = "birth_date"
    NATION = "nation"
    PHONE = "phone"
    ADDRESS = "address"
    EMPLOYER = "employer"
    OTHER = "other"


class Decision(StrEnum):
    """How a request ended. `void`: the account was closed first."""

    GRANTED = "granted"
    REFUSED = "refused"
    VOID = "void"


class TooManyCorrections(EhcError):
    """As many requests of this card wait as may."""

    code = "too-many-corrections"


class NoSuchCorrection(EhcError):
    """No request with this id waits for a decision."""

    code = "correction-not-found"


@dataclass(frozen=True)
class Correction:
    """One request, opened. `words` is why it was asked for, `answer` why it was decided so."""

    id: UUID
    field: Field
    wanted: str
    words: str | None
    asked_at: datetime
    decision: Decision | None
    answer: str | None
    decided_at: datetime | None


_COLUMNS = {Field.NATION: "ethnicity"}


def ask(
    session: Session,
    card: CardRow,
    field: Field,
    typed: str,
    words: str | None,
    *,
    caller: Caller,
    party: Party,
    secrets: Secrets,
    now: datetime,
) -> Correction:
    """A new request. Raises `InvalidValue` at /wanted, `TooManyCorrections`, or `Conflict` for a card that is over."""
    family_links.hold(session, {card.resident_id})
    session.refresh(card)
    person = accounts.account_of(session, card, secrets=secrets).person
    if card.status not in LIVE or (person.document is None and field in {Field.NAME, Field.ID_NUMBER}):
        raise cards.wrong_state()
    wanted = _normal(field, typed, person, today=local_day(now))
    waiting = (CorrectionRow.card_serial == card.serial) & CorrectionRow.decided_at.is_(None)
    if (session.scalar(select(func.count()).where(waiting)) or 0) >= MOST_OPEN:
        raise TooManyCorrections(
            Text("待处理的更正申请已达上限，请等待处理。", "Too many requests of this card wait. Wait for a decision.")
        )
    row_id = uuid7(now)
    sealed = secrets.sealer.seal(orjson.dumps({"wanted": wanted, "words": words}).decode(), _place("wanted", row_id))
    row = CorrectionRow(
        id=row_id, card_serial=card.serial, client_id=caller.id, field=field, wanted=sealed, asked_at=now
    )
    session.add(row)
    session.flush()
    facts = {"correction": str(row_id), "field": field, "party": party}
    _record(session, card, "correction-asked", facts, actor=acting(caller, party).actor, now=now)
    return _opened(row, secrets)


def decide(
    session: Session, correction_id: UUID, *, grant: bool, by: str, reason: str, registry: Registry, now: datetime
) -> Correction:
    """Grant or refuse a request; what is granted is written in the same transaction. `by` is a staff number.

    Raises `NoSuchCorrection`, or what the change raises: `Conflict`, `DocumentInUse`.
    """
    serial = session.scalar(select(CorrectionRow.card_serial).where(CorrectionRow.id == correction_id))
    if serial is None:
        raise _no_such_correction()
    card = session.get_one(CardRow, serial)
    family_links.hold(session, {card.resident_id})  # before the request: closing the account takes them in this order
    session.refresh(card)
    waiting = select(CorrectionRow).where(CorrectionRow.id == correction_id, CorrectionRow.decided_at.is_(None))
    row = session.scalars(waiting.with_for_update()).one_or_none()
    if row is None:
        raise _no_such_correction()
    asked = _opened(row, registry.secrets)
    staff = Acting(f"staff:{by}", Party.STAFF)
    if grant and asked.field is not Field.OTHER:
        _apply(session, card, asked, staff=staff, registry=registry, now=now)
    row.decision = Decision.GRANTED if grant else Decision.REFUSED
    row.decided_by, row.decided_at = staff.actor, now
    row.reason = registry.secrets.sealer.seal(reason, _place("reason", row.id))
    session.flush()
    facts = {"correction": str(row.id), "field": row.field, "decision": row.decision}
    _record(session, card, "correction-decided", facts, actor=staff.actor, now=now)
    told = {"status": card.status, "correction_id": str(row.id)}
    outbox.put(session, EventKind.REVIEW_DECIDED, card.serial, told, at=now)
    session.flush()
    return _opened(row, registry.secrets)


def drop_open(session: Session, serials: Collection[int], *, now: datetime) -> None:
    """Let the requests that wait end undecided: their account was closed."""
    waiting = CorrectionRow.card_serial.in_(serials) & CorrectionRow.decided_at.is_(None)
    void = {"decision": Decision.VOID, "decided_by": "system", "decided_at": now}
    session.execute(update(CorrectionRow).where(waiting).values(void).execution_options(synchronize_session=False))


def waiting(session: Session, *, most: int = 1000) -> list[tuple[CorrectionRow, UUID]]:
    """Requests that wait for a decision, the oldest first, each with its card's id. Sealed."""
    wanted = select(CorrectionRow, CardRow.id).join(CardRow, CardRow.serial == CorrectionRow.card_serial)
    wanted = wanted.where(CorrectionRow.decided_at.is_(None)).order_by(CorrectionRow.asked_at, CorrectionRow.id)
    return [(row, card_id) for row, card_id in session.execute(wanted.limit(most))]


def read(session: Session, correction_id: UUID, *, actor: str, secrets: Secrets, now: datetime) -> Correction:
    """A request opened for staff, which the holder sees in the list of who looked. Raises `NoSuchCorrection`."""
    row = session.get(CorrectionRow, correction_id)
    if row is None:
        raise _no_such_correction()
    card = session.get_one(CardRow, row.card_serial)
    _record(session, card, "correction-read", {"correction": str(row.id)}, actor=actor, now=now)
    return _opened(row, secrets)


def of_cards(session: Session, serials: Collection[int], *, secrets: Secrets) -> list[Correction]:
    """Every request of some cards, the oldest first, opened."""
    wanted = select(CorrectionRow).where(CorrectionRow.card_serial.in_(serials))
    return [_opened(row, secrets) for row in session.scalars(wanted.order_by(CorrectionRow.asked_at, CorrectionRow.id))]


def page(
    session: Session, card: CardRow, *, limit: int, before: tuple[datetime, UUID] | None, secrets: Secrets
) -> tuple[list[Correction], bool]:
    """A page of a card's requests, the newest first, and whether more follow."""
    place = CorrectionRow.asked_at, CorrectionRow.id
    wanted = select(CorrectionRow).where(CorrectionRow.card_serial == card.serial)
    if before is not None:
        wanted = wanted.where(tuple_(*place) < tuple_(*before))
    rows = list(session.scalars(wanted.order_by(*(column.desc() for column in place)).limit(limit + 1)))
    return [_opened(row, secrets) for row in rows[:limit]], len(rows) > limit


def _normal(field: Field, typed: str, person: Person, *, today: date) -> str:
    """What is wanted, in the form in which it will be stored. Raises `InvalidValue` at /wanted."""
    try:
        return _read(field, typed, person, today)
    except InvalidValue as error:  # it names the member that registration has; here there is one
        raise InvalidValue(
            error.detail, fields=tuple(replace(wrong, pointer="/wanted") for wrong in error.fields)
        ) from None


def _read(field: Field, typed: str, person: Person, today: date) -> str:
    if field is Field.NAME:
        return normal_name(typed)
    if field is Field.ID_NUMBER:
        return read_document(accounts.document_of(person).type, typed, today=today).number
    if field is Field.PHONE:
        return normal_phone(typed)
    if field is Field.BIRTH_DATE:
        return _birth_date(typed, person, today).isoformat()
    if field in {Field.SEX, Field.NATION}:
        code = sex(typed) if field is Field.SEX else ethnicity(typed)
        if code is None:
            raise _wrong("choice", Text("取值不在国家标准代码表中。", "Not a value of the national code table."))
        return code
    return typed


def _birth_date(typed: str, person: Person, today: date) -> date:
    try:
        born = date.fromisoformat(typed)
    except ValueError:
        raise _wrong("date", Text("日期格式应为 YYYY-MM-DD。", "Write the date as YYYY-MM-DD.")) from None
    facts = citizen_facts(person.document) if person.document else None
    if born > today:
        raise _wrong("birth-date-future", Text("出生日期不能晚于今天。", "A birth date is not in the future."))
    if facts is not None and facts.birth_date != born:
        raise _wrong(
            "birth-date-mismatch",
            Text("出生日期与证件号码不一致，请先更正证件号码。", "The document number says otherwise. Correct that."),
        )
    return born


def _wrong(code: str, message: Text) -> InvalidValue:
    return InvalidValue.at("/wanted", code, message)


def _apply(
    session: Session, card: CardRow, asked: Correction, *, staff: Acting, registry: Registry, now: datetime
) -> None:
    if card.status not in LIVE:
        raise cards.wrong_state()
    if asked.field in {Field.NAME, Field.ID_NUMBER}:
        _correct_identity(session, card, asked, staff=staff, registry=registry, now=now)
    else:
        wanted = date.fromisoformat(asked.wanted) if asked.field is Field.BIRTH_DATE else asked.wanted
        facts = {_COLUMNS.get(asked.field, asked.field.value): wanted}
        changes.correct_facts(session, card, facts, by=staff, registry=registry, now=now)


def _correct_identity(
    session: Session, card: CardRow, asked: Correction, *, staff: Acting, registry: Registry, now: datetime
) -> None:
    """Staff stand for the proof: it is theirs that the decision rests on."""
    person = accounts.account_of(session, card, secrets=registry.secrets).person
    old = accounts.document_of(person)
    name, document, replaced = asked.wanted, old, changes.Replaced.RENEWED
    if asked.field is Field.ID_NUMBER:
        name, document, replaced = person.name, replace(old, number=asked.wanted), changes.Replaced.CORRECTED
    proof = Proof(Level.CLERK, f"correction {asked.id}", staff.actor)
    weighed = Weighed(proof, Level.CLERK, CardStatus.ACTIVE)
    wanted = changes.Identity(name, document, replaced)
    changes.change_identity(session, card, wanted, weighed, by=staff, registry=registry, now=now)


def _no_such_correction() -> NoSuchCorrection:
    return NoSuchCorrection(
        Text("没有这条待处理的更正申请。", "No request with this id waits. `ehc cards corrections` lists them.")
    )


def _record(
    session: Session, card: CardRow, action: str, facts: Mapping[str, Any], *, actor: str, now: datetime
) -> None:
    audit.record(session, f"card.{action}", actor=actor, subject=str(card.id), at=now, facts=facts)


def _opened(row: CorrectionRow, secrets: Secrets) -> Correction:
    asked = orjson.loads(secrets.sealer.unseal(row.wanted, _place("wanted", row.id)))
    return Correction(
        id=row.id,
        field=Field(row.field),
        wanted=asked["wanted"],
        words=asked["words"],
        asked_at=row.asked_at,
        decision=Decision(row.decision) if row.decision else None,
        answer=secrets.sealer.unseal(row.reason, _place("reason", row.id)) if row.reason else None,
        decided_at=row.decided_at,
    )


def _place(column: str, correction_id: UUID) -> str:
    return f"correction.{column}:{correction_id}"
