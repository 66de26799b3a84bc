"""What a person may see of their own (个人信息保护法 arts. 44-45): everything about them, and who looked at it.

Both join the register with the checks, which are another room's: how to read those is handed in. Nothing here commits.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from sqlalchemy import or_, select, text
from sqlalchemy.orm import Session

from ehc.callers import Caller
from ehc.cards import bindings, events
from ehc.cards.code_models import PrintRow
from ehc.cards.events import Event
from ehc.cards.models import AliasRow, CardRow, GrantRow
from ehc.core.documents import Document
from ehc.core.masking import mask_name
from ehc.core.phones import is_mobile
from ehc.errors import EhcError, Text
from ehc.issuer import corrections, phone_proofs, photos, retention
from ehc.issuer.acts import Look, Position, acts_on
from ehc.issuer.corrections import Correction
from ehc.issuer.models import PhotoRow, ProofRow
from ehc.issuer.registry import open_ids
from ehc.keystore.secret_keys import Secrets
from ehc.residents import consents
from ehc.residents import store as residents
from ehc.residents.models import ConsentRow, DocumentRow, FamilyLinkRow, ResidentRow
from ehc.residents.store import Person

MOST = 10_000
"""Checks, and acts, that one export holds; the lists of the API go on where it ends."""


class PhoneProofRequired(EhcError):
    """Only who holds the registered phone may do this."""

    code = "phone-proof-required"


class Check(Protocol):
    """One check of a card, as the verifier's room tells it."""

    @property
    def id(self) -> UUID:
        """Its id."""
        ...

    @property
    def verified_at(self) -> datetime:
        """When."""
        ...

    @property
    def reason(self) -> str | None:
        """Why it was refused; None is accepted."""
        ...

    @property
    def institution_id(self) -> UUID | None:
        """Where."""
        ...

    @property
    def step(self) -> str:
        """The medical step."""
        ...

    @property
    def channel(self) -> str | None:
        """The channel, if it was told."""
        ...

    @property
    def department(self) -> str | None:
        """The department, if it was told."""
        ...

    @property
    def disclosed(self) -> list[str]:
        """The fields that were told."""
        ...


class Checks(Protocol):
    """What reads the checks of a card: the verifier's room hands it over."""

    def __call__(
        self, session: Session, serial: int, /, *, limit: int, before: Position | None
    ) -> tuple[Sequence[Check], bool]:
        """A page of the checks of a card and of those joined to it, newest first, and whether more follow."""
        ...


InstitutionNames = Callable[[Session, set[UUID]], dict[UUID, str]]


@dataclass(frozen=True)
class Relation:
    """A family link as one end of it may see it: the other's name masked, since that is the other's own."""

    link: FamilyLinkRow
    part: str
    other: str


@dataclass(frozen=True)
class Export:
    """Everything about a person, opened: `people` holds the person first, then the records joined to theirs."""

    people: list[Person]
    documents: list[tuple[DocumentRow, Document, str | None]]
    cards: list[tuple[CardRow, str | None, str | None]]
    aliases: list[tuple[AliasRow, str, str]]
    events: list[Event]
    consents: list[ConsentRow]
    family: list[Relation]
    grants: list[GrantRow]
    prints: list[PrintRow]
    proofs: list[ProofRow]
    photos: list[PhotoRow]
    corrections: list[Correction]
    bindings: bindings.Everything
    checks: Sequence[Check]
    more_checks: bool
    acts: list[Look]
    more_acts: bool


def require_phone(
    session: Session,
    card: CardRow,
    proof_id: UUID | None,
    *,
    needed: bool,
    caller: Caller,
    secrets: Secrets,
    now: datetime,
) -> None:
    """Have whoever asks prove that they hold the registered phone, where one is registered that messages reach.

    For a holder without one it is the phone of who acts for them through this app. `needed` is whether this deployment
    sends messages. Raises `PhoneProofRequired`, or `InvalidValue` at /phone_proof.
    """
    phone = _phone(session, card.resident_id, secrets) or _guardians_phone(session, card, caller, secrets)
    if proof_id is not None:
        phone_proofs.spend(session, proof_id, phone, caller=caller, secrets=secrets, now=now)
    elif needed and phone is not None and is_mobile(phone):
        raise PhoneProofRequired(
            Text(
                "请先验证登记的手机（/v1/phone-proofs），再提交 phone_proof。",
                "First prove the registered phone (/v1/phone-proofs), then send `phone_proof`.",
            )
        )


def access_log(
    session: Session, card: CardRow, *, checks: Checks, limit: int, before: Position | None
) -> tuple[list[Look], bool]:
    """A page of who looked at a card, or did something to it, newest first, and whether more follow; joined cards too.

    Checks and audited acts are in one order, by time and then by id; an act's id is its place in the log.
    """
    checked, more_checks = checks(session, card.serial, limit=limit, before=before)
    acts, more_acts = acts_on(session, card, limit=limit, before=before)
    looks = sorted([*map(_look, checked), *acts], key=lambda look: (look.at, look.id), reverse=True)
    return looks[:limit], more_checks or more_acts or len(looks) > limit


