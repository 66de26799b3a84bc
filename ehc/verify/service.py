"""A check, step by step (the order is argued in `docs/architecture.md`)."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from ehc.callers import Caller
from ehc.cards.plastic_numbers import number_index
from ehc.clock import Clock
from ehc.codes.cti import CtiKey
from ehc.codes.national import hex_upper
from ehc.codes.national_text import ForeignCode, read_national
from ehc.codes.signed import (
    DYNAMIC_SECONDS,
    SKEW_SECONDS,
    STATIC_SECONDS,
    Claims,
    Envelope,
    Malformed,
    UnknownFormat,
    open_envelope,
)
from ehc.codes.temporary_text import read_temporary
from ehc.codes.text import TextKind, kind_of
from ehc.core.ids import uuid7
from ehc.core.plastic_kinds import PlasticKind
from ehc.crypto.keys import BadSignature, KeyId, KeyRing, UnknownKey
from ehc.crypto.sealed import BlindIndex, Sealer
from ehc.disclosure.table import Table
from ehc.keystore.refreshed import Refreshed
from ehc.residents.store import place
from ehc.verify.disclosure import CARD_IDS, STATIC_FIELDS, telling
from ehc.verify.national import untimely
from ehc.verify.reasons import NOT_RECORDED, Reason
from ehc.verify.scans import AnyScan, NationalScan, Scan, Settled, StandingKind, StandingScan, Visit


class Refused(Exception):
    """A code that is not to be accepted, and why. `claims` are given once the signature was found good."""

    def __init__(self, reason: Reason, claims: Claims | None = None, key_id: KeyId | None = None) -> None:
        super().__init__(reason)
        self.reason, self.claims, self.key_id = reason, claims, key_id


class Presentation(NamedTuple):
    """What a terminal sends: the text it read, and where and for what it was read.

    A second factor, for a static code or a plastic card, is the end of the holder's phone, or that the operator saw the
    document.
    """

    text: str
    step: str
    channel: str | None = None
    department: str | None = None
    operator: str | None = None
    request_id: str | None = None
    phone_last4: str | None = None
    document_seen: bool = False
    plastic: PlasticKind | None = None
    """The kind of plastic card whose number `text` is; None for a code."""
    ids: bool = False
    """Whether card id and index id are read with the holder, for interfaces that name cards by them."""


@dataclass(frozen=True)
class Tools:
    """What a check needs besides the database. There is no signer in it."""

    clock: Clock
    rings: Refreshed[KeyRing]
    cti_key: Callable[[], CtiKey]
    sealer: Callable[[], Sealer]
    blind_index: Callable[[], BlindIndex]
    protection_keys: Callable[[], Mapping[int, bytes]]
    rules: Callable[[], Table]
    """The table of disclosure, held in memory."""
    national_seconds: int
    """How long national codes live."""


def check_code(text: str, rings: Refreshed[KeyRing], *, now: datetime) -> tuple[Claims, KeyId]:
    """The claims of a signed code that is genuine and in its time. Raises `Refused`. Does not ask the database."""
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


def verify_code(shown: Presentation, caller: Caller, *, tools: Tools, settle: Callable[[AnyScan], Settled]) -> Settled:
    """Check a code and settle the scan: (5) card state, uses and the record, in one statement. Durable on return.

    What is not one of our codes is answered without asking the database: there is nothing to record it against.
    """
    visit = visit_of(shown, caller, tools)
    try:
        scan = scan_of(shown, visit, tools)
    except Refused as refusal:
        code = None if shown.plastic is None else StandingKind.PLASTIC
        return Settled(visit.id, visit.at, visit.step, refusal.reason, code=code)
    found = settle(scan)
    if found.id == visit.id or found.holder is None or _same_rule(found, visit, tools.rules()):
        return found
    # The first scan's record stands for both: a repeat tells nothing that another rule let it tell.
    return found._replace(told=frozenset(STATIC_FIELDS if found.told else ()))


def _same_rule(first: Settled, again: Visit, rules: Table) -> bool:
    return rules.steady(again.institution_id, again.step, since=first.at, until=again.at)


def visit_of(shown: Presentation, caller: Caller, tools: Tools) -> Visit:
    """Where, when and for what a code is presented, under a new id."""
    now = tools.clock.now()
    scan_id = uuid7(now)
    sealed = tools.sealer().seal(shown.operator, operator_place(scan_id)) if shown.operator else None
    rules = tools.rules()
    tells = telling(rules.told(caller.institution_id, shown.step, now))
    if shown.ids:
        tells = tells._replace(asks=[*(tells.asks or ()), CARD_IDS])
    return Visit(
        scan_id,
        now,
        caller.id,
        caller.institution_id,
        shown.step,
        shown.channel,
        shown.department,
        sealed,
        shown.request_id,
        caller.sandbox,
        rules.version,
        *tells,
    )


def operator_place(verification_id: UUID) -> str:
    """Where an operator's name is sealed."""
    return f"verification.operator:{verification_id}"


