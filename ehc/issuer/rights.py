"""What a person may see of their own (个人信息保护法 arts. 44-45): everything about them, and who looked at it.

Both join the register with the checks, which are another room's: how to read those is handed in. Nothing here commits.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from sqlalchemy import or_, select, text
from sqlalchemy.orm import Session

from ehc import audit
from ehc.callers import Caller
from ehc.cards import events
from ehc.cards import store as cards
from ehc.cards.code_models import PrintRow
from ehc.cards.events import Event
from ehc.cards.models import AliasRow, CardRow, GrantRow
from ehc.core.documents import Document
from ehc.core.masking import mask_name
from ehc.core.phones import is_mobile
from ehc.errors import EhcError, Text
from ehc.issuer import corrections, phone_proofs, retention
from ehc.issuer.corrections import Correction
from ehc.issuer.models import ProofRow
from ehc.issuer.registry import open_ids
from ehc.keystore.secret_keys import Secrets
from ehc.residents import consents
from ehc.residents import store as residents
from ehc.residents.models import ConsentRow, DocumentRow, FamilyLinkRow, ResidentRow
from ehc.residents.store import Person

MOST = 10_000
"""Checks, and acts, that one export holds; the lists of the API go on where it ends."""
LOG_READ = "card.access-log-read"
"""Reading the list of who looked is in the audit log, and not in the list: else each page would move the next."""

Position = tuple[datetime, UUID]
"""Where a page ended."""


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


class Look(NamedTuple):
    """Somebody did something with a card: checked it (`institution_id`, `step`, `outcome`), or acted on it (`actor`)."""

    at: datetime
    id: UUID
    kind: str
    fields: list[str]
    actor: str | None = None
    institution_id: UUID | None = None
    step: str | None = None
    outcome: str | None = None


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
    documents: list[tuple[DocumentRow, Document]]
    cards: list[tuple[CardRow, str | None, str | None]]
    aliases: list[tuple[AliasRow, str, str]]
    events: list[Event]
    consents: list[ConsentRow]
    family: list[Relation]
    grants: list[GrantRow]
    prints: list[PrintRow]
    proofs: list[ProofRow]
    corrections: list[Correction]
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
    acts, more_acts = _acts(session, card, limit=limit, before=before)
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
    acts, more_acts = _acts(session, card, limit=MOST, before=None)
    return Export(
        people=[
            residents.open_person(row, None, sealer=sealer)
            for row in sorted(rows, key=lambda row: row.id != card.resident_id)
        ],
        documents=[(row, residents.open_document(row, sealer=sealer)) for row in documents],
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
        corrections=corrections.of_cards(session, serials, secrets=secrets),
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
    """The client that an actor of the audit log is, if it is one."""
    kind, _, name = (actor or "").partition(":")
    return UUID(name) if kind in {"app", "terminal"} else None


# Materialized, so that the rows are found by their subject: for the few newest in order of time the planner would walk back
# through the acts on everybody.
_ACTS = text("""
    WITH mine AS MATERIALIZED (
        SELECT chain, seq, at, action, entry FROM audit WHERE subject = ANY(:subjects) AND action <> :log_read
    )
    SELECT chain, seq, at, action, entry FROM mine
    WHERE CAST(:at AS timestamptz) IS NULL OR (at, chain, seq) < (CAST(:at AS timestamptz), :chain, :seq)
    ORDER BY at DESC, chain DESC, seq DESC LIMIT :limit
""")
_BITS = 64


def _acts(session: Session, card: CardRow, *, limit: int, before: Position | None) -> tuple[list[Look], bool]:
    subjects = [str(card.id), *(str(other.id) for other in cards.joined_to(session, card))]
    at, chain, seq = (before[0], *_place(before[1])) if before else (None, 0, 0)
    found = session.execute(
        _ACTS,
        {"subjects": subjects, "log_read": LOG_READ, "at": at, "chain": chain, "seq": seq, "limit": limit + 1},
    ).all()
    acts = []
    for row in found[:limit]:
        told: dict[str, Any] = json.loads(row.entry)
        fields = told["facts"].get("changed", [])
        acts.append(Look(row.at, _act_id(row.chain, row.seq), row.action, fields, actor=told["actor"]))
    return acts, len(found) > limit


def _act_id(chain: int, seq: int) -> UUID:
    """The place of an act in the log as an id: smaller than every version 7 id, so acts come after checks of one moment."""
    return UUID(int=chain << _BITS | seq)


def _place(row: UUID) -> tuple[int, int]:
    """The chain and number of an act from its id. The id of a check gives a chain that is after every one there is."""
    return min(row.int >> _BITS, audit.CHAINS), min(row.int % 2**_BITS, 2**63 - 1)


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
