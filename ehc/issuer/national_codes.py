"""National dynamic codes (国家标准动态码): made, and remembered, since they carry no signature (national rules 2).

Measure A: the text's blind index is stored with its card, so that only a text that was issued to that card is accepted.
Measure B: the second written into a code is its expiry and up to 15 s more, drawn at random, so nobody else's code shares it
by design. Measure F: a later code of the card closes an earlier one, which the check works out from their order.
"""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from random import SystemRandom
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from ehc.cards.code_models import NationalCodeRow
from ehc.cards.models import CardRow
from ehc.clock import Clock
from ehc.codes import national
from ehc.codes.national import JITTER_SECONDS
from ehc.codes.national_text import national_dynamic
from ehc.db import UnitOfWork
from ehc.errors import Text, Unavailable
from ehc.issuer.codes import Code, CodeDesk
from ehc.issuer.registry import place
from ehc.keystore.secret_keys import Secrets

_RANDOM = SystemRandom()

_BUSY = Text("获取二维码过于频繁，请稍后再试。", "Too many codes for this card in one moment. Try again.")

_REMEMBER = text("""
    INSERT INTO national_code (text_index, card_serial, client_id, key_version, issued_at, expires_at, max_uses, channel,
                               device_index)
    VALUES (:text_index, :card_serial, :client_id, :key_version, :issued_at, :expires_at, :max_uses, :channel,
            :device_index)
    ON CONFLICT (text_index) DO NOTHING RETURNING seq
""")


class ShownAt(NamedTuple):
    """Where a code will be shown, as the app says: the channel's word, and the app's own id of the device (measure A)."""

    channel: str | None = None
    device: str | None = None


NOWHERE = ShownAt()


class NationalDesk:
    """Issues national codes for one worker: one look at the card, shared with others, and one row written."""

    def __init__(
        self, desk: CodeDesk, work: UnitOfWork, *, secrets: Callable[[], Secrets], clock: Clock, seconds: int, uses: int
    ) -> None:
        """`seconds`: how long a code lives at least; `uses`: how often it counts, except for payment, once."""
        self._desk, self._work, self._secrets, self._clock = desk, work, secrets, clock
        self._seconds, self._uses = seconds, uses

    def issue(
        self, card_id: UUID, client_id: UUID, shown_at: ShownAt = NOWHERE, *, within: Session | None = None
    ) -> Code:
        """A dynamic code for a card; it replaces the one before after 5 s. Durable on return, or with `within`.

        Raises `NoSuchCard`, `CardNotActive`, `TooManyCodes`, or `Unavailable` for a 17th code of a card in one second.
        """
        now = self._clock.now()  # before the look: a card that is frozen after it closes what was asked for before
        look = self._desk.admit(card_id, client_id)
        if look.serial is None or look.ehc_id is None:
            raise LookupError("a formal card has a card id")
        ehc_id = self._secrets().sealer.unseal(look.ehc_id, place("ehc_id", card_id))
        if look.codes_since is not None:  # what was issued up to that moment is closed, so this comes after it
            now = max(now, look.codes_since + timedelta(microseconds=1))
        row = {
            "card_serial": look.serial,
            "client_id": client_id,
            "issued_at": now,
            "max_uses": self._uses,
            "channel": shown_at.channel,
            "device_index": shown_at.device and self._secrets().blind_index.of("device", shown_at.device),
        }
        work = (lambda: nullcontext(within)) if within is not None else self._work
        return self._remembered(row, bytes.fromhex(ehc_id), work, now=now)

    def _remembered(self, row: dict[str, Any], ehc_id: bytes, work: UnitOfWork, *, now: datetime) -> Code:
        secrets = self._secrets()
        version, key = max(secrets.protection_keys.items())
        issued_at = datetime.fromtimestamp(int(now.timestamp()), UTC)
        for more in _RANDOM.sample(range(JITTER_SECONDS + 1), JITTER_SECONDS + 1):
            expires_at = issued_at + timedelta(seconds=self._seconds + more)
            said = national_dynamic(ehc_id, national.validity(key, expires_at))
            index = secrets.blind_index.of("national-code", said)
            with work() as session:
                told = {"text_index": index, "key_version": version, "expires_at": expires_at}
                kept = session.execute(_REMEMBER, row | told).first()
            if kept is not None:
                refresh_at = issued_at + timedelta(seconds=self._seconds / 2)
                return Code(said, issued_at, refresh_at, expires_at, "national")
        raise Unavailable(_BUSY, retry_after=1)


def current(session: Session, card: CardRow, *, secrets: Secrets, at: datetime) -> Code | None:
    """The dynamic code of a card that is out and still counts, if any. Made anew from its row, which holds no text."""
    newest = select(NationalCodeRow).where(NationalCodeRow.card_serial == card.serial)
    row = session.scalars(newest.order_by(NationalCodeRow.seq.desc()).limit(1)).one_or_none()
    if row is None or row.expires_at <= at or row.uses >= row.max_uses or card.ehc_id is None:
        return None
    if card.codes_since is not None and row.issued_at <= card.codes_since:
        return None
    key = secrets.protection_keys.get(row.key_version)
    if key is None:
        return None
    ehc_id = secrets.sealer.unseal(card.ehc_id, place("ehc_id", card.id))
    said = national_dynamic(bytes.fromhex(ehc_id), national.validity(key, row.expires_at))
    return Code(said, row.issued_at, None, row.expires_at, "national")


def purge(session: Session, *, now: datetime) -> int:
    """Forget up to 10,000 codes that expired an hour ago; returns how many. Call until it returns 0."""
    old = text("""
        DELETE FROM national_code WHERE text_index IN (
            SELECT text_index FROM national_code WHERE expires_at < :before
            ORDER BY expires_at LIMIT 10000 FOR UPDATE SKIP LOCKED
        ) RETURNING 1
    """)
    return len(session.execute(old, {"before": now - timedelta(hours=1)}).all())
