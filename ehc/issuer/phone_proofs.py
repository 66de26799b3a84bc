"""Proof that somebody holds a phone: a one-time code (短信验证码) of 6 digits, good for 5 minutes and 5 tries.

The database counts: tries of a code, tries at all codes of a number, codes sent to a number, codes sent for a client. A code
is kept as a keyed hash. The message leaves after the row is committed, so that a code that arrives is always known; a gateway
that fails voids the code, which still counts, since it may have arrived.
"""

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import randbelow
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select, text, update
from sqlalchemy.orm import Session

from ehc import audit
from ehc.callers import Caller
from ehc.cards.store import acting
from ehc.core.ids import uuid7
from ehc.core.phones import is_mobile, normal_phone
from ehc.crypto.sealed import BlindIndex
from ehc.db import UnitOfWork
from ehc.errors import EhcError, InvalidValue, Text
from ehc.issuer.models import PhoneProofRow
from ehc.keystore.secret_keys import Secrets
from ehc.outside.sms_gateway import SmsGateway
from ehc.sessions.tries import too_many

LIFE = timedelta(minutes=5)
TRIES = 5
GOOD_FOR = timedelta(minutes=30)
"""How long a proved phone may wait for the registration or change that it is for."""
KEPT = timedelta(days=1)
PER_NUMBER = ((timedelta(minutes=1), 1), (timedelta(hours=1), 5), (timedelta(days=1), 10))
"""Codes sent to one number within a time, whichever client asks."""
PER_CLIENT = (timedelta(hours=1), 5000)
TRIES_PER_NUMBER = 20
"""Tries in a day at all codes of one number together, right or wrong, through whichever client and process."""
TEMPLATE = "phone-code"


class TooManySms(EhcError):
    """The number, or the client, was sent its messages for now."""

    code = "too-many-messages"


class WrongCode(EhcError):
    """The code is not the one that was sent; `tries_left` more may be made."""

    code = "wrong-code"


class CodeOver(EhcError):
    """The code cannot be tried any more: too late, tried too often, used, or not this client's."""

    code = "code-expired"


class SmsNotConfigured(EhcError):
    """This deployment has no SMS gateway."""

    code = "sms-not-configured"


@dataclass(frozen=True)
class Sent:
    """A code was sent."""

    id: UUID
    expires_at: datetime


