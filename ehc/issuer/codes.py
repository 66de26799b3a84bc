"""Rotating codes (动态二维码): one look at the card and one signature each, and no row written.

Looks at cards that are asked for together share one statement and one Redis round trip (`ehc/grouping.py`).
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Engine

from ehc.cards.states import CardStatus, Kind
from ehc.cards.store import CardNotActive, no_such_card
from ehc.clock import Clock
from ehc.codes.cti import CtiKey
from ehc.codes.minting import mint
from ehc.codes.signed import DYNAMIC_SECONDS, Claims
from ehc.crypto.signer import SoftwareSigner
from ehc.errors import EhcError, Text
from ehc.grouping import Grouped
from ehc.issuer.limits import IssueLimit
from ehc.keystore.refreshed import Refreshed
from ehc.keystore.signing_keys import DatedSigner, signer_at
from ehc.line import Line


class TooManyCodes(EhcError):
    """The card was given its codes for this minute."""

    code = "too-many-codes"


class Wish(NamedTuple):
    """A code is asked for: which card, for which client, when, and which key would sign it."""

    card_id: UUID
    client_id: UUID
    at: datetime
    key_id: bytes


class Look(NamedTuple):
    """What the database says about a wish. `serial` is None for no card or no grant; `wait` is seconds, 0 for none."""

    serial: int | None
    status: str | None
    key_good: bool
    kind: str | None
    ehc_id: bytes | None
    codes_since: datetime | None
    wait: int = 0


class Code(NamedTuple):
    """A code as it leaves: its text, and when to show it, to fetch the next one, and to stop. A static one has no end of
    its own in the national format, and none is fetched after it."""

    text: str
    issued_at: datetime
    refresh_at: datetime | None
    expires_at: datetime | None
    format: str = "signed"
    kind: str = "dynamic"


_LOOK = """
SELECT card.serial, card.status,
       EXISTS (SELECT FROM signing_key AS key WHERE key.id = wish.key_id AND key.revoked_at IS NULL),
       card.kind, card.ehc_id, card.codes_since
FROM json_to_recordset(%s::json) AS wish (position int, card_id uuid, client_id uuid, at timestamptz, key_id bytea)
LEFT JOIN (card JOIN card_grant ON card_grant.card_serial = card.serial)
     ON card.id = wish.card_id AND card_grant.client_id = wish.client_id
        AND (card_grant.until IS NULL OR card_grant.until > wish.at)
        AND (card_grant.closed_at IS NULL OR card.status = 'cancelled')
ORDER BY wish.position
"""

Signers = Refreshed[tuple[DatedSigner, ...]]


class CodeDesk:
    """Issues codes for one worker."""

    def __init__(
        self, engine: Engine, *, signers: Signers, cti_key: Callable[[], CtiKey], limit: IssueLimit, clock: Clock
    ) -> None:
        self._line = Line(engine)
        self._signers, self._cti_key, self._limit, self._clock = signers, cti_key, limit, clock
        self._looks = Grouped(self._look)

    def issue(self, card_id: UUID, client_id: UUID) -> Code:
        """A dynamic code for a card. Raises `NoSuchCard`, `CardNotActive`, `TooManyCodes` or `NoActiveKey`."""
        asked_at = self._clock.now()  # not later: a card that is frozen after the look closes what was asked for before
        signer = signer_at(self._signers.get(), asked_at)
        look = self._admitted(card_id, client_id, signer.key_id)
        if not look.key_good:  # revoked since this worker last looked: never sign with it again
            signer = signer_at(self._signers.refresh(at_most_every=0), self._clock.now())
        return _mint(look.serial or 0, signer, cti_key=self._cti_key(), now=_after(look.codes_since, asked_at))

    def admit(self, card_id: UUID, client_id: UUID) -> Look:
        """The card of a client that may have a code now, in a format that no key of ours signs, and counts it.

        Raises `NoSuchCard`, `CardNotActive` or `TooManyCodes`.
        """
        return self._admitted(card_id, client_id, b"")

    def _admitted(self, card_id: UUID, client_id: UUID, key_id: bytes) -> Look:
        look = self._looks.submit(Wish(card_id, client_id, self._clock.now(), key_id))
        if look.serial is None:
            raise no_such_card()
        require_codes(look.kind, look.status)
        if look.wait:
            detail = Text(
                "获取二维码过于频繁，请稍后再试。", "Too many codes for this card. Use the last one, or wait."
            )
            raise TooManyCodes(detail, retry_after=look.wait)
        return look

    def _look(self, wishes: list[Wish]) -> list[Look]:
        looks = [Look(*row) for row in self._line.run(_LOOK, wishes)]
        served = {n: look.serial for n, look in enumerate(looks) if look.serial and look.status == CardStatus.ACTIVE}
        waits = self._limit.spend(list(served.values()), now=self._clock.now())
        for n, wait in zip(served, waits, strict=True):
            looks[n] = looks[n]._replace(wait=wait)
        return looks


def require_codes(kind: str | None, status: str | None) -> None:
    """Refuse a card that has no codes of its own. Raises `CardNotActive`."""
    if status != CardStatus.ACTIVE or kind != Kind.FORMAL:
        raise CardNotActive(
            Text("该健康卡当前不是正常状态，不能生成二维码。", "The card is not active, so no code is issued for it.")
        )


def _after(closed: datetime | None, now: datetime) -> datetime:
    """A time whose whole second comes after the one in which a card's codes were closed: now, or up to a second later."""
    return max(now, closed + timedelta(seconds=1)) if closed else now


def _mint(serial: int, signer: SoftwareSigner, *, cti_key: CtiKey, now: datetime) -> Code:
    issued_at = datetime.fromtimestamp(int(now.timestamp()), UTC)  # what the code says: whole seconds
    expires_at = issued_at + timedelta(seconds=DYNAMIC_SECONDS)
    claims = Claims(int(issued_at.timestamp()), int(expires_at.timestamp()), cti_key.make(serial))
    return Code(mint(claims, signer), issued_at, issued_at + (expires_at - issued_at) / 2, expires_at)
