"""Cards and grants. Moves are guarded by the database: whoever loses a race gets a `Conflict`. Nothing here commits."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ColumnElement,
    CursorResult,
    Uuid,
    column,
    delete,
    exists,
    literal,
    or_,
    select,
    table,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ehc import audit
from ehc.callers import Caller
from ehc.cards.models import CardRow, GrantRow
from ehc.cards.states import LIVE, CardStatus, Kind, Level, Move, Party
from ehc.errors import EhcError, Text

_CLIENT = table("client", column("id", Uuid), column("sandbox", Boolean))
"""Of another room, whose module this one does not know."""


class NoSuchCard(EhcError):
    """No card with this id that the caller may see. Whether there is one that it may not see is not told."""

    code = "card-not-found"


class Conflict(EhcError):
    """The card is in a state, or has just moved to one, from which this move does not start."""

    code = "card-state"


class CardNotActive(EhcError):
    """The card is not active, so nothing is made for it: no code, no binding."""

    code = "card-not-active"


class StaleVersion(EhcError):
    """The card changed since the caller last read it."""

    code = "precondition-failed"


@dataclass(frozen=True)
class Acting:
    """Who does something to a card: the program or person for the audit log, and in which part."""

    actor: str
    party: Party


def acting(caller: Caller, party: Party = Party.RESIDENT) -> Acting:
    """A client of the service, acting in a part: `app:<id>`, and `app:<id>/resident:<identity>` with a resident's token."""
    who = f"{caller.kind}:{caller.id}"
    if caller.resident is not None:
        who += f"/resident:{caller.resident.identity_id}"
    return Acting(who, party)


def granted(session: Session, card_id: UUID, client_id: UUID, *, at: datetime) -> CardRow:
    """The card, if this client has a grant for it at that time. Raises `NoSuchCard`."""
    return granted_as(session, card_id, client_id, at=at)[0]


def granted_as(session: Session, card_id: UUID, client_id: UUID, *, at: datetime) -> tuple[CardRow, Party]:
    """The card, and whether the client acts for its holder or for the holder's guardian. Raises `NoSuchCard`."""
    card, party, open_grant = known_as(session, card_id, client_id, at=at)
    if not open_grant:
        raise no_such_card()
    return card, party


def known_to(session: Session, card_id: UUID, client_id: UUID, *, at: datetime) -> tuple[CardRow, bool]:
    """The card, and whether the client's grant is still open; a closed one shows no more than the card's state.

    Raises `NoSuchCard`.
    """
    card, _, open_grant = known_as(session, card_id, client_id, at=at)
    return card, open_grant


def known_as(session: Session, card_id: UUID, client_id: UUID, *, at: datetime) -> tuple[CardRow, Party, bool]:
    """The card, for whom the client acts, and whether its grant is still open: all of one moment. Raises `NoSuchCard`."""
    return _known(session, CardRow.id == card_id, client_id, at=at)


def known_by_ehc_id(
    session: Session, ehc_id_index: bytes, client_id: UUID, *, at: datetime
) -> tuple[CardRow, Party, bool]:
    """As `known_as`, found by the blind index of the card id (电子健康卡ID). Raises `NoSuchCard`."""
    return _known(session, CardRow.ehc_id_index == ehc_id_index, client_id, at=at)


def _known(
    session: Session, which: ColumnElement[bool], client_id: UUID, *, at: datetime
) -> tuple[CardRow, Party, bool]:
    wanted = (
        select(CardRow, GrantRow.link_id, GrantRow.closed_at.is_not(None))
        .join(GrantRow, GrantRow.card_serial == CardRow.serial)
        .where(which, GrantRow.client_id == client_id)
        .where(or_(GrantRow.until.is_(None), GrantRow.until > at))
    )
    found = session.execute(wanted).one_or_none()
    if found is None:
        raise no_such_card()
    return found[0], Party.GUARDIAN if found[1] else Party.RESIDENT, not found[2]


def by_id(session: Session, card_id: UUID) -> CardRow:
    """The card with this id, for staff. Raises `NoSuchCard`."""
    card = session.scalars(select(CardRow).where(CardRow.id == card_id)).one_or_none()
    if card is None:
        raise no_such_card()
    return card


def no_such_card() -> NoSuchCard:
    """The one answer for a card that is not there and for one that is somebody else's."""
    return NoSuchCard(
        Text("没有这张健康卡，或本应用无权访问。", "There is no such card, or this client has no grant for it.")
    )


def wrong_state() -> Conflict:
    """The answer for a move that the card's state, or a faster writer, does not allow."""
    return Conflict(
        Text(
            "卡的当前状态不能执行该操作，请先查询卡状态。", "The card's state does not allow this. Read the card first."
        )
    )