def send(
    typed: str, *, caller: Caller, work: UnitOfWork, secrets: Secrets, gateway: SmsGateway | None, now: datetime
) -> Sent:
    """Send a code to a mobile number. Raises `InvalidValue`, `TooManySms`, `SmsAway`, `SmsRefused`, `SmsNotConfigured`."""
    if gateway is None:
        raise SmsNotConfigured(Text("本系统未开通短信服务。", "This deployment sends no messages."))
    phone = normal_phone(typed)
    if not is_mobile(phone):
        message = Text("请填写可接收短信的手机号码。", "Give a mobile number, which can receive messages.")
        raise InvalidValue.at("/phone", "phone-not-mobile", message)
    code = f"{randbelow(10**6):06}"
    with work() as session:
        sent = _remember(session, phone, code, caller=caller, secrets=secrets, now=now)
    minutes = int(LIFE.total_seconds() // 60)
    try:
        gateway.send(phone, TEMPLATE, {"code": code, "minutes": str(minutes)}, sent.id)
    except EhcError:
        with work() as session:
            session.execute(update(PhoneProofRow).where(PhoneProofRow.id == sent.id).values(expires_at=now))
        raise
    return sent


def confirm(session: Session, proof_id: UUID, code: str, *, caller: Caller, secrets: Secrets, now: datetime) -> bool:
    """Try a code; whether it was right. Each try is counted, so commit also when it was wrong.

    Raises `CodeOver`, or `TooManyWrong` where the number was tried too often.
    """
    _require_tries(session, proof_id, caller=caller, now=now)
    tried = session.execute(
        update(PhoneProofRow)
        .where(PhoneProofRow.id == proof_id, PhoneProofRow.client_id == caller.id)
        .where(PhoneProofRow.tries < TRIES, PhoneProofRow.expires_at > now, PhoneProofRow.proved_at.is_(None))
        .values(tries=PhoneProofRow.tries + 1)
        .returning(PhoneProofRow.code_hash)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if tried is None:
        raise over()
    if not hmac.compare_digest(tried.code_hash, _hash(secrets.blind_index, proof_id, code)):
        return False
    session.execute(update(PhoneProofRow).where(PhoneProofRow.id == proof_id).values(proved_at=now))
    actor = acting(caller).actor
    audit.record(session, "phone.proved", actor=actor, subject=str(proof_id), at=now)
    return True


def phone_of(session: Session, proof_id: UUID, *, secrets: Secrets) -> str:
    """The phone that a proof is about, in clear."""
    return secrets.sealer.unseal(session.get_one(PhoneProofRow, proof_id).phone, _place(proof_id))


def tries_left(session: Session, proof_id: UUID) -> int:
    """How many more tries a code has."""
    tries = session.scalar(select(PhoneProofRow.tries).where(PhoneProofRow.id == proof_id))
    return max(0, TRIES - (TRIES if tries is None else tries))


def spend(
    session: Session, proof_id: UUID, phone: str | None, *, caller: Caller, secrets: Secrets, now: datetime
) -> None:
    """Use a proof, once, for the phone it was made for. Raises `InvalidValue` at /phone_proof."""
    good = _good(proof_id, phone, caller=caller, secrets=secrets, now=now)
    spent = session.execute(
        update(PhoneProofRow)
        .where(good)
        .values(used_at=now)
        .returning(PhoneProofRow.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if spent is None:
        raise _no_proof()


def require(
    session: Session, proof_id: UUID, phone: str | None, *, caller: Caller, secrets: Secrets, now: datetime
) -> None:
    """Hold a proof that `spend` would take, and do not use it. Raises `InvalidValue` at /phone_proof."""
    good = _good(proof_id, phone, caller=caller, secrets=secrets, now=now)
    if session.scalar(select(PhoneProofRow.id).where(good).with_for_update()) is None:
        raise _no_proof()


def purge(session: Session, *, now: datetime) -> int:
    """Forget up to 10,000 codes that were sent more than a day ago; returns how many. Call until it returns 0."""
    old = text("""
        DELETE FROM phone_proof WHERE id IN (
            SELECT id FROM phone_proof WHERE sent_at < :before ORDER BY sent_at LIMIT 10000 FOR UPDATE SKIP LOCKED
        ) RETURNING 1
    """)
    return len(session.execute(old, {"before": now - KEPT}).all())


def wrong(left: int) -> WrongCode:
    """The answer to a code that is not the one that was sent."""
    return WrongCode(
        Text(f"验证码不正确，还可再试 {left} 次。", f"This is not the code that was sent; {left} tries left.")
    )


def over() -> CodeOver:
    """The one answer for every code that cannot be tried."""
    return CodeOver(Text("验证码已失效，请重新获取。", "This code can no longer be tried. Have a new one sent."))


def _good(proof_id: UUID, phone: str | None, *, caller: Caller, secrets: Secrets, now: datetime) -> ColumnElement[bool]:
    """A proof of this phone, by this client, that is fresh and was not used."""
    return and_(
        PhoneProofRow.id == proof_id,
        PhoneProofRow.client_id == caller.id,
        PhoneProofRow.used_at.is_(None),
        PhoneProofRow.proved_at > now - GOOD_FOR,
        PhoneProofRow.phone_index == (secrets.blind_index.of("phone", phone) if phone else b""),
    )


def _no_proof() -> InvalidValue:
    message = Text(
        "手机验证无效、已使用或与该号码不符，请重新获取验证码。",
        "This proof is not for this phone, was used, or is too old. Prove the phone again.",
    )
    return InvalidValue.at("/phone_proof", "phone-proof", message)


def _remember(session: Session, phone: str, code: str, *, caller: Caller, secrets: Secrets, now: datetime) -> Sent:
    index = secrets.blind_index.of("phone", phone)
    # Two requests for one number, or of one client, take turns, so that the counts below are true for both. The number comes
    # first, so that nobody waits who holds a client's turn.
    for key in (index[:8], caller.id.bytes[8:]):
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": int.from_bytes(key, "big", signed=True)})
    for within, most in PER_NUMBER:
        _require_room(session, PhoneProofRow.phone_index == index, within, most, now)
    _require_room(session, PhoneProofRow.client_id == caller.id, *PER_CLIENT, now)
    proof_id = uuid7(now)
    session.add(
        PhoneProofRow(
            id=proof_id,
            client_id=caller.id,
            phone=secrets.sealer.seal(phone, _place(proof_id)),
            phone_index=index,
            code_hash=_hash(secrets.blind_index, proof_id, code),
            sent_at=now,
            expires_at=now + LIFE,
        )
    )
    session.flush()
    return Sent(proof_id, now + LIFE)


def _require_tries(session: Session, proof_id: UUID, *, caller: Caller, now: datetime) -> None:
    """Tries at one number take turns, so that the count is true for all of them. Raises `CodeOver` or `TooManyWrong`."""
    mine = PhoneProofRow.id == proof_id, PhoneProofRow.client_id == caller.id
    index = session.scalar(select(PhoneProofRow.phone_index).where(*mine))
    if index is None:
        raise over()
    key = {"key": int.from_bytes(index[:8], "big", signed=True)}
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), key)
    day = timedelta(days=1)
    recent = PhoneProofRow.phone_index == index, PhoneProofRow.sent_at > now - day, PhoneProofRow.tries > 0
    tries, first = session.execute(
        select(func.coalesce(func.sum(PhoneProofRow.tries), 0), func.min(PhoneProofRow.sent_at)).where(*recent)
    ).one()
    if tries >= TRIES_PER_NUMBER:
        raise too_many(max(1, int((first + day - now).total_seconds()) + 1))


def _require_room(session: Session, whose: ColumnElement[bool], within: timedelta, most: int, now: datetime) -> None:
    recent = select(func.count(), func.min(PhoneProofRow.sent_at)).where(whose, PhoneProofRow.sent_at > now - within)
    count, first = session.execute(recent).one()
    if count >= most:
        wait = max(1, int((first + within - now).total_seconds()) + 1)
        detail = Text("验证码发送过于频繁，请稍后再试。", "Too many codes were sent. Wait, then ask again.")
        raise TooManySms(detail, retry_after=wait)


def _place(proof_id: UUID) -> str:
    return f"phone_proof.phone:{proof_id}"


def _hash(blind_index: BlindIndex, proof_id: UUID, code: str) -> bytes:
    return blind_index.of("one-time-code", f"{proof_id}:{code}")
