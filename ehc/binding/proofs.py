"""What a binding stands on: the holder's code was accepted at this institution a moment ago, and the card is in order.

A wrong binding is a wrong patient or somebody else's money, so each thing that can be wrong has a code of its own.
"""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from ehc.callers import Caller
from ehc.cards.models import CardRow
from ehc.cards.states import CardStatus, Cause
from ehc.cards.store import CardNotActive
from ehc.core.documents import Document, read_document
from ehc.core.ids import uuid7_time
from ehc.core.names import normal_name
from ehc.errors import EhcError, Text
from ehc.keystore.secret_keys import Secrets
from ehc.residents import store as residents
from ehc.residents.models import ResidentRow

CHECK_MINUTES = 30
"""How long an accepted check proves that the holder is there."""

_SAME_MOMENT = timedelta(seconds=1)
_CHECK = text("""
    SELECT coalesce(assurance, 'dynamic') FROM verification
    WHERE card_serial = :serial AND verified_at BETWEEN :since AND :until AND id = :id
        AND institution_id = :institution AND reason IS NULL
""")


class CheckNotOfThisCard(EhcError):
    """No accepted check of this card at the caller's institution has this id."""

    code = "check-not-of-this-card"


class CheckExpired(EhcError):
    """The check was too long ago to prove that the holder is there."""

    code = "check-expired"


class CheckTooWeak(EhcError):
    """The check does not prove who stood there: a static code alone, or a plastic card."""

    code = "check-too-weak"


class HolderMismatch(EhcError):
    """Name and document are not those of the card's holder."""

    code = "holder-mismatch"


class HolderDeceased(EhcError):
    """The holder died; nothing is bound any more."""

    code = "holder-deceased"


class CardSuspended(EhcError):
    """The card is suspended or lost; nothing is bound until it is active again."""

    code = "card-suspended"


class AlreadyBound(EhcError):
    """What is to be bound leads to another card already, or has been replaced for ever. Which card is not told."""

    code = "already-bound"


class NoSuchBinding(EhcError):
    """The card has no such binding that the caller may see."""

    code = "binding-not-found"


def hold_active(session: Session, card: CardRow) -> None:
    """Hold a card until the transaction ends, so that binding and cancelling take turns; it has to be active.

    Raises `HolderDeceased`, `CardSuspended` or `CardNotActive`.
    """
    hold(session, card)
    require_active(card)


def hold(session: Session, card: CardRow) -> None:
    """Hold a card until the transaction ends, and read it again: in whatever state it is."""
    session.execute(select(CardRow.serial).where(CardRow.serial == card.serial).with_for_update(key_share=True))
    session.refresh(card)


def require_active(card: CardRow) -> None:
    """Raises `HolderDeceased`, `CardSuspended` or `CardNotActive`."""
    if card.status == CardStatus.ACTIVE:
        return
    if card.cause == Cause.DECEASED:
        raise HolderDeceased(Text("持卡人已故，不能绑定。", "The holder has died. Nothing can be bound."))
    if card.status in {CardStatus.SUSPENDED, CardStatus.LOST}:
        raise CardSuspended(
            Text("该健康卡已暂停或挂失，请恢复后再绑定。", "The card is suspended or lost. Resume it, then bind.")
        )
    raise card_not_active()


def card_not_active() -> CardNotActive:
    """The answer for a card to which nothing may be bound."""
    return CardNotActive(
        Text("该健康卡未生效或已注销，不能绑定。", "The card is not approved, or was cancelled. Nothing can be bound.")
    )


def require_check(
    session: Session, card: CardRow, verification_id: UUID, *, caller: Caller, accepted: frozenset[str], now: datetime
) -> None:
    """Have an accepted check of this card at the caller's institution, at most 30 minutes old, of a kind in `accepted`.

    `accepted` holds words of `verification.assurance`; a dynamic code's is `dynamic`. Raises `CheckNotOfThisCard` (also for
    another institution's), `CheckExpired` or `CheckTooWeak`. The time in a check's id (UUIDv7) only says where to look.
    """
    try:
        made = uuid7_time(verification_id)
    except ValueError:
        raise _not_of_this_card() from None
    found = session.execute(
        _CHECK,
        {
            "serial": card.serial,
            "since": made - _SAME_MOMENT,
            "until": made + _SAME_MOMENT,
            "id": verification_id,
            "institution": caller.institution_id,
        },
    ).scalar_one_or_none()
    if found is None:
        raise _not_of_this_card()
    if made < now - timedelta(minutes=CHECK_MINUTES):
        raise CheckExpired(
            Text(
                f"该次验卡已超过 {CHECK_MINUTES} 分钟，请重新扫码。",
                f"The check is more than {CHECK_MINUTES} minutes old. Scan again.",
            )
        )
    if found not in accepted:
        raise CheckTooWeak(
            Text(
                "静态码或实体卡不足以证明本人，请扫动态码，或核对证件后再绑定。",
                "This check does not prove who was there. Scan a dynamic code, or confirm the document.",
            )
        )


def require_holder(
    session: Session, card: CardRow, *, name: str, id_type: str, id_number: str, secrets: Secrets, now: datetime
) -> Document:
    """Have name and document be those of the card's holder; the document. Raises `HolderMismatch` or `InvalidValue`."""
    return require_person(
        session, card.resident_id, name=name, id_type=id_type, id_number=id_number, secrets=secrets, now=now
    )


def require_person(
    session: Session, resident_id: UUID, *, name: str, id_type: str, id_number: str, secrets: Secrets, now: datetime
) -> Document:
    """Have name and document be those of a person; the document. Raises `HolderMismatch` or `InvalidValue`."""
    document = read_document(id_type, id_number, today=now.date())
    found = residents.find(session, document, blind_index=secrets.blind_index)
    known = residents.open_person(session.get_one(ResidentRow, resident_id), found, sealer=secrets.sealer).name
    theirs = found is not None and found.resident_id == resident_id
    if not theirs or normal_name(name) != known:
        raise HolderMismatch(
            Text("姓名或证件与持卡人不符，请核对。", "Name or document is not the holder's. Check both.")
        )
    return document


def _not_of_this_card() -> CheckNotOfThisCard:
    return CheckNotOfThisCard(
        Text(
            "本机构没有对该健康卡的这次验卡记录，请重新扫码后使用返回的 verification_id。",
            "No accepted check of this card here has this id. Scan the code, and send that verification_id.",
        )
    )
