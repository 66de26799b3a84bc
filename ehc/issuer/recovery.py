"""Resuming a card: one that was suspended, by a word; one that was reported lost, by proving anew who one is."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from ehc.callers import Caller
from ehc.cards import store as cards
from ehc.cards.events import Words
from ehc.cards.models import CardRow
from ehc.cards.states import RECOVER, RESUME, CardStatus
from ehc.cards.store import acting
from ehc.errors import EhcError, Text
from ehc.issuer import accounts, lifecycle, proofs
from ehc.issuer.proofs import Weighed
from ehc.keystore.secret_keys import Secrets
from ehc.residents import store as residents
from ehc.residents.models import ResidentRow
from ehc.residents.store import Person


class ProofRequired(EhcError):
    """A card that was reported lost is resumed only by whoever proves to be its holder."""

    code = "proof-required"


def resume(
    session: Session,
    card_id: UUID,
    *,
    person: Person | None,
    weighed: Weighed | None,
    caller: Caller,
    reason: str,
    secrets: Secrets,
    now: datetime,
    version: int | None,
) -> CardRow:
    """Make a card active again. `person` and `weighed` are the fresh proof, if one was sent.

    Raises `ProofRequired`, `IdentityMismatch`, `NotConfirmed`, `AuthorityAway`, and what any move raises.
    """
    card, party, open_grant = cards.known_as(session, card_id, caller.id, at=now)
    if card.status != CardStatus.LOST:
        return lifecycle.change_status(
            session, card_id, RESUME, caller=caller, reason=reason, secrets=secrets, now=now, version=version
        )
    if not open_grant:
        raise cards.no_such_card()
    if person is None or weighed is None:
        raise ProofRequired(
            Text(
                "该卡已挂失，恢复须重新实名核验：请提交 proof。",
                "This card was reported lost. Send `proof`: who the holder is, proved anew.",
            )
        )
    _require_holder(session, card, person, secrets)
    proofs.require_fresh(weighed, least=proofs.least_again(card.level))
    words = Words(reason, weighed.proof.evidence, weighed.proof.clerk)
    by = acting(caller, party)
    lifecycle.apply(
        session, card, RECOVER, acting=by, secrets=secrets, now=now, words=words, version=version, proved=True
    )
    proofs.keep(session, card, weighed, at=now)
    return card


def _require_holder(session: Session, card: CardRow, person: Person, secrets: Secrets) -> None:
    """The proof is about the card's holder: one of their documents, under the name it has. Raises `IdentityMismatch`."""
    found = residents.find(session, accounts.document_of(person), blind_index=secrets.blind_index)
    known = ""
    if found is not None and found.resident_id == card.resident_id:
        holder = session.get_one(ResidentRow, card.resident_id)
        known = residents.open_person(holder, found, sealer=secrets.sealer).name
    accounts.require_same_name(known, person.name)