def export(session: Session, card: CardRow, *, checks: Checks, secrets: Secrets) -> Export:
    """Everything about the holder of a card and of the cards joined to it. Raises `SealBroken`."""
    whole = retention.whole(session, card.resident_id)
    sealer, serials = secrets.sealer, sorted(whole.serials)
    rows = session.scalars(
        select(ResidentRow).where(ResidentRow.id.in_(whole.residents)).order_by(ResidentRow.id)
    ).all()
    documents = session.scalars(
        select(DocumentRow).where(DocumentRow.resident_id.in_(whole.residents)).order_by(DocumentRow.created_at)
    ).all()
    held = session.scalars(select(CardRow).where(CardRow.serial.in_(serials)).order_by(CardRow.serial)).all()
    aliases = session.scalars(
        select(AliasRow).where(AliasRow.card_serial.in_(serials)).order_by(AliasRow.closed_at)
    ).all()
    checked, more_checks = checks(session, card.serial, limit=MOST, before=None)
    acts, more_acts = acts_on(session, card, limit=MOST, before=None)
    return Export(
        people=[
            residents.open_person(row, None, sealer=sealer)
            for row in sorted(rows, key=lambda row: row.id != card.resident_id)
        ],
        documents=[
            (row, residents.open_document(row, sealer=sealer), residents.document_name(row, sealer=sealer))
            for row in documents
        ],
        cards=[(row, *open_ids(row, secrets)) for row in held],
        aliases=[
            (
                row,
                sealer.unseal(row.ehc_id, f"card_alias.ehc_id:{row.id}"),
                sealer.unseal(row.index_id, f"card_alias.index_id:{row.id}"),
            )
            for row in aliases
        ],
        events=events.of_cards(session, serials, sealer=sealer),
        consents=consents.all_of(session, whole.residents),
        family=_family(session, whole.residents, secrets),
        grants=list(session.scalars(select(GrantRow).where(GrantRow.card_serial.in_(serials)))),
        prints=list(
            session.scalars(select(PrintRow).where(PrintRow.card_serial.in_(serials)).order_by(PrintRow.printed_at))
        ),
        proofs=list(
            session.scalars(select(ProofRow).where(ProofRow.card_serial.in_(serials)).order_by(ProofRow.asked_at))
        ),
        photos=photos.of_cards(session, serials),
        corrections=corrections.of_cards(session, serials, secrets=secrets),
        bindings=bindings.everything(session, serials, sealer=sealer),
        checks=checked,
        more_checks=more_checks,
        acts=acts,
        more_acts=more_acts,
    )


def client_names(session: Session, ids: Iterable[UUID]) -> dict[UUID, str]:
    """Names of clients by id. The table is the access room's, whose code this room does not know."""
    wanted = text("SELECT id, name FROM client WHERE id = ANY(:ids)")
    return {row.id: row.name for row in session.execute(wanted, {"ids": list(ids)})}


def client_of(actor: str | None) -> UUID | None:
    """The client that an actor of the audit log is, if it is one, whether for itself or with a resident's token."""
    kind, _, name = (actor or "").partition("/")[0].partition(":")
    return UUID(name) if kind in {"app", "terminal"} else None


def _look(check: Check) -> Look:
    return Look(
        at=check.verified_at,
        id=check.id,
        kind="check",
        fields=list(check.disclosed),
        institution_id=check.institution_id,
        step=check.step,
        outcome="rejected" if check.reason else "accepted",
    )


def _family(session: Session, people: Iterable[UUID], secrets: Secrets) -> list[Relation]:
    mine = frozenset(people)
    either = or_(FamilyLinkRow.guardian_id.in_(mine), FamilyLinkRow.member_id.in_(mine))
    found = []
    for link in session.scalars(select(FamilyLinkRow).where(either).order_by(FamilyLinkRow.created_at)).all():
        guards = link.guardian_id in mine
        other = session.get_one(ResidentRow, link.member_id if guards else link.guardian_id)
        name = secrets.sealer.unseal(other.name, residents.name_place(other.id))
        found.append(Relation(link, "guardian" if guards else "member", mask_name(name)))
    return found


def _phone(session: Session, resident_id: UUID, secrets: Secrets) -> str | None:
    resident = session.get_one(ResidentRow, resident_id)
    return residents.open_person(resident, None, sealer=secrets.sealer).phone


def _guardians_phone(session: Session, card: CardRow, caller: Caller, secrets: Secrets) -> str | None:
    guardian = select(FamilyLinkRow.guardian_id).join(GrantRow, GrantRow.link_id == FamilyLinkRow.id)
    guardian = guardian.where(GrantRow.card_serial == card.serial, GrantRow.client_id == caller.id)
    found = session.scalar(guardian)
    return _phone(session, found, secrets) if found else None
