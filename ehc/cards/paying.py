"""Who pays for a card that is somebody else's: a guardian's account serves a child as long as the guardian acts. No commits."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc.cards import binding_events as events
from ehc.cards.bank_models import HELD, BankAccountRow
from ehc.cards.binding_events import BindingKind
from ehc.cards.bindings import end_account
from ehc.cards.models import CardRow
from ehc.cards.store import Acting


def end_of_guardians(
    session: Session, member_id: UUID, *, still: Collection[UUID], acting: Acting, at: datetime
) -> None:
    """End the accounts on a person's cards that are of a guardian, unless of one who is in `still` and acts on.

    The caller holds the cards.
    """
    theirs = (BankAccountRow.payer == "guardian") & BankAccountRow.payer_id.not_in(still)
    wanted = (
        select(BankAccountRow, CardRow)
        .join(CardRow, CardRow.serial == BankAccountRow.card_serial)
        .where(CardRow.resident_id == member_id, theirs, BankAccountRow.state.in_(HELD))
        .where(BankAccountRow.state != "ending")
        .order_by(BankAccountRow.id)
        .with_for_update(of=BankAccountRow)
        .execution_options(populate_existing=True)
    )
    for account, card in session.execute(wanted).all():
        end_account(session, account, why="guardian-gone", at=at)
        events.note(session, card, BindingKind.BANK_ACCOUNT, account.id, "ended", acting=acting, at=at)
