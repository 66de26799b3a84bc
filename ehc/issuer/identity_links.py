"""Tying a log-in to a person: by registering in the session, or by proving a card that is there already. None commits.

What proves a card is three things at once: its holder's name, the number of a document, and the registered phone, just now.
A phone alone is not enough (numbers are given to somebody else), nor are name and number (many people know them). Who is
refused does not learn which of the three was wrong, nor whether there is such a person.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from ehc import audit
from ehc.callers import Caller, ResidentParty
from ehc.cards import store as cards
from ehc.cards.models import CardRow
from ehc.cards.states import LIVE, CardStatus
from ehc.cards.store import acting
from ehc.core.documents import Document
from ehc.crypto.sealed import BlindIndex
from ehc.errors import EhcError, InvalidValue, Text
from ehc.issuer import accounts, family_links, phone_proofs
from ehc.issuer.accounts import Account
from ehc.keystore.secret_keys import Secrets
from ehc.residents import store as residents
from ehc.residents.models import DocumentRow, ResidentRow
from ehc.residents.store import Person
from ehc.sessions import identities, tokens
from ehc.sessions.models import PlatformIdentityRow

_PROVING = (CardStatus.ACTIVE, CardStatus.SUSPENDED, CardStatus.LOST)
"""Not of a card that waits for review: what it tells of its holder, the phone too, is a claim yet."""


class LinkRefused(EhcError):
    """Name, document and phone do not lead to one person who may be linked. Which of them is wrong is not told."""

    code = "link-refused"


class AlreadyLinked(EhcError):
    """The log-in is tied to a person already."""

    code = "already-linked"


@dataclass(frozen=True)
class Shown:
    """Who somebody says they are, in normal form, and the proof of the registered phone."""

    name: str
    document: Document
    phone_proof: UUID


def link(session: Session, shown: Shown, *, caller: Caller, secrets: Secrets, now: datetime) -> CardRow:
    """Tie the caller's log-in to the person who is shown; their card. Raises `LinkRefused` or `AlreadyLinked`."""
    found = residents.find(session, shown.document, blind_index=secrets.blind_index)
    if found is None:
        raise refused()
    family_links.hold(session, {found.resident_id})
    session.refresh(found)
    resident = session.get_one(ResidentRow, found.resident_id, populate_existing=True)
    card = cards.of_resident(session, resident.id)
    known = residents.open_person(resident, found, sealer=secrets.sealer)
    if card is None or card.status not in _PROVING or found.closed_at is not None or resident.phone_by_guardian:
        raise refused()
    try:
        accounts.require_same_name(known.name, shown.name)
        phone_proofs.spend(session, shown.phone_proof, known.phone, caller=caller, secrets=secrets, now=now)
    except (accounts.IdentityMismatch, InvalidValue):
        raise refused() from None
    tie(session, resident, card, caller=caller, now=now)
    return card


def require_own(session: Session, person: Person, *, secrets: Secrets) -> bool:
    """Before somebody registers in their own session: whether they are known. Raises `LinkRefused`.

    A person who is known has the registered phone that is given here. Else registering would be the way around `link`: it
    fills in a phone where none is on record, and thaws what was cancelled.
    """
    found = residents.find(session, accounts.document_of(person), blind_index=secrets.blind_index)
    if found is None:
        return False
    _require_theirs(session, found, person, secrets)
    return True


def registered(session: Session, account: Account, *, new: bool, known: bool, caller: Caller, now: datetime) -> None:
    """Tie the caller's log-in to the person who registered in it. Raises `Conflict` where another request was faster."""
    resident = session.get_one(ResidentRow, account.card.resident_id, populate_existing=True)
    if new == known:
        raise cards.wrong_state()
    if resident.phone_proved_at is None or resident.phone_by_guardian:
        raise refused()
    tie(session, resident, account.card, caller=caller, now=now)


def tie(session: Session, resident: ResidentRow, card: CardRow, *, caller: Caller, now: datetime) -> None:
    """Let the caller's log-in lead to a person, and the app see the card. The caller holds card and person."""
    party = _party(caller)
    identity = identities.held(session, party.identity_id)
    if tokens.leads_to(session, identity) is not None and identity.resident_id != resident.id:
        raise already()
    identities.tie(session, identity, resident, now=now)
    actor = acting(caller).actor
    if cards.grant(session, card, caller.id, at=now):
        audit.record(session, "card.granted", actor=actor, subject=str(card.id), at=now)
    facts = {"identity": str(identity.id), "platform": identity.platform, "session": str(party.session_id)}
    audit.record(session, "resident.linked", actor=actor, subject=str(card.id), at=now, facts=facts)


def untie(session: Session, *, caller: Caller, now: datetime) -> None:
    """Let the caller's log-in lead to nobody; every other session of it ends. Twice is once."""
    party = _party(caller)
    identity = identities.held(session, party.identity_id)
    if identity.resident_id is None:
        return
    card = cards.of_resident(session, identity.resident_id)
    mine = PlatformIdentityRow.id == identity.id
    tokens.end_of_identities(session, mine, why="unlinked", now=now, but=party.session_id)
    identities.untie(session, identity)
    facts = {"identity": str(identity.id), "why": "resident"}
    subject = str(card.id if card is not None else identity.id)
    audit.record(session, "resident.unlinked", actor=acting(caller).actor, subject=subject, at=now, facts=facts)


def document_subject(blind_index: BlindIndex, document: Document) -> bytes:
    """Whose tries those at a document are."""
    return blind_index.of("try-document", f"{document.type}:{document.number}")


def identity_subject(blind_index: BlindIndex, caller: Caller) -> bytes:
    """Whose tries those of a log-in are."""
    return blind_index.of("try-identity", str(_party(caller).identity_id))


def refused() -> LinkRefused:
    """The one answer to what does not lead to a person."""
    return LinkRefused(
        Text(
            "姓名、证件与登记手机不符，或该卡不能关联；请核对，或到发卡机构窗口办理。",
            "Name, document and registered phone do not lead to a card that can be linked. Check them, or turn to an issuer.",
        )
    )


def already() -> AlreadyLinked:
    """The answer where the log-in is somebody's."""
    return AlreadyLinked(
        Text("该登录已关联持卡人，请先解除关联。", "This log-in is linked to a person. End that link first.")
    )


def _require_theirs(session: Session, found: DocumentRow, person: Person, secrets: Secrets) -> None:
    resident = session.get_one(ResidentRow, found.resident_id)
    card = cards.of_resident(session, resident.id)
    phone = secrets.blind_index.of("phone", person.phone) if person.phone else None
    fits = phone is not None and phone == resident.phone_index and not resident.phone_by_guardian
    if not fits or card is None or card.status not in LIVE:
        raise refused()


def _party(caller: Caller) -> ResidentParty:
    if caller.resident is None:
        raise LookupError("the caller came with its own token")
    return caller.resident
