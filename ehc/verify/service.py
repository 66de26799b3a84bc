"""A check, step by step (the order is argued in `docs/architecture.md`)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from ehc.callers import Caller
from ehc.clock import Clock
from ehc.codes.cti import CtiKey
from ehc.codes.signed import (
    DYNAMIC_SECONDS,
    SKEW_SECONDS,
    Claims,
    Envelope,
    Malformed,
    UnknownFormat,
    open_envelope,
)
from ehc.core.ids import uuid7
from ehc.crypto.keys import BadSignature, KeyId, KeyRing, UnknownKey
from ehc.crypto.sealed import Sealer
from ehc.keystore.refreshed import Refreshed
from ehc.verify.disclosure import DEFAULT_FIELDS
from ehc.verify.journal import Scan, Settled
from ehc.verify.models import NO_CARD
from ehc.verify.reasons import NOT_RECORDED, Reason


class Refused(Exception):
    """A code that is not to be accepted, and why. `claims` are given once the signature was found good."""

    def __init__(self, reason: Reason, claims: Claims | None = None, key_id: KeyId | None = None) -> None:
        super().__init__(reason)
        self.reason, self.claims, self.key_id = reason, claims, key_id


class Presentation(NamedTuple):
    """What a terminal sends: the text it read, and where and for what it was read."""

    text: str
    step: str
    channel: str | None = None
    department: str | None = None
    operator: str | None = None
    request_id: str | None = None


def check_code(text: str, rings: Refreshed[KeyRing], *, now: datetime) -> tuple[Claims, KeyId]:
    """The claims of a code that is genuine and in its time. Raises `Refused`. Does not ask the database."""
    envelope = _opened(text)  # (1) size and shape; nothing is trusted yet
    key_id, claims = envelope.key_id, envelope.claims
    try:
        ring = rings.get()
        if key_id not in ring:  # made a moment ago by another worker, or never
            ring = rings.refresh()
        key = ring.key_for(  # (2) by a key that we hold and that signed then
            key_id, algorithm=envelope.algorithm, issued_at=claims.issued_at, skew=SKEW_SECONDS
        )
        key.verify(envelope.signed, envelope.signature)  # (3) over the bytes as received
    except UnknownKey:
        raise Refused(Reason.UNKNOWN_KEY, key_id=key_id) from None
    except BadSignature:
        raise Refused(Reason.BAD_SIGNATURE, key_id=key_id) from None
    if refusal := _untimely(claims, now.timestamp()):  # (4) by our clock
        raise Refused(refusal, claims, key_id)
    return claims, key_id


def verify_code(
    shown: Presentation,
    caller: Caller,
    *,
    clock: Clock,
    rings: Refreshed[KeyRing],
    cti_key: CtiKey,
    sealer: Sealer,
    settle: Callable[[Scan], Settled],
) -> Settled:
    """Check a code and settle the scan: (5) card state, one use and the record, in one statement. Durable on return."""
    now = clock.now()
    scan_id = uuid7(now)
    refused: Reason | None = None
    claims: Claims | None
    key_id: KeyId | None
    try:
        claims, key_id = check_code(shown.text, rings, now=now)
    except Refused as refusal:
        refused, claims, key_id = refusal.reason, refusal.claims, refusal.key_id
        if refused in NOT_RECORDED and claims is None:
            return Settled(scan_id, now, shown.step, refused, None, None, None, None, None, None)
    return settle(
        Scan(
            id=scan_id,
            at=now,
            client_id=caller.id,
            institution_id=caller.institution_id,
            step=shown.step,
            channel=shown.channel,
            department=shown.department,
            operator=sealer.seal(shown.operator, operator_place(scan_id)) if shown.operator else None,
            request_id=shown.request_id,
            disclosed=DEFAULT_FIELDS,
            refused=refused,
            serial=cti_key.serial(claims.cti) if claims else NO_CARD,
            cti=claims.cti if claims else b"",
            expires_at=_keep_until(claims) if claims else None,
            key_id=key_id,
        )
    )


def operator_place(verification_id: UUID) -> str:
    """Where an operator's name is sealed."""
    return f"verification.operator:{verification_id}"


def _opened(text: str) -> Envelope:
    try:
        return open_envelope(text)
    except Malformed:
        raise Refused(Reason.MALFORMED) from None
    except UnknownFormat:
        raise Refused(Reason.UNKNOWN_FORMAT) from None


def _untimely(claims: Claims, now: float) -> Reason | None:
    if not 0 < claims.expires_at - claims.issued_at <= DYNAMIC_SECONDS:
        return Reason.MALFORMED  # we never sign such a life; recorded, since the signature is ours
    if now < claims.issued_at - SKEW_SECONDS:
        return Reason.NOT_YET_VALID
    return Reason.EXPIRED if now > claims.expires_at + SKEW_SECONDS else None


def _keep_until(claims: Claims) -> datetime:
    """When the use of a code may be forgotten: no clock within the skew accepts it any more."""
    return datetime.fromtimestamp(claims.expires_at, UTC) + timedelta(seconds=SKEW_SECONDS)
