"""Applicants sealed and indexed, as rows in PostgreSQL's binary COPY format.

It does what registration does (`residents.store`, `issuer.registry`), for thousands at once: the ids of a piece are drawn
together, a row is laid out as bytes without an object of its own. Tests open what is written with the ordinary code.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from ehc.cards.states import CardStatus, Kind, Level, Party
from ehc.core.documents import one_type
from ehc.core.ids import uuid7
from ehc.core.randomness import random_bytes
from ehc.crypto.sm import sm3
from ehc.issuer.batch.bulk import BulkIndex, BulkSealer, CardIds
from ehc.issuer.batch.preparing import Applicant
from ehc.keystore.secret_keys import Secrets

TABLES = {
    "resident": "id, name, phone, phone_index, address, employer, sex, birth_date, ethnicity, version, created_at",
    "identity_document": "id, resident_id, type, number, number_index, created_at",
    "card": "serial, id, resident_id, document_id, kind, status, level, ehc_id, ehc_id_index, index_id, index_id_index,"
    " security_key_version, version, created_at, status_changed_at",
    "card_event": "id, card_serial, action, new_status, level, evidence, changed, party, actor, at",
    "card_grant": "card_serial, client_id, created_at",
    "identity_proof": "id, card_serial, asked_at, tries",
}
"""What an import writes, in this order: `identity_document` early, since it decides who is new."""

_SIGNATURE = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_EMPTY_TEXTS = (12).to_bytes(4, "big") + bytes(8) + (25).to_bytes(4, "big")  # no dimension, no nulls, type text
_ID, _INDEX, _LONG = ((n).to_bytes(4, "big") for n in (16, 32, 8))
_FIRST_DAY = date(2000, 1, 1).toordinal()
_FIRST_INSTANT = datetime(2000, 1, 1, tzinfo=UTC)
_SEALED = 8
"""Sealed values that a person has at most."""
_IMPORTED, _FORMAL = (len(word).to_bytes(4, "big") + word.encode() for word in ("imported", str(Kind.FORMAL)))


class Marked(NamedTuple):
    """An applicant with the blind indexes that find them."""

    applicant: Applicant
    number_index: bytes
    index_id: bytes
    index_id_index: bytes


@dataclass(frozen=True)
class Frame:
    """What all rows of a piece share."""

    secrets: Secrets
    now: datetime
    actor: str
    first_status: Mapping[Level, CardStatus]
    client_id: UUID | None
    party: Party = Party.STAFF
    asking: bool = False
    """Whether the identity authority has to be asked about each card: the question is left open, for its sweep."""


@dataclass
class Sealed:
    """The rows of a piece as COPY takes them, and the ids of its cards."""

    copies: dict[str, bytes]
    card_ids: list[bytes]


def mark(applicants: Iterable[Applicant], secrets: Secrets) -> list[Marked]:
    """Each applicant with their indexes, the name being part of the second (national rules 1.2)."""
    documents = BulkIndex(secrets.blind_index, "identity-document")
    index_ids = BulkIndex(secrets.blind_index, "index-id")
    marked = []
    for applicant in applicants:
        id_type, number = applicant.id_type, applicant.id_number
        index = sm3(f"{id_type}{number}{applicant.name}".encode())
        number_index = documents.index(f"{one_type(id_type, number)}:{number}")
        marked.append(Marked(applicant, number_index, index, index_ids.index(index.hex().upper())))
    return marked


def seal(people: Sequence[Marked], serials: Sequence[int], frame: Frame) -> Sealed:
    """Rows for new people with the serials their cards are to have. One order for all tables: that of `people`."""
    rows, ids = _Rows(frame, len(people)), ids_at(frame.now, 4 * len(people))
    questions = ids_at(frame.now, len(people)) if frame.asking else ()
    parts: dict[str, list[bytes]] = {table: [_SIGNATURE] for table in TABLES}
    residents, documents, cards, events, grants, proofs = parts.values()
    for at, (person, number) in enumerate(zip(people, serials, strict=True)):
        owner, paper, card, event = ids[4 * at : 4 * at + 4]
        serial = _LONG + number.to_bytes(8, "big")
        residents.append(rows.resident(person.applicant, owner))
        documents.append(rows.document(person, owner, paper))
        cards.append(rows.card(person, owner, paper, card, serial))
        events.append(rows.event(person.applicant, event, serial))
        grants.append(rows.grant(serial))
        if questions:
            proofs.append(rows.question(questions[at], serial))
    if frame.client_id is None:
        del parts["card_grant"]
    if not frame.asking:
        del parts["identity_proof"]
    copies = {table: b"".join((*written, _TRAILER)) for table, written in parts.items()}
    return Sealed(copies, ids[2::4])


class _Rows:
    """Lays out the rows of one person: a count of fields, then each with its length in front."""

    def __init__(self, frame: Frame, count: int) -> None:
        secrets = frame.secrets
        self._seal = BulkSealer(secrets.sealer, _SEALED * count).field
        self._phone_index = BulkIndex(secrets.blind_index, "phone").index
        self._ehc_id_index = BulkIndex(secrets.blind_index, "ehc-id").index
        self._card_id_of = CardIds(secrets.security_key).of
        microseconds = (frame.now - _FIRST_INSTANT) // timedelta(microseconds=1)
        self._now = _LONG + microseconds.to_bytes(8, "big", signed=True)
        version = _LONG + (1).to_bytes(8, "big")
        self._resident_end = version + self._now
        self._card_end = _short(secrets.security_key_version) + version + self._now + self._now
        self._states = {level: _text(status) + _text(level) for level, status in frame.first_status.items()}
        self._event_end = _EMPTY_TEXTS + _text(frame.party) + _text(frame.actor) + self._now
        self._grant_end = (_ID + frame.client_id.bytes if frame.client_id else _NULL) + self._now

    def resident(self, who: Applicant, owner: bytes) -> bytes:
        place, phone = _dashed(owner), who.phone
        return b"".join(
            (
                b"\x00\x0b",
                _ID,
                owner,
                self._seal(who.name, b"resident.name:" + place),
                self._seal(phone, b"resident.phone:" + place) if phone else _NULL,
                _INDEX + self._phone_index(phone) if phone else _NULL,
                self._seal(who.address, b"resident.address:" + place) if who.address else _NULL,
                self._seal(who.employer, b"resident.employer:" + place) if who.employer else _NULL,
                _text(who.sex),
                _day(who.birth_date),
                _text(who.ethnicity),
                self._resident_end,
            )
        )

    def document(self, person: Marked, owner: bytes, paper: bytes) -> bytes:
        who = person.applicant
        number = self._seal(who.id_number, b"identity_document.number:" + _dashed(paper))
        head = (b"\x00\x06", _ID, paper, _ID, owner, _text(who.id_type))
        return b"".join((*head, number, _INDEX, person.number_index, self._now))

    def card(self, person: Marked, owner: bytes, paper: bytes, card: bytes, serial: bytes) -> bytes:
        who, place = person.applicant, _dashed(card)
        ehc_id = self._card_id_of(who.id_type, who.id_number, person.index_id)
        return b"".join(
            (
                b"\x00\x0f",
                serial,
                _ID,
                card,
                _ID,
                owner,
                _ID,
                paper,
                _FORMAL,
                self._states[who.level],
                self._seal(ehc_id, b"card.ehc_id:" + place),
                _INDEX,
                self._ehc_id_index(ehc_id),
                self._seal(person.index_id.hex().upper(), b"card.index_id:" + place),
                _INDEX,
                person.index_id_index,
                self._card_end,
            )
        )

    def event(self, who: Applicant, event: bytes, serial: bytes) -> bytes:
        kept = _NULL
        if who.reference:
            kept = self._seal(who.reference, b"card_event.evidence:" + _dashed(event))
        return b"".join((b"\x00\x0a", _ID, event, serial, _IMPORTED, self._states[who.level], kept, self._event_end))

    def grant(self, serial: bytes) -> bytes:
        return b"\x00\x03" + serial + self._grant_end

    def question(self, proof: bytes, serial: bytes) -> bytes:
        return b"".join((b"\x00\x04", _ID, proof, serial, self._now, _short(0)))


def ids_at(now: datetime, count: int) -> list[bytes]:
    """`count` UUIDs of version 7 for one instant, ascending: rows written in their order extend an index at its end."""
    head = uuid7(now).bytes[:8]
    drawn = b"".join(random_bytes(1024) for _ in range(-(-count // 128)))
    tails = (bytes((drawn[at] & 0x3F | 0x80,)) + drawn[at + 1 : at + 8] for at in range(0, 8 * count, 8))
    return [head + tail for tail in sorted(tails)]


def _dashed(made: bytes) -> bytes:
    """A UUID as the places of sealed values have it."""
    digits = made.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}".encode()


def _octets(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _text(text: str | None) -> bytes:
    return _NULL if text is None else _octets(text.encode())


def _short(number: int) -> bytes:
    return b"\x00\x00\x00\x02" + number.to_bytes(2, "big")


def _day(day: date | None) -> bytes:
    if day is None:
        return _NULL
    return b"\x00\x00\x00\x04" + (day.toordinal() - _FIRST_DAY).to_bytes(4, "big", signed=True)
