"""Plastic cards (实体卡) on a card: bound after a check at a terminal, lost, found, replaced, unbound (`PLASTIC_MOVES`).

A number that a terminal read is the only thing a card is known by. It leads to one card: a unique index over all that hold one,
so whoever comes second is refused, whichever worker they ask. Who acts on a plastic card holds its health card first, so that
acts and the end of the card take turns. Nothing here commits.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ehc.binding import plastic_moves, proofs
from ehc.binding.patient_ids import no_such_binding
from ehc.binding.plastic_moves import Shown
from ehc.binding.proofs import AlreadyBound
from ehc.callers import Caller
from ehc.cards import binding_events, bindings, blacklist
from ehc.cards import store as cards
from ehc.cards.binding_events import BindingKind, Why
from ehc.cards.models import CardRow
from ehc.cards.plastic_models import PlasticCardRow
from ehc.cards.plastic_numbers import number_index
from ehc.cards.plastic_states import BOUND, CONFIRM_LOSS, FIND, HELD, REPLACE, REPORT, UNBIND, WITHDRAW, PlasticState
from ehc.cards.states import Kind, Party
from ehc.cards.store import Acting, CardNotActive
from ehc.core.ids import uuid7
from ehc.core.plastic_kinds import PlasticKind, plastic_kinds
from ehc.errors import InvalidValue, Text
from ehc.keystore.secret_keys import Secrets

PROVES = frozenset({"dynamic", "static-confirmed"})
"""What a check has to have been (`verification.assurance`) to prove that the holder stood there."""
_PROVES_TEMPORARY = PROVES | {"unverified"}  # nobody knows who it is; that this is their wristband is what counts


@dataclass(frozen=True)
class HolderSays:
    """Name and document of whoever stands at the terminal. Personal data."""

    name: str = field(repr=False)
    id_type: str
    id_number: str = field(repr=False)


@dataclass(frozen=True)
class Desk:
    """What an act at a terminal works with: who asks, the check that proves the holder's presence, keys, the time."""

    caller: Caller
    verification_id: UUID
    secrets: Secrets
    now: datetime

    @property
    def acting(self) -> Acting:
        """The terminal, as staff."""
        return cards.acting(self.caller, Party.STAFF)


def read_number(kind: PlasticKind, text: str) -> str:
    """A number as a reader returned it, in the one form in which it is kept. Raises `InvalidValue` at /card_number."""
    number = kind.read(text)
    if number is None:
        told = Text(
            f"应为{kind.form_text.zh}，由读卡器读出，不可用身份证号。",
            f"Send {kind.form_text.en}, as the reader returns it; never a citizen id number.",
        )
        raise InvalidValue.at("/card_number", "form", told)
    return number


def bind(
    session: Session, card_id: UUID, kind: PlasticKind, number: str, holder: HolderSays | None, *, desk: Desk
) -> tuple[PlasticCardRow, bool]:
    """Bind the plastic card in a terminal's reader to a card that was checked there just now; the row, and if it is new.

    Raises `NoSuchCard`, those of `proofs.require_check` and `proofs.hold_active`, `HolderMismatch`, `AlreadyBound`.
    """
    card = cards.by_id(session, card_id)
    _require_proof(session, card, kind, holder, desk=desk)
    index = number_index(desk.secrets.blind_index, kind, desk.caller.institution_id, number)
    held = _holding(session, index)
    if held is not None and (held.card_serial != card.serial or held.state == PlasticState.REPLACED):
        raise _already_bound()
    return (held, False) if held is not None else (_add(session, card, kind, number, index, desk=desk), True)


def replace(
    session: Session, card_id: UUID, binding_id: UUID, card_number: str, holder: HolderSays | None,
    *, desk: Desk,
) -> tuple[PlasticCardRow, bool]:  # fmt: skip
    """Put another plastic card of the kind in the place of one that is bound; the new row, and whether it is new.

    The old one is on the blacklist for ever. Raises what `bind` does, `NoSuchBinding`, `InvalidValue`, `PlasticConflict`.
    """
    card = cards.by_id(session, card_id)
    old = of_card(session, card, binding_id, institution_id=desk.caller.institution_id)
    kind = plastic_kinds()[old.kind]
    number = read_number(kind, card_number)
    _require_proof(session, card, kind, holder, desk=desk)
    session.refresh(old)
    index = number_index(desk.secrets.blind_index, kind, desk.caller.institution_id, number)
    if index == old.number_index:
        raise InvalidValue.at("/card_number", "same", Text("新旧卡号相同。", "Old and new card are the same."))
    if old.replaced_by is not None:
        following = session.get_one(PlasticCardRow, old.replaced_by)
        if following.number_index == index:
            return following, False
    if _holding(session, index) is not None:
        raise _already_bound()
    shown = Shown(desk.acting, desk.secrets.sealer, desk.now)
    plastic_moves.move(session, card, old, REPLACE, shown=shown, ended_for="replaced")
    new = _add(session, card, kind, number, index, desk=desk)
    old.replaced_by = new.id
    session.flush()
    return new, True


