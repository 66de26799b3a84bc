"""Hospital patient ids (院内ID): bound after a check at the institution, followed through merges and splits, ended.

A wrong one is a wrong patient: a card has one live id of a type at an institution, and an id leads to one card. Both are
unique indexes, so whoever comes second is refused, whichever worker they ask. Nothing here commits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from ehc.binding import proofs
from ehc.binding.proofs import AlreadyBound, NoSuchBinding
from ehc.callers import Caller, ClientKind
from ehc.cards import binding_events as events
from ehc.cards import store as cards
from ehc.cards.binding_events import BindingKind
from ehc.cards.bindings import number_place
from ehc.cards.models import CardRow
from ehc.cards.patient_id_models import PatientIdRow
from ehc.cards.states import Kind, Party
from ehc.cards.store import Acting
from ehc.core.ids import uuid7
from ehc.crypto.sealed import BlindIndex, Sealer
from ehc.errors import EhcError, InvalidValue, Text
from ehc.keystore.secret_keys import Secrets

ID_TYPES = ("outpatient", "inpatient")
"""门诊 and 住院: many hospitals number the two apart."""

_PROVES = frozenset({"dynamic", "static-confirmed"})
_PROVES_TEMPORARY = _PROVES | {"unverified"}  # nobody knows who it is; that this is their wristband is what counts


class PatientIdInPlace(EhcError):
    """The card has another live id of this type at the institution: merge, split or end that first."""

    code = "patient-id-in-place"


class Change(StrEnum):
    """What a hospital did with two of its records."""

    MERGE = "merge"
    """合并: two records were one patient's; one goes on."""
    SPLIT = "split"
    """拆分: one record held two patients; this one goes on under another id."""


_ENDED: Mapping[Change, str] = MappingProxyType({Change.MERGE: "merged", Change.SPLIT: "split"})


@dataclass(frozen=True)
class PatientNumber:
    """An institution's own id of a patient. Personal data."""

    id_type: str
    number: str = field(repr=False)

    def index(self, institution_id: UUID, blind_index: BlindIndex) -> bytes:
        """The blind index by which it is found."""
        return blind_index.of("patient-id", f"{institution_id}:{self.id_type}:{self.number}")


def bind(
    session: Session,
    card_id: UUID,
    wanted: PatientNumber,
    verification_id: UUID,
    *,
    caller: Caller,
    secrets: Secrets,
    now: datetime,
) -> tuple[PatientIdRow, bool]:
    """Bind an institution's patient id to a card that was checked there just now; the row, and whether it is new.

    Raises `NoSuchCard`, those of `proofs.hold_active` and `proofs.require_check`, `AlreadyBound` or `PatientIdInPlace`.
    """
    institution_id = institution_of(caller)
    card = cards.by_id(session, card_id)
    accepted = _PROVES if card.kind == Kind.FORMAL else _PROVES_TEMPORARY
    proofs.require_check(session, card, verification_id, caller=caller, accepted=accepted, now=now)
    by = cards.acting(caller, Party.STAFF)
    row, new = _bind(session, card, wanted, institution_id, source="check", acting=by, secrets=secrets, now=now)
    if new:
        row.verification_id = verification_id
    return row, new


def bind_through_app(
    session: Session,
    card: CardRow,
    wanted: PatientNumber,
    institution_id: UUID,
    *,
    acting: Acting,
    secrets: Secrets,
    now: datetime,
) -> tuple[PatientIdRow, bool]:
    """Bind a patient id through an institution's own app; the row, and whether it is new.

    The caller owes the proof: that the holder let this app use the card, or had a code of it accepted there just now. Raises
    those of `proofs.hold_active`, `AlreadyBound` or `PatientIdInPlace`.
    """
    return _bind(session, card, wanted, institution_id, source="app", acting=acting, secrets=secrets, now=now)


def change(
    session: Session,
    how: Change,
    old: PatientNumber,
    into: str,
    *,
    caller: Caller,
    secrets: Secrets,
    now: datetime,
) -> PatientIdRow:
    """Follow a merge or a split of records at the hospital: the card goes on under the id `into`; the row of that.

    The card may be suspended or lost: else it would lead to a record that is no more, once it is active again. Told twice
    is told once. Raises `NoSuchBinding`, `AlreadyBound` where `into` leads to somebody else's card, `InvalidValue` at /into.
    """
    institution_id = institution_of(caller)
    new = PatientNumber(old.id_type, into)
    if old == new:
        raise InvalidValue.at("/into", "same", Text("新旧院内ID相同。", "Old and new id are the same."))
    index, next_index = (number.index(institution_id, secrets.blind_index) for number in (old, new))
    row = _by_index(session, index)
    if row is None:
        return _told_before(session, index, next_index)
    card = session.get_one(CardRow, row.card_serial)
    proofs.hold(session, card)
    session.refresh(row, with_for_update=True)
    if row.ended_at is not None:
        return _told_before(session, index, next_index)
    if row.card_serial != card.serial:  # its card was joined to another at this moment
        return change(session, how, old, into, caller=caller, secrets=secrets, now=now)
    row.ended_at, row.ended_for = now, _ENDED[how]
    session.flush()
    following = add(session, card, new, institution_id, next_index, source="change", secrets=secrets, now=now)
    row.replaced_by = following.id
    session.flush()
    _note(session, card, row, _ENDED[how], acting=cards.acting(caller, Party.STAFF), now=now)
    _note(session, card, following, "bound", acting=cards.acting(caller, Party.STAFF), now=now)
    return following


