"""Temporary cards (临时卡): for a patient whom nobody can name, until a formal card goes on with their history.

Nothing about such a card is proved: its level stays `none`, every check says so, and it expires by itself (national rules
1.9). Its code names a row and is shown once, for the wristband; who loses it gets another temporary card, joined later.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc import audit
from ehc.callers import Caller
from ehc.cards import events
from ehc.cards import store as cards
from ehc.cards.models import CardRow
from ehc.cards.states import EXPIRE, LIVE, CardStatus, Kind, Level, Party
from ehc.cards.store import Acting
from ehc.clock import local_day
from ehc.codes.temporary_text import make_temporary
from ehc.core.ids import uuid7
from ehc.core.names import normal_name
from ehc.errors import InvalidValue, Text
from ehc.issuer import lifecycle, linking
from ehc.issuer.registry import Registry, acting
from ehc.keystore.secret_keys import Secrets
from ehc.residents import store as residents
from ehc.residents.store import Person

UNKNOWN = "unknown"
"""What is given as name of somebody whom nobody knows."""
_NAMELESS = "未知"
OLDEST_VISIT = timedelta(days=7)
_SYSTEM = Acting("system", Party.SYSTEM)


@dataclass(frozen=True)
class Arrival:
    """A patient without a card, as the window types it. `age` in whole years, if anybody can tell."""

    name: str
    sex: str
    visit_at: datetime
    age: int | None = None


def register(
    session: Session, arrival: Arrival, *, caller: Caller, registry: Registry, now: datetime
) -> tuple[CardRow, Person, str]:
    """A temporary card, whose patient it is, and its 20-digit code, told here only. Raises `InvalidValue`."""
    secrets = registry.secrets
    person = _person(arrival, now)
    _require_recent(arrival.visit_at, now)
    resident = residents.add_unproved(session, person, at=now, sealer=secrets.sealer, blind_index=secrets.blind_index)
    code = make_temporary()
    card = CardRow(
        id=uuid7(now),
        resident_id=resident.id,
        kind=Kind.TEMPORARY,
        status=CardStatus.ACTIVE,
        level=Level.NONE,
        security_key_version=secrets.security_key_version,
        temporary_index=secrets.blind_index.of("temporary-code", code),
        expires_at=now + timedelta(days=registry.temporary_days),
        version=1,
        created_at=now,
        status_changed_at=now,
    )
    session.add(card)
    session.flush()
    by = acting(caller, Party.STAFF)
    cards.grant(session, card, caller.id, at=now)
    visit = events.Words(evidence=f"visit {arrival.visit_at.isoformat()}")
    events.note(session, card, "registered", old=None, acting=by, sealer=secrets.sealer, at=now, words=visit)
    facts = {"level": Level.NONE, "status": card.status, "kind": Kind.TEMPORARY}
    audit.record(session, "card.registered", actor=by.actor, subject=str(card.id), at=now, facts=facts)
    return card, person, code


def join(
    session: Session, card_id: UUID, formal_id: UUID, *, reason: str, caller: Caller, registry: Registry, now: datetime
) -> CardRow:
    """Let a formal card go on with a temporary card's history; returns the formal card. Raises `NoSuchCard`, `Conflict`."""
    temporary = cards.granted(session, card_id, caller.id, at=now)
    formal = cards.granted(session, formal_id, caller.id, at=now)
    if temporary.kind != Kind.TEMPORARY or formal.kind != Kind.FORMAL:
        raise cards.wrong_state()
    by = acting(caller, Party.STAFF)
    linking.join(session, temporary, formal, by=by, reason=reason, registry=registry, now=now)
    return formal


def expire(session: Session, *, secrets: Secrets, now: datetime, most: int = 1) -> int:
    """End temporary cards whose time is over; returns how many. Call until it returns 0.

    One in a transaction: each holds the audit chain of its card, and others wait for that.
    """
    over = select(CardRow).where(CardRow.expires_at <= now, CardRow.cause.is_(None), CardRow.status.in_(LIVE))
    found = session.scalars(over.limit(most).with_for_update(skip_locked=True)).all()
    for card in found:
        lifecycle.apply(session, card, EXPIRE, acting=_SYSTEM, secrets=secrets, now=now)
    return len(found)


def _person(arrival: Arrival, now: datetime) -> Person:
    name = _NAMELESS if arrival.name.strip().lower() == UNKNOWN else normal_name(arrival.name)
    # Only the age is known, and only the age is ever told: the first of January makes it come out right this year.
    born = date(local_day(now).year - arrival.age, 1, 1) if arrival.age is not None else None
    return Person(name=name, phone=None, document=None, sex=arrival.sex, birth_date=born)


def _require_recent(visit_at: datetime, now: datetime) -> None:
    if not now - OLDEST_VISIT <= visit_at <= now + timedelta(minutes=5):
        message = Text(
            "就诊时间应在最近 7 天内，且不晚于现在。", "The visit was within the last 7 days, and not in the future."
        )
        raise InvalidValue.at("/visit_at", "visit-time", message)