def stale() -> StaleVersion:
    """The answer for a change of a card that changed since it was read."""
    return StaleVersion(
        Text("该卡已被修改，请重新读取后再试。", "The card changed meanwhile. Read it again, then repeat.")
    )


def of_resident(session: Session, resident_id: UUID) -> CardRow | None:
    """The person's live card; where there is none, the newest of the others."""
    newest = select(CardRow).where(CardRow.resident_id == resident_id).order_by(CardRow.serial.desc())
    cards = session.scalars(newest.where(CardRow.kind == Kind.FORMAL)).all()
    return next((card for card in cards if card.status in LIVE), cards[0] if cards else None)


def joined_to(session: Session, card: CardRow) -> list[CardRow]:
    """The cards whose history goes on in this one, through any number of joins."""
    tree = select(CardRow.serial).where(CardRow.joined_to == card.serial).cte("tree", recursive=True)
    tree = tree.union(select(CardRow.serial).join(tree, CardRow.joined_to == tree.c.serial))
    return list(session.scalars(select(CardRow).where(CardRow.serial.in_(select(tree.c.serial)))))


def grant(
    session: Session,
    card: CardRow,
    client_id: UUID,
    *,
    at: datetime,
    link_id: UUID | None = None,
    until: datetime | None = None,
) -> bool:
    """Let a client see a card; returns whether it could not before. A grant of the holder's own outweighs a guardian's.

    A client of the sandbox gets none for a real person's card, nor a real client for one of the sandbox.
    """
    values = {"link_id": link_id, "until": until, "closed_at": None}
    whole = {"card_serial": card.serial, "client_id": client_id, "created_at": at, **values}
    typed = [literal(value, GrantRow.__table__.c[name].type) for name, value in whole.items()]
    of_world = exists().where(_CLIENT.c.id == client_id, _CLIENT.c.sandbox == card.sandbox)
    row = insert(GrantRow).from_select(list(whole), select(*typed).where(of_world))
    over = or_(GrantRow.closed_at.is_not(None), GrantRow.until <= at)
    if link_id is None:
        over = or_(over, GrantRow.link_id.is_not(None))
    row = row.on_conflict_do_update(index_elements=[GrantRow.card_serial, GrantRow.client_id], set_=values, where=over)
    return session.execute(row.returning(GrantRow.card_serial)).first() is not None


def close_grants(session: Session, card: CardRow, *, at: datetime) -> None:
    """End every client's access to a card that was cancelled."""
    mine = (GrantRow.card_serial == card.serial) & GrantRow.closed_at.is_(None)
    session.execute(update(GrantRow).where(mine).values(closed_at=at).execution_options(synchronize_session=False))


def drop_grants(session: Session, *, link_id: UUID) -> None:
    """Take back the grants that a family link gave."""
    session.execute(delete(GrantRow).where(GrantRow.link_id == link_id).execution_options(synchronize_session=False))


def move(
    session: Session,
    card: CardRow,
    how: Move,
    *,
    acting: Acting,
    at: datetime,
    version: int | None = None,
    **values: Any,
) -> CardStatus:
    """Move a card, guarded, and into the audit log; returns where it was. `values` are columns that change with it.

    Raises `StaleVersion` or `Conflict`, also when another writer got there first.
    """
    if version is not None and version != card.version:
        raise stale()
    if acting.party not in how.parties:
        raise wrong_state()
    old = CardStatus(card.status)
    values |= {"status": how.target, "status_changed_at": at, "cause": how.cause}
    if old not in how.sources or (old is CardStatus.CANCELLED and card.cause not in how.causes):
        raise wrong_state()
    if not change(session, card, only_from=old, **values):
        raise wrong_state()
    facts = {"from": old, "to": how.target, "party": acting.party}
    audit.record(session, f"card.{how.name}", actor=acting.actor, subject=str(card.id), at=at, facts=facts)
    return old


def change(session: Session, card: CardRow, *, only_from: CardStatus | None = None, **values: Any) -> bool:
    """Write columns of a card if nobody did since it was read; returns whether. Its version goes up by one."""
    here = (CardRow.serial == card.serial) & (CardRow.version == card.version)
    if only_from is not None:
        here &= CardRow.status == only_from
    changed = session.execute(
        update(CardRow)
        .where(here)
        .values(**values, version=CardRow.version + 1)
        .execution_options(synchronize_session=False)
    )
    session.refresh(card)
    return cast("CursorResult[Any]", changed).rowcount == 1


def raise_level(session: Session, card: CardRow, new: Level) -> None:
    """Give a card the level of a better proof of identity. Raises `Conflict` if somebody changed it meanwhile."""
    if not change(session, card, level=new):
        raise wrong_state()
