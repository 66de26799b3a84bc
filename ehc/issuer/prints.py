"""Printed codes (打印码): the static signed code of a card, one that counts at a time, and the sheet it is printed on.

A static code is a bearer token on paper, so it has few rights (`ehc/verify/standing.py`), needs the holder's consent on the
card and the institution's own, and stops when another is printed, the card is lost or ends, or the identity changes.
"""

from datetime import UTC, datetime, timedelta
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
from ehc.clock import local_day
from ehc.codes.cti import CtiKey
from ehc.codes.minting import mint
from ehc.codes.national_text import national_static
from ehc.codes.signed import Claims
from ehc.crypto.signer import Signer
from ehc.errors import EhcError, Text
from ehc.issuer import lifecycle
from ehc.issuer.accounts import Account, document_of
from ehc.issuer.codes import Code, require_codes
from ehc.issuer.printing import Printed
from ehc.issuer.registry import acting
from ehc.keystore.secret_keys import Secrets


class StaticNotAllowed(EhcError):
    """The holder has not allowed static codes for this card."""

    code = "static-not-allowed"


def issue(
    session: Session,
    card_id: UUID,
    *,
    caller: Caller,
    layout: str,
    signer: Signer,
    cti_key: CtiKey,
    days: int,
    secrets: Secrets,
    now: datetime,
) -> tuple[CardRow, Code]:
    """A static signed code, good for `days`; the one before stops. Raises `NoSuchCard`, `CardNotActive`, `StaticNotAllowed`."""
    card, party = cards.granted_as(session, card_id, caller.id, at=now)
    card = _held(session, card)
    require_codes(card.kind, card.status)
    require_static(card)
    lifecycle.revoke_prints(session, card, refusal="expired", at=now)
    issued_at = datetime.fromtimestamp(int(now.timestamp()), UTC)
    expires_at = issued_at + timedelta(days=days)
    claims = Claims(int(issued_at.timestamp()), int(expires_at.timestamp()), cti_key.make(card.serial), static=True)
    session.add(
        PrintRow(
            cti=claims.cti,
            card_serial=card.serial,
            client_id=caller.id,
            layout=layout,
            printed_at=now,
            expires_at=expires_at,
        )
    )
    by = acting(caller, party)
    sealer, status = secrets.sealer, CardStatus(card.status)
    events.note(session, card, "printed", old=status, acting=by, sealer=sealer, at=now)
    audit.record(session, "card.printed", actor=by.actor, subject=str(card.id), at=now, facts={"layout": layout})
    return card, Code(mint(claims, signer), issued_at, None, expires_at, kind="static")


def national(card: CardRow, ehc_id: str | None, *, now: datetime) -> Code:
    """The static national code of a card: always the same text. Raises `CardNotActive` or `StaticNotAllowed`."""
    require_codes(card.kind, card.status)
    require_static(card)
    if ehc_id is None:
        raise LookupError("a formal card has a card id")
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


def _held(session: Session, card: CardRow) -> CardRow:
    """The card's row, held: two prints at once take turns, so that one of them counts."""
    wanted = select(CardRow).where(CardRow.serial == card.serial).with_for_update(key_share=True)
    return session.scalars(wanted.execution_options(populate_existing=True)).one()
