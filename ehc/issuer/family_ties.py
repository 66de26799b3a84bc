"""Who belongs to a family, and how a link in it ends: by the guardian, by the member, or by staff."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from ehc import audit
from ehc.callers import Caller
from ehc.cards import store as cards
from ehc.cards.events import Words
from ehc.cards.models import CardRow
from ehc.cards.states import Party
from ehc.cards.store import Acting, acting
from ehc.errors import EhcError, Text
from ehc.issuer import family_links
from ehc.issuer.family import holder_only
from ehc.keystore.secret_keys import Secrets
from ehc.residents import store as residents
from ehc.residents.models import FamilyLinkRow, ResidentRow


class NoSuchLink(EhcError):
    """No link with this id in the family of this card, or it has ended."""

    code = "family-link-not-found"


@dataclass(frozen=True)
class Relative:
    """Somebody at the other end of a link: the name in clear, and the card."""

    link: FamilyLinkRow
    name: str
    card: CardRow


@dataclass(frozen=True)
class Family:
    """For whom the holder of a card acts, and who acts for the holder; each the oldest first."""

    members: list[Relative]
    guardians: list[Relative]


def read(session: Session, card_id: UUID, *, caller: Caller, secrets: Secrets, now: datetime) -> Family:
    """The family of a card's holder, as the audit log notes. Raises `NoSuchCard`."""
    card = cards.granted(session, card_id, caller.id, at=now)
    audit.record(session, "card.family-read", actor=acting(caller).actor, subject=str(card_id), at=now)
    return family_of(session, card, secrets=secrets, now=now)


def family_of(session: Session, card: CardRow, *, secrets: Secrets, now: datetime) -> Family:
    """The family of a card's holder."""

    def relatives(links: list[FamilyLinkRow], end: str) -> list[Relative]:
        found = [(link, getattr(link, end)) for link in links]
        named = [(link, _name(session, other, secrets), cards.of_resident(session, other)) for link, other in found]
        return [Relative(link, name, theirs) for link, name, theirs in named if theirs is not None]

    members = family_links.members_of(session, card.resident_id, at=now)
    guardians = family_links.guardians_of(session, card.resident_id, at=now)
    return Family(relatives(members, "member_id"), relatives(guardians, "guardian_id"))


def end(
    session: Session,
    card_id: UUID,
    link_id: UUID,
    *,
    reason: str,
    caller: Caller,
    secrets: Secrets,
    now: datetime,
) -> FamilyLinkRow:
    """End a link at once, for the holder of a card at either end of it; returns it.

    Raises `NoSuchCard`, `NoSuchLink`, or `HolderOnly` where the app sees the card only for its holder's guardian.
    """
    card, party = cards.granted_as(session, card_id, caller.id, at=now)
    if party is not Party.RESIDENT:
        raise holder_only()
    link = session.get(FamilyLinkRow, link_id)
    if link is None or card.resident_id not in {link.guardian_id, link.member_id}:
        raise _no_such_link()
    guards = link.guardian_id == card.resident_id
    by = acting(caller, Party.GUARDIAN if guards else Party.RESIDENT)
    why = "guardian" if guards else "member"
    return _end(session, link, why=why, by=by, reason=reason, secrets=secrets, now=now)


def end_by_staff(
    session: Session, link_id: UUID, *, actor: str, reason: str, secrets: Secrets, now: datetime
) -> FamilyLinkRow:
    """End a link at once, by decision of staff; returns it. Raises `NoSuchLink`."""
    link = session.get(FamilyLinkRow, link_id)
    if link is None:
        raise _no_such_link()
    return _end(session, link, why="staff", by=Acting(actor, Party.STAFF), reason=reason, secrets=secrets, now=now)


def _end(
    session: Session, link: FamilyLinkRow, *, why: str, by: Acting, reason: str, secrets: Secrets, now: datetime
) -> FamilyLinkRow:
    words = Words(reason)
    if not family_links.end(session, link, why=why, acting=by, sealer=secrets.sealer, at=now, words=words):
        raise _no_such_link()
    return link


def _no_such_link() -> NoSuchLink:
    return NoSuchLink(
        Text("没有这条家庭关系，或已解除。", "There is no such link in this family, or it has ended. Read the family.")
    )


def _name(session: Session, resident_id: UUID, secrets: Secrets) -> str:
    resident = session.get_one(ResidentRow, resident_id)
    return secrets.sealer.unseal(resident.name, residents.name_place(resident.id))