def confirm_loss(session: Session, card_id: UUID, binding_id: UUID, *, reason: str, desk: Desk) -> PlasticCardRow:
    """Report a plastic card lost at a terminal, the holder having proved who they are (挂失); it has no end by itself.

    Raises `NoSuchCard`, `NoSuchBinding`, those of `proofs.require_check`, `PlasticConflict`.
    """
    card = cards.by_id(session, card_id)
    row = of_card(session, card, binding_id, institution_id=desk.caller.institution_id)
    _require_check(session, card, desk)
    plastic_moves.hold(session, card, row)
    why = Why(reason, desk.secrets.sealer)
    return plastic_moves.move(session, card, row, CONFIRM_LOSS, shown=_shown(desk), why=why)


def find(session: Session, card_id: UUID, binding_id: UUID, *, desk: Desk) -> PlasticCardRow:
    """Have a lost plastic card count again (解挂). Raises what `confirm_loss` does, and those of `proofs.hold_active`."""
    card = cards.by_id(session, card_id)
    row = of_card(session, card, binding_id, institution_id=desk.caller.institution_id)
    _require_check(session, card, desk)
    proofs.hold_active(session, card)
    session.refresh(row)
    return plastic_moves.move(session, card, row, FIND, shown=_shown(desk))


def report_loss(
    session: Session, card: CardRow, binding_id: UUID, *, reason: str, days: int, shown: Shown
) -> PlasticCardRow:
    """Report a plastic card lost by app (临时挂失): for `days`. Raises `NoSuchBinding` or `PlasticConflict`."""
    row = _held(session, card, binding_id)
    until = shown.now + timedelta(days=days)
    return plastic_moves.move(session, card, row, REPORT, shown=shown, why=Why(reason, shown.sealer), until=until)


def withdraw_loss(session: Session, card: CardRow, binding_id: UUID, *, shown: Shown) -> PlasticCardRow:
    """Take back a report by app, before its time. Raises `NoSuchBinding` or `PlasticConflict`."""
    return plastic_moves.move(session, card, _held(session, card, binding_id), WITHDRAW, shown=shown)


def unbind(
    session: Session, card: CardRow, binding_id: UUID, *, shown: Shown, institution_id: UUID | None = None
) -> PlasticCardRow:
    """Unbind a plastic card; one that this institution numbers, where one is given: a wristband comes off at discharge.

    Unbinding twice is once. Raises `NoSuchBinding` or `PlasticConflict`.
    """
    row = _held(session, card, binding_id)
    if institution_id is not None and row.institution_id != institution_id:
        raise no_such_binding()
    if row.state == PlasticState.UNBOUND:
        return row
    ended_for = "holder" if institution_id is None else "institution"
    return plastic_moves.move(session, card, row, UNBIND, shown=shown, ended_for=ended_for)


def of_card(session: Session, card: CardRow, binding_id: UUID, *, institution_id: UUID | None = None) -> PlasticCardRow:
    """A plastic card of a card; for a terminal none whose numbers are another institution's. Raises `NoSuchBinding`."""
    mine = (PlasticCardRow.id == binding_id) & (PlasticCardRow.card_serial == card.serial)
    row = session.scalars(select(PlasticCardRow).where(mine)).one_or_none()
    if row is None or (institution_id is not None and row.institution_id not in {None, institution_id}):
        raise no_such_binding()
    return row


def bound_to(session: Session, card: CardRow) -> list[PlasticCardRow]:
    """The plastic cards that a holder has, the oldest first."""
    mine = (PlasticCardRow.card_serial == card.serial) & PlasticCardRow.state.in_(BOUND)
    return list(session.scalars(select(PlasticCardRow).where(mine).order_by(PlasticCardRow.id)))


def history_of(session: Session, card: CardRow) -> list[PlasticCardRow]:
    """Every plastic card that was ever bound to a card, the oldest first."""
    mine = select(PlasticCardRow).where(PlasticCardRow.card_serial == card.serial)
    return list(session.scalars(mine.order_by(PlasticCardRow.id)))


