"""What a consent does to a card. Taking one back counts from the next call or scan on. Nothing here commits."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from ehc import audit
from ehc.callers import Caller
from ehc.cards import events
from ehc.cards import store as cards
from ehc.cards.models import CardRow, GrantRow
from ehc.cards.states import CardStatus
from ehc.cards.store import Acting
from ehc.clock import CHINA_TIME
from ehc.errors import EhcError, InvalidValue, Text
from ehc.issuer import family_links
from ehc.keystore.secret_keys import Secrets
from ehc.residents import consents
from ehc.residents.consents import PURPOSES, Given, Purpose
from ehc.residents.models import ConsentRow

EARLIEST = datetime(2018, 1, 1, tzinfo=CHINA_TIME)
"""Electronic health cards began in 2018 (national rules 1): no consent to one is older."""
AHEAD = timedelta(minutes=5)
"""How far the clock of an app may be ahead of ours."""


class NoSuchConsent(EhcError):
    """The card's holder has no consent with this id."""

    code = "consent-not-found"


class AccountConsent(EhcError):
    """Without the consent to run the card there is no card: closing the account takes it back."""

    code = "account-consent"


class OtherAppsConsent(EhcError):
    """What an app may see is taken back through that app."""

    code = "other-apps-consent"


class ConsentReplaced(EhcError):
    """A newer version of the wording took this consent's place, and that one is live."""

    code = "consent-replaced"


def give(
    session: Session,
    card: CardRow,
    given: Given,
    *,
    caller: Caller,
    by: Acting,
    secrets: Secrets,
    now: datetime,
    pointer: str = "/given_at",
) -> tuple[ConsentRow, bool]:
    """Record a consent of the card's holder; whether the record is new. Raises `InvalidValue` at `pointer`.

    Given at most 5 minutes from now, which an app's clock may be ahead, and not before 2018. Sharing begins again with it.
    """
    if not EARLIEST <= given.given_at <= now + AHEAD:
        message = Text(
            "同意时间应在 2018 年以后，且不晚于现在。", "A consent was given in 2018 or later, and not in the future."
        )
        raise InvalidValue.at(pointer, "consent-time", message)
    when = min(given.given_at.astimezone(UTC), now)  # so that a clock ahead of ours does not outdate the next decision
    given = Given(given.purpose, given.text_version, given.channel, when)
    _hold(session, card)
    row, new = consents.record(session, card.resident_id, caller.id, given, at=now, pointer=pointer)
    if new:
        if given.purpose is Purpose.INSTITUTION_SHARING:
            _set_sharing(session, card, allowed=True)
        _note(session, card, row, "consent-given", by=by, secrets=secrets, now=now)
    return row, new


def withdraw(
    session: Session, card: CardRow, consent_id: UUID, *, caller: Caller, by: Acting, secrets: Secrets, now: datetime
) -> ConsentRow:
    """Take a consent back; the same again changes nothing. For a purpose of the person's, every app's record of it ends.

    Raises `NoSuchConsent`, `AccountConsent`, `OtherAppsConsent` or `ConsentReplaced`.
    """
    _hold(session, card)
    row = consents.find(session, card.resident_id, consent_id)
    if row is None:
        raise NoSuchConsent(Text("没有这条同意记录。", "The holder has no consent with this id. Read the list."))
    purpose = Purpose(row.purpose)
    about = PURPOSES[purpose]
    if not about.withdrawable:
        raise AccountConsent(
            Text(
                "开立健康卡的同意不能单独撤回；如不再使用，请注销账户（close）。",
                "This consent is what the card rests on. To take it back, close the account.",
            )
        )
    if about.of_app and row.client_id != caller.id:
        raise OtherAppsConsent(Text("请在当初同意的应用中撤回。", "Take this back in the app that it was given to."))
    live = consents.live(session, {card.resident_id}, purpose)
    ended = [other for other in live if not about.of_app or other.client_id == row.client_id]
    if row.withdrawn_at is not None:
        if any(other.client_id == row.client_id for other in ended):
            raise ConsentReplaced(
                Text("该同意已被新版本取代，请撤回新的一条。", "A newer consent took its place. Withdraw that one.")
            )
        return row
    for other in ended:
        other.withdrawn_at = now
    session.flush()
    if purpose is Purpose.INSTITUTION_SHARING:
        _set_sharing(session, card, allowed=False)
    for other in ended:
        _note(session, card, other, "consent-withdrawn", by=by, secrets=secrets, now=now)
    if purpose is Purpose.APP_ACCESS:
        _take_grant(session, card, caller)
    return row


def carry_over(
    session: Session, old_id: UUID, card: CardRow, *, shared: bool, by: Acting, secrets: Secrets, now: datetime
) -> None:
    """Another record turned out to be the card's holder: its consents are theirs from now on.

    Where sharing was withdrawn on either (`shared` is the other's), it stays withdrawn. The caller holds both.
    """
    consents.move(session, old_id, card.resident_id, at=now)
    if shared and card.sharing:
        return
    ended = consents.live(session, {card.resident_id}, Purpose.INSTITUTION_SHARING)
    for row in ended:
        row.withdrawn_at = now
    session.flush()
    if card.sharing:
        _set_sharing(session, card, allowed=False)
    for row in ended:
        _note(session, card, row, "consent-withdrawn", by=by, secrets=secrets, now=now)


def end_all(session: Session, residents: Collection[UUID], *, now: datetime) -> set[Purpose]:
    """End every consent of people whose account is closed; returns the purposes."""
    ended = consents.live(session, residents)
    for row in ended:
        row.withdrawn_at = now
    session.flush()
    return {Purpose(row.purpose) for row in ended}


def _hold(session: Session, card: CardRow) -> None:
    """Hold the card and its holder, whose decisions take turns. Raises `NoSuchCard` if card and grant ended."""
    family_links.hold(session, {card.resident_id})
    session.refresh(card)
    if card.status == CardStatus.CANCELLED:
        raise cards.no_such_card()


def _set_sharing(session: Session, card: CardRow, *, allowed: bool) -> None:
    """Write the switch that checks read. Not guarded by the card's version: the holder's word waits for no other change."""
    session.execute(
        update(CardRow)
        .where(CardRow.serial == card.serial)
        .values(sharing=allowed, version=CardRow.version + 1)
        .execution_options(synchronize_session=False)
    )
    session.refresh(card)


def _take_grant(session: Session, card: CardRow, caller: Caller) -> None:
    mine = (GrantRow.card_serial == card.serial) & (GrantRow.client_id == caller.id)
    session.execute(delete(GrantRow).where(mine).execution_options(synchronize_session=False))


def _note(
    session: Session, card: CardRow, row: ConsentRow, action: str, *, by: Acting, secrets: Secrets, now: datetime
) -> None:
    status = CardStatus(card.status)
    sealer = secrets.sealer
    events.note(session, card, action, old=status, acting=by, sealer=sealer, at=now, changed=[row.purpose])
    facts = {"consent": str(row.id), "purpose": row.purpose, "version": row.text_version, "party": by.party}
    audit.record(session, f"card.{action}", actor=by.actor, subject=str(card.id), at=now, facts=facts)
