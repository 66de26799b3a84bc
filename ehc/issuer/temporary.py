"""Temporary cards (临时卡): for a patient whom nobody can name, until a formal card goes on with their history.

Nothing about such a card is proved: its level stays `none`, every check says so, and it expires by itself (national rules
1.9). Its code names a row and is shown once, for the wristband; who loses it gets another temporary card, joined later. Who
the patient was may be known only after it expired: the app that made it, or staff, join it then too.
"""

import unicodedata
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from ehc import audit
from ehc.callers import Caller
from ehc.cards import events
from ehc.cards import store as cards
from ehc.cards.models import CardRow
from ehc.cards.states import EXPIRE, LIVE, CardStatus, Cause, Kind, Level, Party
from ehc.cards.store import Acting, acting
from ehc.clock import local_day
from ehc.codes.temporary_text import make_temporary
from ehc.core.ids import uuid7
from ehc.core.names import normal_name
from ehc.db import UnitOfWork
from ehc.errors import InvalidValue, Text
from ehc.issuer import lifecycle, linking
from ehc.issuer.registry import Registry
from ehc.keystore.secret_keys import Secrets
from ehc.residents import store as residents
from ehc.residents.store import Person

UNKNOWN = "unknown"
"""What is given as name of somebody whom nobody knows."""
_NAMELESS = "未知"
OLDEST_VISIT = timedelta(days=7)
_SYSTEM = Acting("system", Party.SYSTEM)
_AT_ONCE = 1000
_IS_LIVE = and_(CardRow.cause.is_(None), CardRow.status.in_(LIVE))

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Arrival:
    """A patient without a card, as the window types it. `age` in whole years, if anybody can tell."""

    name: str
    sex: str
    visit_at: datetime
    age: int | None = None
    any_time: bool = False
    """Whether the visit may be of any time: for an interface that never asked for more than its form."""


def register(
    session: Session, arrival: Arrival, *, caller: Caller, registry: Registry, now: datetime
) -> tuple[CardRow, Person, str]:
    """A temporary card, whose patient it is, and its 20-digit code, told here only. Raises `InvalidValue`."""
    secrets = registry.secrets
    person = _person(arrival, now)
    if not arrival.any_time:
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
        visit_at=arrival.visit_at,
        sandbox=secrets.sandbox,
        version=1,
        created_at=now,
        status_changed_at=now,
    )
    session.add(card)
    session.flush()
    by = acting(caller)
    cards.grant(session, card, caller.id, at=now)
    visit = events.Words(evidence=f"visit {arrival.visit_at.isoformat()}")
    events.note(session, card, "registered", old=None, acting=by, sealer=secrets.sealer, at=now, words=visit)
    facts = {"level": Level.NONE, "status": card.status, "kind": Kind.TEMPORARY}
    audit.record(session, "card.registered", actor=by.actor, subject=str(card.id), at=now, facts=facts)
    return card, person, code


def join(
    session: Session, card_id: UUID, formal_id: UUID, *, reason: str, caller: Caller, registry: Registry, now: datetime
) -> CardRow:
    """Let a formal card go on with a temporary card's history; returns the formal card.

    Raises `NoSuchCard`, `Conflict`, or `HeldByStaff` for a card that staff stopped.
    """
    temporary, _, open_grant = cards.known_as(session, card_id, caller.id, at=now)
    if not open_grant and temporary.cause != Cause.EXPIRED:
        raise cards.no_such_card()
    formal, party = cards.granted_as(session, formal_id, caller.id, at=now)
    by = acting(caller, party)
    join_cards(session, temporary, formal, by=by, reason=reason, registry=registry, now=now)
    return formal


def join_cards(
    session: Session, temporary: CardRow, formal: CardRow, *, by: Acting, reason: str, registry: Registry, now: datetime
) -> None:
    """Let a formal card go on with a temporary card's history, also with one that has expired.

    Raises `Conflict`, or `HeldByStaff` unless it is staff who act.
    """
    if temporary.kind != Kind.TEMPORARY or formal.kind != Kind.FORMAL:
        raise cards.wrong_state()
    lifecycle.require_not_held(temporary, by.party)
    linking.join(session, temporary, formal, by=by, reason=reason, registry=registry, now=now)


def expire(work: UnitOfWork, *, secrets: Secrets, now: datetime) -> int:
    """End the temporary cards whose time is over, each in a transaction of its own; returns how many.

    One that cannot be ended is logged and stands in nobody's way; the next run tries it again.
    """
    ended, last = 0, 0
    while True:
        with work() as session:
            found = _overdue(session, now, after=last)
        if not found:
            return ended
        for last in found:
            try:
                with work() as session:
                    ended += _expire(session, last, secrets, now)
            except Exception:  # whatever is wrong with one card
                log.exception("temporary card not ended", card_serial=last)


def _overdue(session: Session, now: datetime, *, after: int) -> list[int]:
    over = select(CardRow.serial).where(CardRow.serial > after, _IS_LIVE, CardRow.expires_at <= now)
    return list(session.scalars(over.order_by(CardRow.serial).limit(_AT_ONCE)))


def _expire(session: Session, serial: int, secrets: Secrets, now: datetime) -> bool:
    """Whether it was ended now; not if somebody else is at it."""
    mine = select(CardRow).where(CardRow.serial == serial, _IS_LIVE).with_for_update(skip_locked=True)
    card = session.scalars(mine).one_or_none()
    if card is not None:
        lifecycle.apply(session, card, EXPIRE, acting=_SYSTEM, secrets=secrets, now=now)
    return card is not None


def _person(arrival: Arrival, now: datetime) -> Person:
    told = unicodedata.normalize("NFKC", arrival.name).strip().casefold()  # a Chinese keyboard types ｕｎｋｎｏｗｎ too
    name = _NAMELESS if told == UNKNOWN else normal_name(arrival.name)
    # Only the age is known, and only the age is ever told: the first of January makes it come out right this year.
    born = date(local_day(now).year - arrival.age, 1, 1) if arrival.age is not None else None
    return Person(name=name, phone=None, document=None, sex=arrival.sex, birth_date=born)


def _require_recent(visit_at: datetime, now: datetime) -> None:
    if not now - OLDEST_VISIT <= visit_at <= now + timedelta(minutes=5):
        message = Text(
            "就诊时间应在最近 7 天内，且不晚于现在。", "The visit was within the last 7 days, and not in the future."
        )
        raise InvalidValue.at("/visit_at", "visit-time", message)
