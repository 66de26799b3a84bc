"""Printed codes (打印码): the static signed code of a card, one that counts at a time, and the sheet it is printed on.

A static code is a bearer token on paper, so it has few rights (`ehc/verify/standing.py`), needs the holder's consent on the
card and the institution's own, and stops when another is printed, the card is lost or ends, or the identity changes.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc import audit
from ehc.callers import Caller
from ehc.cards import events
from ehc.cards import store as cards
from ehc.cards.code_models import PrintRow
from ehc.cards.models import CardRow
from ehc.cards.states import CardStatus
from ehc.cards.store import Acting, acting
from ehc.clock import local_day
from ehc.codes.cti import CtiKey
from ehc.codes.minting import mint
from ehc.codes.national_text import national_static
from ehc.codes.signed import Claims
from ehc.crypto.keys import KeyId
from ehc.crypto.signer import SoftwareSigner
from ehc.errors import EhcError, Text
from ehc.issuer import lifecycle
from ehc.issuer.accounts import Account, document_of
from ehc.issuer.codes import Code, require_codes
from ehc.issuer.printing import Printed
from ehc.issuer.registry import place
from ehc.keystore.models import SigningKeyRow
from ehc.keystore.secret_keys import Secrets


class StaticNotAllowed(EhcError):
    """The holder has not allowed static codes for this card."""

    code = "static-not-allowed"


class Made(NamedTuple):
    """A printed code, signed and not yet kept: it counts once `keep` was committed. `version` is its card's."""

    code: Code
    cti: bytes
    key_id: KeyId
    version: int


def printable(session: Session, card_id: UUID, client_id: UUID, *, at: datetime) -> CardRow:
    """The card of a client, if a static code may be made for it. Raises `NoSuchCard`, `CardNotActive`, `StaticNotAllowed`."""
    card = cards.granted(session, card_id, client_id, at=at)
    require_codes(card.kind, card.status)
    require_static(card)
    return card


def make(card: CardRow, *, signer: SoftwareSigner, cti_key: CtiKey, days: int, now: datetime) -> Made:
    """A static signed code of a card, good for `days`. Asks no database, and locks nothing."""
    issued_at = datetime.fromtimestamp(int(now.timestamp()), UTC)
    expires_at = issued_at + timedelta(days=days)
    claims = Claims(int(issued_at.timestamp()), int(expires_at.timestamp()), cti_key.make(card.serial), static=True)
    code = Code(mint(claims, signer), issued_at, None, expires_at, kind="static")
    return Made(code, claims.cti, signer.key_id, card.version)


def keep(
    session: Session, card_id: UUID, made: Made, *, caller: Caller, layout: str, secrets: Secrets, now: datetime
) -> bool:
    """Let a code count that was made; the one before stops. False, and nothing done, if its card or key changed since.

    Raises what `printable` does.
    """
    card, party = cards.granted_as(session, card_id, caller.id, at=now)
    card = _held(session, card)
    require_codes(card.kind, card.status)
    require_static(card)
    if card.version != made.version or not _good(session, made.key_id):
        return False
    lifecycle.revoke_prints(session, card, refusal="expired", at=now)
    session.add(
        PrintRow(
            cti=made.cti,
            card_serial=card.serial,
            client_id=caller.id,
            layout=layout,
            printed_at=now,
            expires_at=made.code.expires_at,
        )
    )
    _note(session, card, "printed", acting(caller, party), secrets=secrets, now=now, facts={"layout": layout})
    return True


def national(session: Session, card_id: UUID, *, caller: Caller, secrets: Secrets, now: datetime) -> Code:
    """The static national code of a card: always the same text. Raises what `printable` does."""
    card, party = cards.granted_as(session, card_id, caller.id, at=now)
    require_codes(card.kind, card.status)
    require_static(card)
    if card.ehc_id is None:
        raise LookupError("a formal card has a card id")
    ehc_id = secrets.sealer.unseal(card.ehc_id, place("ehc_id", card_id))
    _note(session, card, "static-code", acting(caller, party), secrets=secrets, now=now, facts={"format": "national"})
    return Code(national_static(bytes.fromhex(ehc_id)), now, None, None, "national", "static")


def require_static(card: CardRow) -> None:
    """Raises `StaticNotAllowed` where the holder has not switched static codes on."""
    if not card.static_allowed:
        raise StaticNotAllowed(
            Text(
                "该卡未开通静态码，请先由本人同意并开通（PATCH static_codes）。",
                "Static codes are off for this card. With the holder's consent, PATCH static_codes to true first.",
            )
        )


def sheet(account: Account, code: Code, *, issuer: str, now: datetime) -> Printed:
    """What is printed: the code, who holds the card, and until when it counts."""
    if code.expires_at is None:
        raise ValueError("a printed code has an end")
    document = document_of(account.person)
    return Printed(
        code=code.text,
        name=account.person.name,
        id_type=document.type,
        id_number=document.number,
        level=account.card.level,
        issuer=issuer,
        printed_on=local_day(now),
        valid_until=local_day(code.expires_at),
        reference=str(account.card.id)[-12:],
    )


def _note(
    session: Session,
    card: CardRow,
    what: str,
    by: Acting,
    *,
    secrets: Secrets,
    now: datetime,
    facts: Mapping[str, str],
) -> None:
    events.note(session, card, what, old=CardStatus(card.status), acting=by, sealer=secrets.sealer, at=now)
    audit.record(session, f"card.{what}", actor=by.actor, subject=str(card.id), at=now, facts=facts)


def _good(session: Session, key_id: KeyId) -> bool:
    """Whether a key is not revoked, and will not be before this transaction ends."""
    wanted = select(SigningKeyRow.id).where(SigningKeyRow.id == key_id, SigningKeyRow.revoked_at.is_(None))
    return session.scalar(wanted.with_for_update(read=True)) is not None


def _held(session: Session, card: CardRow) -> CardRow:
    """The card's row, held: two prints at once take turns, so that one of them counts."""
    wanted = select(CardRow).where(CardRow.serial == card.serial).with_for_update(key_share=True)
    return session.scalars(wanted.execution_options(populate_existing=True)).one()
