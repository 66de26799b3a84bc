"""The moves of a plastic card (`PLASTIC_MOVES`), each guarded by the database. Nothing here commits."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session

from ehc.cards import binding_events, bindings, blacklist
from ehc.cards.binding_events import BindingKind, Why
from ehc.cards.models import CardRow
from ehc.cards.plastic_models import PlasticCardRow
from ehc.cards.plastic_states import LISTED, RUN_OUT, UNBIND, PlasticMove, PlasticState
from ehc.cards.states import Party
from ehc.cards.store import Acting
from ehc.crypto.sealed import Sealer
from ehc.errors import EhcError, Text

_BY_ITSELF = Acting("system", Party.SYSTEM)


class PlasticConflict(EhcError):
    """The plastic card is in a state, or has just moved to one, from which this move does not start."""

    code = "plastic-state"


@dataclass(frozen=True)
class Shown:
    """As whom a move is made, what opens its number, and when."""

    acting: Acting
    sealer: Sealer
    now: datetime


def state_of(row: PlasticCardRow, now: datetime) -> PlasticState:
    """The state by the clock: a temporary loss that has run out counts as active, whether the job came by or not."""
    ran_out = row.until is not None and row.until <= now
    return PlasticState.ACTIVE if ran_out else PlasticState(row.state)


def hold(session: Session, card: CardRow, row: PlasticCardRow) -> None:
    """Hold a card until the transaction ends and read its plastic card again, so that whoever acts on it takes turns."""
    session.execute(select(CardRow.serial).where(CardRow.serial == card.serial).with_for_update(key_share=True))
    session.refresh(row)


def move(
    session: Session,
    card: CardRow,
    row: PlasticCardRow,
    how: PlasticMove,
    *,
    shown: Shown,
    why: Why | None = None,
    until: datetime | None = None,
    ended_for: str | None = None,
) -> PlasticCardRow:
    """Move a plastic card, guarded, with its event, its audit row and the blacklist; the row as it is then.

    Raises `PlasticConflict`, also when another writer got there first.
    """
    if how is not RUN_OUT and row.until is not None and row.until <= shown.now:
        before = shown.now - timedelta(microseconds=1)  # the changes of a card are told in the order of their times
        run_out(session, card, row, sealer=shown.sealer, now=before)
    old = PlasticState(row.state)
    if shown.acting.party not in how.parties or old not in how.sources or row.card_serial != card.serial:
        raise wrong_state()
    values = {"state": how.target, "until": until, "ended_for": ended_for, "state_changed_at": shown.now}
    if not _change(session, row, **values):
        raise wrong_state()
    if how.target in LISTED:
        bindings.put_on_blacklist(session, row, how.target, sealer=shown.sealer, at=shown.now)
    elif how is not UNBIND:  # a lost card that is unbound stays on the list until its time
        bindings.put_on_blacklist(session, row, None, sealer=shown.sealer, at=shown.now)
    binding_events.note(
        session,
        card,
        BindingKind.PLASTIC_CARD,
        row.id,
        how.name,
        acting=shown.acting,
        at=shown.now,
        institution_id=row.institution_id,
        why=why,
    )
    return row


def run_out(session: Session, card: CardRow, row: PlasticCardRow, *, sealer: Sealer, now: datetime) -> None:
    """End a temporary loss whose time is over. Raises `PlasticConflict` if somebody else just did."""
    move(session, card, row, RUN_OUT, shown=Shown(_BY_ITSELF, sealer, now))


def end_losses(session: Session, *, sealer: Sealer, now: datetime) -> int:
    """End one temporary loss whose time is over; how many. Waits for nobody: what is held is for the next time.

    One in a transaction, since the audit chains of several cards would be locked in no order. Call until it returns 0.
    """
    over = select(PlasticCardRow, CardRow).join(CardRow, CardRow.serial == PlasticCardRow.card_serial)
    over = over.where(PlasticCardRow.until <= now).limit(1).with_for_update(skip_locked=True, key_share=True)
    found = session.execute(over).one_or_none()
    if found is None:
        return 0
    row, card = found
    run_out(session, card, row, sealer=sealer, now=now)
    return 1


def drop_listed(session: Session, *, now: datetime) -> int:
    """Take entries of plastic cards that were unbound while lost off the blacklist once their time is over; how many."""
    return blacklist.drop_run_out(session, now=now)


def wrong_state() -> PlasticConflict:
    """The answer for a move that the state of the plastic card, or a faster writer, does not allow."""
    return PlasticConflict(
        Text(
            "该实体卡的当前状态不能执行该操作，请先查询。",
            "The state of the plastic card does not allow this. Read it first.",
        )
    )


def _change(session: Session, row: PlasticCardRow, **values: Any) -> bool:
    """Write columns if nobody did since the row was read; whether. Its version goes up by one."""
    here = (PlasticCardRow.id == row.id) & (PlasticCardRow.version == row.version) & (PlasticCardRow.state == row.state)
    changed = session.execute(
        update(PlasticCardRow)
        .where(here)
        .values(**values, version=PlasticCardRow.version + 1)
        .execution_options(synchronize_session=False)
    )
    session.refresh(row)
    return cast("CursorResult[Any]", changed).rowcount == 1