def scan_of(shown: Presentation, visit: Visit, tools: Tools) -> AnyScan:
    """The scan of a text, with whatever speaks against it already. Raises `Refused` for what is not recorded."""
    if shown.plastic is not None:
        return _plastic(shown, shown.plastic, visit, tools)
    kind = kind_of(shown.text)
    if kind is TextKind.NATIONAL:
        return _national(shown, visit, tools)
    if kind is TextKind.TEMPORARY:
        return _temporary(shown.text, visit, tools)
    return _signed(shown, visit, tools)


def _signed(shown: Presentation, visit: Visit, tools: Tools) -> AnyScan:
    refused: Reason | None = None
    claims: Claims | None
    key_id: KeyId | None
    try:
        claims, key_id = check_code(shown.text, tools.rings, now=visit.at)
    except Refused as refusal:
        refused, claims, key_id = refusal.reason, refusal.claims, refusal.key_id
        if refused in NOT_RECORDED and claims is None:
            raise
    if claims is None:
        return Scan(visit, refused, key_id=key_id)
    serial = tools.cti_key().serial(claims.cti)
    if claims.static:
        return _with_factor(
            StandingScan(visit, StandingKind.PRINT, refused, serial, claims.cti, key_id), shown, tools.sealer()
        )
    issued_at = datetime.fromtimestamp(claims.issued_at, UTC)
    return Scan(visit, refused, serial, claims.cti, issued_at, _keep_until(claims), key_id)


def _national(shown: Presentation, visit: Visit, tools: Tools) -> AnyScan:
    try:
        found = read_national(shown.text)
    except ForeignCode:
        raise Refused(Reason.WRONG_REGION) from None
    except UnknownFormat:
        raise Refused(Reason.UNKNOWN_FORMAT) from None
    except Malformed:
        raise Refused(Reason.MALFORMED) from None
    index = tools.blind_index()
    ehc_id_index = index.of("ehc-id", hex_upper(found.card_id))
    if found.validity is None:
        scan = StandingScan(visit, StandingKind.NATIONAL, ehc_id_index=ehc_id_index)
        return _with_factor(scan, shown, tools.sealer())
    refused = untimely(found.validity, tools.protection_keys(), now=visit.at, life=tools.national_seconds)
    return NationalScan(visit, index.of("national-code", found.text), ehc_id_index, refused)


def _temporary(text: str, visit: Visit, tools: Tools) -> StandingScan:
    try:
        digits = read_temporary(text)
    except (Malformed, UnknownFormat):
        raise Refused(Reason.MALFORMED) from None
    return StandingScan(visit, StandingKind.TEMPORARY, temporary_index=tools.blind_index().of("temporary-code", digits))


def _plastic(shown: Presentation, kind: PlasticKind, visit: Visit, tools: Tools) -> StandingScan:
    number = kind.read(shown.text)
    if number is None:
        raise Refused(Reason.MALFORMED)
    index = number_index(tools.blind_index(), kind, visit.institution_id, number)
    return _with_factor(StandingScan(visit, StandingKind.PLASTIC, plastic_index=index), shown, tools.sealer())


def _with_factor(scan: StandingScan, shown: Presentation, sealer: Sealer) -> StandingScan:
    scan.document_seen = shown.document_seen
    if shown.phone_last4 is not None and scan.refused is None:
        digits = shown.phone_last4.encode()

        def ends(resident_id: UUID, phone: bytes) -> bool:
            known = sealer.unseal(phone, place("phone", resident_id)).encode()
            return hmac.compare_digest(known[-len(digits) :], digits)

        scan.phone_check = ends
    return scan


def _opened(text: str) -> Envelope:
    try:
        return open_envelope(text)
    except Malformed:
        raise Refused(Reason.MALFORMED) from None
    except UnknownFormat:
        raise Refused(Reason.UNKNOWN_FORMAT) from None


def _untimely(claims: Claims, now: float) -> Reason | None:
    longest = STATIC_SECONDS if claims.static else DYNAMIC_SECONDS
    if not 0 < claims.expires_at - claims.issued_at <= longest:
        return Reason.MALFORMED  # we never sign such a life; recorded, since the signature is ours
    if now < claims.issued_at - SKEW_SECONDS:
        return Reason.NOT_YET_VALID
    return Reason.EXPIRED if now > claims.expires_at + SKEW_SECONDS else None


def _keep_until(claims: Claims) -> datetime:
    """When the use of a code may be forgotten: no clock within the skew accepts it any more."""
    return datetime.fromtimestamp(claims.expires_at, UTC) + timedelta(seconds=SKEW_SECONDS)