def bound_at_institution(
    session: Session, card: CardRow, *, caller: Caller, verification_id: UUID | None, now: datetime
) -> list[PlasticCardRow]:
    """What a terminal may see: its institution's own; with a check of this card there, also those numbered for all.

    Raises those of `proofs.require_check` where a check is given.
    """
    whose = {caller.institution_id}
    if verification_id is not None:
        accepted = PROVES if card.kind == Kind.FORMAL else _PROVES_TEMPORARY
        proofs.require_check(session, card, verification_id, caller=caller, accepted=accepted, now=now)
        whose.add(None)
    return [row for row in bound_to(session, card) if row.institution_id in whose]


def _require_proof(
    session: Session, card: CardRow, kind: PlasticKind, holder: HolderSays | None, *, desk: Desk
) -> None:
    """Have the check, an active card, held, of a kind that may be bound, and its holder's name and document."""
    _require_check(session, card, desk)
    proofs.hold_active(session, card)
    if card.kind != Kind.FORMAL:
        if not kind.temporary:
            raise CardNotActive(
                Text("临时卡不能绑定这种实体卡。", "No such plastic card is bound to a temporary card.")
            )
        return  # nobody knows who it is
    if holder is None:
        raise InvalidValue.at("/holder", "required", Text("此项必填。", "This member is required."))
    proofs.require_holder(
        session, card, name=holder.name, id_type=holder.id_type, id_number=holder.id_number,
        secrets=desk.secrets, now=desk.now,
    )  # fmt: skip


def _require_check(session: Session, card: CardRow, desk: Desk) -> None:
    accepted = PROVES if card.kind == Kind.FORMAL else _PROVES_TEMPORARY
    proofs.require_check(session, card, desk.verification_id, caller=desk.caller, accepted=accepted, now=desk.now)


def _held(session: Session, card: CardRow, binding_id: UUID) -> PlasticCardRow:
    row = of_card(session, card, binding_id)
    plastic_moves.hold(session, card, row)
    return row


def _holding(session: Session, index: bytes) -> PlasticCardRow | None:
    """The row that holds a number, on whichever card."""
    holds = (PlasticCardRow.number_index == index) & PlasticCardRow.state.in_(HELD)
    wanted = select(PlasticCardRow).where(holds).execution_options(populate_existing=True)
    return session.scalars(wanted).one_or_none()


def _was_on(session: Session, card: CardRow, index: bytes) -> bool:
    was = (PlasticCardRow.number_index == index) & (PlasticCardRow.card_serial == card.serial)
    return session.scalar(select(PlasticCardRow.id).where(was).limit(1)) is not None


def _add(
    session: Session, card: CardRow, kind: PlasticKind, number: str, index: bytes, *, desk: Desk
) -> PlasticCardRow:
    """Store a plastic card that counts from now on. Raises `AlreadyBound` if its number is held, whoever is first."""
    row_id, sealer = uuid7(desk.now), desk.secrets.sealer
    row = PlasticCardRow(
        id=row_id,
        card_serial=card.serial,
        kind=kind.code,
        institution_id=desk.caller.institution_id if kind.by_institution else None,
        number=sealer.seal(number, bindings.number_place("plastic_card", row_id)),
        number_index=index,
        state=PlasticState.ACTIVE,
        verification_id=desk.verification_id,
        client_id=desk.caller.id,
        version=1,
        bound_at=desk.now,
        state_changed_at=desk.now,
    )
    reason = blacklist.reason_of(session, bindings.listed_as(session, row, sealer=sealer), now=desk.now)
    if reason == PlasticState.REPLACED:
        raise _already_bound()  # also where the row that was replaced has been erased
    if reason == PlasticState.LOSS_TEMPORARY and not _was_on(session, card, index):
        raise _already_bound()  # reported lost, then unbound: until its time it is nobody else's
    try:
        with session.begin_nested():
            session.add(row)
            session.flush()
    except IntegrityError:
        raise _already_bound() from None
    bindings.put_on_blacklist(session, row, None, sealer=sealer, at=desk.now)
    binding_events.note(
        session, card, BindingKind.PLASTIC_CARD, row.id, "bound",
        acting=desk.acting, at=desk.now, institution_id=row.institution_id,
    )  # fmt: skip
    return row


def _shown(desk: Desk) -> Shown:
    return Shown(desk.acting, desk.secrets.sealer, desk.now)


def _already_bound() -> AlreadyBound:
    return AlreadyBound(
        Text(
            "该实体卡已绑定其他健康卡、已挂失或已被补换，请核对持卡人身份，或换一张卡。",
            "This plastic card leads to another card, was reported lost or replaced. Check who holds it, or use another.",
        )
    )
