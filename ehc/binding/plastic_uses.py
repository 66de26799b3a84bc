"""Uses of plastic health cards that a hospital uploads afterwards (上传用卡记录): kept with the holder's card. No commits.

Told by the hospital, not seen by us: such a use is a record, never a check, and no use of a code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ehc import audit
from ehc.callers import Caller
from ehc.cards.models import CardRow
from ehc.cards.plastic_models import PlasticUseRow
from ehc.cards.states import Kind
from ehc.cards.store import acting
from ehc.core.documents import Document
from ehc.core.ids import uuid7
from ehc.keystore.secret_keys import Secrets
from ehc.residents import store as residents
from ehc.residents.models import DocumentRow


@dataclass(frozen=True)
class PlasticUse:
    """What a hospital tells: when, for which step and where (words of ours), and card, chip and terminal as read."""

    used_at: datetime
    step: str
    channel: str | None
    told: Mapping[str, str]


def keep(
    session: Session, document: Document, use: PlasticUse, *, caller: Caller, secrets: Secrets, now: datetime
) -> bool:
    """Keep a use with the card of whoever has this document; False where nobody does. One that is kept already is kept once."""
    serial = _card_of(session, document, caller, secrets)
    if serial is None:
        return False
    use_id, told = uuid7(now), orjson.dumps(dict(use.told), option=orjson.OPT_SORT_KEYS).decode()
    whole = f"{caller.id}|{serial}|{use.used_at.isoformat()}|{use.step}|{told}"
    row = {
        "id": use_id,
        "card_serial": serial,
        "client_id": caller.id,
        "institution_id": caller.institution_id,
        "used_at": use.used_at,
        "step": use.step,
        "channel": use.channel,
        "told": secrets.sealer.seal(told, place(use_id)),
        "digest": secrets.blind_index.of("plastic-use", whole),
        "sent_at": now,
    }
    made = insert(PlasticUseRow).values(row).on_conflict_do_nothing(index_elements=[PlasticUseRow.digest])
    if session.execute(made.returning(PlasticUseRow.id)).first() is not None:
        card_id = session.scalar(select(CardRow.id).where(CardRow.serial == serial))
        facts = {"step": use.step}
        audit.record(session, "card.plastic-use", actor=acting(caller).actor, subject=str(card_id), at=now, facts=facts)
    return True


def place(use_id: UUID) -> str:
    """Where what a use tells is sealed."""
    return f"plastic_use.told:{use_id}"


def _card_of(session: Session, document: Document, caller: Caller, secrets: Secrets) -> int | None:
    wanted = select(CardRow.serial).join(DocumentRow, DocumentRow.resident_id == CardRow.resident_id)
    index = residents.number_index(secrets.blind_index, document)
    wanted = wanted.where(DocumentRow.number_index == index, DocumentRow.closed_at.is_(None))
    wanted = wanted.where(CardRow.kind == Kind.FORMAL, CardRow.sandbox == caller.sandbox)
    return session.scalars(wanted.order_by(CardRow.serial.desc()).limit(1)).first()
