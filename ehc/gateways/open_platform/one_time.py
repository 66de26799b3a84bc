"""One-time codes (open-platform JSON 3): `wechatCode`, `healthCode`, and the order that puts a card into the wallet.

Who spends a code first, the row decides: it is held until the transaction ends, and whoever waited for it finds it spent.
Nothing here commits.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Select, delete, select, update
from sqlalchemy.orm import Session

from ehc.gateways.open_platform.models import OneTimeCodeRow
from ehc.gateways.open_platform.tokens import hash_of, is_secret, new_secret

LIFE = timedelta(minutes=30)
BESIDE = timedelta(minutes=5)
"""How long the `healthCode` before goes on beside the next one: the page may be on its way with it."""
_KEPT = timedelta(days=1)
_AT_ONCE = 10_000


class OneTime(StrEnum):
    """What a code is for."""

    WECHAT = "wechat"
    """微信身份码: proves a user of WeChat. Used up by a registration that succeeds."""
    HEALTH = "health"
    """健康卡授权码: the holder's consent to hand over one card. Used up by its first use."""
    WALLET = "wallet"
    """An order that puts a card into WeChat's wallet."""


def issue(session: Session, kind: OneTime, account: UUID, *, card_serial: int | None = None, now: datetime) -> str:
    """A new code, for one account. Of a card's `healthCode`s the latest two are good, the older one for five minutes more."""
    if kind is OneTime.HEALTH:
        _end_older(session, account, card_serial, now=now)
    code = new_secret()
    session.add(
        OneTimeCodeRow(
            hash=hash_of(code),
            kind=kind,
            account_id=account,
            card_serial=card_serial,
            issued_at=now,
            expires_at=now + LIFE,
        )
    )
    session.flush()
    return code


def is_good(session: Session, kind: OneTime, code: str, account: UUID, *, now: datetime) -> bool:
    """Whether a code could be used now; holds nothing, so it may be used by somebody else in the next moment."""
    return is_secret(code) and session.scalar(select(_mine(kind, code, account, now).exists())) is True


def hold(session: Session, kind: OneTime, code: str, account: UUID, *, now: datetime) -> OneTimeCodeRow | None:
    """The code, held until the transaction ends; None for one that is used, out of its time, another account's, or none.

    Before any card is locked (docs/architecture.md, Order of locks).
    """
    if not is_secret(code):
        return None
    held: OneTimeCodeRow | None = session.scalar(_mine(kind, code, account, now).with_for_update())
    return held


def find(session: Session, kind: OneTime, code: str, *, now: datetime) -> OneTimeCodeRow | None:
    """As `hold`, for whoever stands for the platform itself: of any account."""
    if not is_secret(code):
        return None
    held: OneTimeCodeRow | None = session.scalar(_good(kind, code, now).with_for_update())
    return held


def spend(session: Session, row: OneTimeCodeRow, *, now: datetime) -> None:
    """Use up a code that is held."""
    row.used_at = now
    session.flush()


def purge(session: Session, *, now: datetime) -> int:
    """Forget up to 10,000 codes that ended a day ago; returns how many. Never commits."""
    old = select(OneTimeCodeRow.hash).where(OneTimeCodeRow.expires_at < now - _KEPT).limit(_AT_ONCE)
    gone = delete(OneTimeCodeRow).where(OneTimeCodeRow.hash.in_(old.with_for_update(skip_locked=True)))
    return len(session.execute(gone.returning(OneTimeCodeRow.hash)).all())


def _mine(kind: OneTime, code: str, account: UUID, now: datetime) -> Select[OneTimeCodeRow]:
    return _good(kind, code, now).where(OneTimeCodeRow.account_id == account)


def _good(kind: OneTime, code: str, now: datetime) -> Select[OneTimeCodeRow]:
    return select(OneTimeCodeRow).where(
        OneTimeCodeRow.hash == hash_of(code),
        OneTimeCodeRow.kind == kind,
        OneTimeCodeRow.used_at.is_(None),
        OneTimeCodeRow.expires_at > now,
    )


def _end_older(session: Session, account: UUID, card_serial: int | None, *, now: datetime) -> None:
    """The newest of the codes before has five minutes left at most, those before it none."""
    mine = (
        (OneTimeCodeRow.account_id == account)
        & (OneTimeCodeRow.card_serial == card_serial)
        & (OneTimeCodeRow.kind == OneTime.HEALTH)
        & OneTimeCodeRow.used_at.is_(None)
        & (OneTimeCodeRow.expires_at > now)
    )
    newest = select(OneTimeCodeRow.hash).where(mine).order_by(OneTimeCodeRow.issued_at.desc(), OneTimeCodeRow.hash)
    last = session.scalar(newest.limit(1))
    if last is None:
        return
    older = update(OneTimeCodeRow).where(mine, OneTimeCodeRow.hash != last)
    session.execute(older.values(expires_at=now).execution_options(synchronize_session=False))
    beside = update(OneTimeCodeRow).where(OneTimeCodeRow.hash == last, OneTimeCodeRow.expires_at > now + BESIDE)
    session.execute(beside.values(expires_at=now + BESIDE).execution_options(synchronize_session=False))
