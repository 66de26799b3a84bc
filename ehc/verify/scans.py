"""A check before and after the database is asked: what was presented, and what was settled. Pure values.

Each kind of scan has its own SQL statement. `_asdict` gives the columns that the statement reads of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from ehc.verify.disclosure import BY_DEFAULT
from ehc.verify.models import NO_CARD
from ehc.verify.reasons import Reason


class Assurance(StrEnum):
    """What kind of code was shown, and how sure that makes a check of who stands there."""

    DYNAMIC = "dynamic"
    STATIC = "static"
    """A bearer token: whoever holds the paper, or a copy of it (national rules 2)."""
    STATIC_CONFIRMED = "static-confirmed"
    """With a second factor."""
    UNVERIFIED = "unverified"
    """Of a temporary card: nobody has proved who its holder is (national rules 1.9)."""
    PLASTIC = "plastic"
    """Of a plastic card that a terminal read: whoever holds it. Who that is, its reader cannot prove to us."""
    PLASTIC_CONFIRMED = "plastic-confirmed"
    """With a second factor."""


class Factor(StrEnum):
    """What came of a second factor (national rules 2, measure G)."""

    CONFIRMED = "confirmed"
    WRONG = "wrong"
    """Also where the holder has no phone on record: that is nobody's business."""


class StandingKind(StrEnum):
    """The codes that stay as they are from check to check."""

    PRINT = "print"
    NATIONAL = "national"
    TEMPORARY = "temporary"
    PLASTIC = "plastic"
    """No code: the number of a plastic card, as a reader returns it."""


class Visit(NamedTuple):
    """Where, when, for what and by whom a code was presented. `operator` is sealed."""

    id: UUID
    at: datetime
    client_id: UUID
    institution_id: UUID | None
    step: str
    channel: str | None
    department: str | None
    operator: bytes | None
    request_id: str | None
    sandbox: bool = False
    """Whether the caller is of the sandbox: cards of the other world are not there for it."""
    rules: int | None = None
    """The version of the table of disclosure that it goes by; what follows is its word (`disclosure.Telling`)."""
    may_tell: str = BY_DEFAULT.may_tell
    may_tell_least: str = BY_DEFAULT.may_tell_least
    may_guardian: str = BY_DEFAULT.may_guardian
    may_patient: str = BY_DEFAULT.may_patient
    asks: list[str] | None = None


@dataclass(slots=True)
class Scan:
    """A signed dynamic code, with everything about it that was decided before the database is asked."""

    visit: Visit
    refused: Reason | None = None
    serial: int = NO_CARD
    cti: bytes = b""
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    key_id: bytes | None = None

    def _asdict(self) -> dict[str, Any]:
        return {
            **self.visit._asdict(),
            "refused": self.refused,
            "serial": self.serial,
            "cti": self.cti,
            "issued_at": self.issued_at,
            "expires_at": self.expires_at,
            "key_id": self.key_id,
        }


@dataclass(slots=True)
class NationalScan:
    """A national dynamic code. `text_index` and `ehc_id_index` are the blind indexes of the text and of its card id."""

    visit: Visit
    text_index: bytes
    ehc_id_index: bytes
    refused: Reason | None = None

    def _asdict(self) -> dict[str, Any]:
        return {
            **self.visit._asdict(),
            "refused": self.refused,
            "text_index": self.text_index,
            "ehc_id_index": self.ehc_id_index,
        }


PhoneCheck = Callable[[UUID, bytes], bool]
"""Whether the digits that were given end the phone of a resident, given the resident's id and the sealed phone."""


@dataclass(slots=True)
class StandingScan:
    """What is not used up: a printed code (by `serial` and `cti`), a national static or temporary one, a plastic card.

    The last three are known by their blind indexes. Of the second factors at most one is given. `phone_ends` is what the
    digits came to: None where there is no phone.
    """

    visit: Visit
    kind: StandingKind
    refused: Reason | None = None
    serial: int | None = None
    cti: bytes | None = None
    key_id: bytes | None = None
    ehc_id_index: bytes | None = None
    temporary_index: bytes | None = None
    plastic_index: bytes | None = None
    document_seen: bool = False
    phone_check: PhoneCheck | None = None
    phone_ends: bool | None = None

    def _asdict(self) -> dict[str, Any]:
        return {
            **self.visit._asdict(),
            "refused": self.refused,
            "kind": self.kind,
            "serial": self.serial,
            "cti": self.cti,
            "key_id": self.key_id,
            "ehc_id_index": self.ehc_id_index,
            "temporary_index": self.temporary_index,
            "plastic_index": self.plastic_index,
            "document_seen": self.document_seen,
            "phone_given": self.phone_check is not None,
            "phone_ends": self.phone_ends,
        }


AnyScan = Scan | NationalScan | StandingScan


class Holder(NamedTuple):
    """The card that was accepted, its holder, and who acts for the holder. Names are sealed."""

    card_id: UUID
    kind: str
    level: str
    resident_id: UUID
    name: bytes
    sex: str | None
    birth_date: date | None
    relation: str | None
    guardian_id: UUID | None
    guardian_name: bytes | None
    outpatient_id: UUID | None = None
    outpatient: bytes | None = None
    inpatient_id: UUID | None = None
    inpatient: bytes | None = None
    """The asking institution's own ids of this patient, sealed."""
    more: Mapping[str, str | None] | None = None
    """What the table lets be told besides, as far as it was asked for: sealed values as PostgreSQL writes `bytea`."""


class Settled(NamedTuple):
    """What was decided. For a repeated scan, `id`, `at` and `step` are those of the first one.

    `holder` is None unless the code was accepted; `told` names the fields that may be told of them. `code` is the kind of a
    standing code, None for any other. `tries_left` comes with a second factor that was wrong.
    """

    id: UUID
    at: datetime
    step: str
    reason: Reason | None
    assurance: Assurance = Assurance.DYNAMIC
    holder: Holder | None = None
    told: frozenset[str] = frozenset()
    code: StandingKind | None = None
    factor: Factor | None = None
    tries_left: int | None = None