def end(
    session: Session,
    card: CardRow,
    binding_id: UUID,
    *,
    institution_id: UUID | None,
    why: str,
    acting: Acting,
    now: datetime,
) -> PatientIdRow:
    """End a patient id of a card, of that institution only where one is given; the row. Ending twice is ending once.

    Raises `NoSuchBinding`.
    """
    mine = (PatientIdRow.id == binding_id) & (PatientIdRow.card_serial == card.serial)
    if institution_id is not None:
        mine &= PatientIdRow.institution_id == institution_id
    ended = update(PatientIdRow).where(mine, PatientIdRow.ended_at.is_(None)).values(ended_at=now, ended_for=why)
    changed = session.execute(ended.returning(PatientIdRow.id).execution_options(synchronize_session=False)).first()
    row = session.scalars(select(PatientIdRow).where(mine).execution_options(populate_existing=True)).one_or_none()
    if row is None:
        raise no_such_binding()
    if changed is not None:
        _note(session, card, row, "ended", acting=acting, now=now)
    return row


def live_of(session: Session, card: CardRow, *, institution_id: UUID | None = None) -> list[PatientIdRow]:
    """The live patient ids of a card, the oldest first; of one institution, or of all."""
    mine = (PatientIdRow.card_serial == card.serial) & PatientIdRow.ended_at.is_(None)
    if institution_id is not None:
        mine &= PatientIdRow.institution_id == institution_id
    return list(session.scalars(select(PatientIdRow).where(mine).order_by(PatientIdRow.id)))


def opened(row: PatientIdRow, *, sealer: Sealer) -> str:
    """The number in clear. Raises `SealBroken`."""
    return sealer.unseal(row.number, number_place("patient_id", row.id))


def add(
    session: Session,
    card: CardRow,
    wanted: PatientNumber,
    institution_id: UUID,
    index: bytes,
    *,
    source: str,
    secrets: Secrets,
    now: datetime,
) -> PatientIdRow:
    """Store a live patient id. Raises `AlreadyBound` if it leads to another card, whoever is first."""
    row_id = uuid7(now)
    row = PatientIdRow(
        id=row_id,
        card_serial=card.serial,
        institution_id=institution_id,
        id_type=wanted.id_type,
        number=secrets.sealer.seal(wanted.number, number_place("patient_id", row_id)),
        number_index=index,
        source=source,
        bound_at=now,
    )
    try:
        with session.begin_nested():
            session.add(row)
            session.flush()
    except IntegrityError:
        raise AlreadyBound(
            Text(
                "该院内ID已绑定到其他健康卡，请核对患者身份；确属同一人的，请先在院内合并档案。",
                "This patient id leads to another card. Check who the patient is; merge the records if it is one person.",
            )
        ) from None
    return row


def require_none(session: Session, card: CardRow, institution_id: UUID, id_type: str) -> None:
    """Raises `PatientIdInPlace` if the card has a live id of this type at the institution."""
    if _of_card(session, card, institution_id, id_type) is not None:
        raise _in_place()


def institution_of(caller: Caller) -> UUID:
    """The institution for which a terminal speaks. Raises `NoSuchBinding` for a caller that speaks for none."""
    if caller.kind is not ClientKind.TERMINAL or caller.institution_id is None:
        raise no_such_binding()
    return caller.institution_id


def no_such_binding() -> NoSuchBinding:
    """The one answer for a binding that is not there and for one that is somebody else's."""
    return NoSuchBinding(
        Text("没有这项绑定，或本客户端无权查看。", "There is no such binding, or this client may not see it.")
    )


def _bind(
    session: Session,
    card: CardRow,
    wanted: PatientNumber,
    institution_id: UUID,
    *,
    source: str,
    acting: Acting,
    secrets: Secrets,
    now: datetime,
) -> tuple[PatientIdRow, bool]:
    proofs.hold_active(session, card)
    index = wanted.index(institution_id, secrets.blind_index)
    live = _of_card(session, card, institution_id, wanted.id_type)
    if live is not None and live.number_index == index:
        return live, False
    if live is not None:
        raise _in_place()
    row = add(session, card, wanted, institution_id, index, source=source, secrets=secrets, now=now)
    _note(session, card, row, "bound", acting=acting, now=now)
    return row, True


def _in_place() -> PatientIdInPlace:
    return PatientIdInPlace(
        Text(
            "该健康卡在本机构已绑定另一个同类院内ID，请先合并、拆分或解绑。",
            "The card has another id of this type here. Merge, split or end that one first.",
        )
    )


def _note(session: Session, card: CardRow, row: PatientIdRow, action: str, *, acting: Acting, now: datetime) -> None:
    events.note(
        session, card, BindingKind.PATIENT_ID, row.id, action, acting=acting, at=now, institution_id=row.institution_id
    )


def _of_card(session: Session, card: CardRow, institution_id: UUID, id_type: str) -> PatientIdRow | None:
    found = live_of(session, card, institution_id=institution_id)
    return next((row for row in found if row.id_type == id_type), None)


def _by_index(session: Session, index: bytes) -> PatientIdRow | None:
    live = (PatientIdRow.number_index == index) & PatientIdRow.ended_at.is_(None)
    return session.scalars(select(PatientIdRow).where(live)).one_or_none()


def _told_before(session: Session, index: bytes, next_index: bytes) -> PatientIdRow:
    """The row that an id was followed to already, or that in whose place another stands by now. Raises `NoSuchBinding`."""
    following = aliased(PatientIdRow)
    told = (PatientIdRow.number_index == index) & (following.number_index == next_index)
    wanted = select(following).join(PatientIdRow, PatientIdRow.replaced_by == following.id).where(told)
    row = session.scalars(wanted.order_by(following.id.desc()).limit(1)).one_or_none()
    while row is not None and row.ended_at is not None:
        row = session.get(PatientIdRow, row.replaced_by) if row.replaced_by is not None else None
    if row is None:
        raise no_such_binding()
    return row
