"""Who of a piece is known already, and what that means for their rows. Asks for all of them at once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from ehc.cards.states import LIVE, CardStatus
from ehc.codes.national import hex_upper, index_id
from ehc.core.documents import Document
from ehc.issuer.batch.bulk import CardIds
from ehc.issuer.batch.sealing import Marked
from ehc.keystore.secret_keys import Secrets
from ehc.residents.store import document_name_place, name_place

MISMATCH = ("name", "identity-mismatch")
CANCELLED = ("id_number", "card-cancelled")

Cursor = psycopg.Cursor[tuple[Any, ...]]

_KNOWN = """
    SELECT document.number_index, document.resident_id, document.id, document.name, resident.name
    FROM identity_document AS document JOIN resident ON resident.id = document.resident_id
    WHERE document.number_index = ANY(%b) AND document.closed_at IS NULL
"""
# The live card of a person; where there is none, the newest of the others, as `cards.store.of_resident` has it.
_CARDS = """
    SELECT DISTINCT ON (resident_id) resident_id, serial, status FROM card
    WHERE resident_id = ANY(%b) AND kind = 'formal'
    ORDER BY resident_id, status = ANY(%b) DESC, serial DESC
"""
_FORMER = """
    SELECT card.resident_id, card_alias.index_id_index FROM card_alias JOIN card ON card.serial = card_alias.card_serial
    WHERE card.resident_id = ANY(%b)
"""
_TAKEN = "SELECT ehc_id_index FROM card WHERE ehc_id_index = ANY(%b)"
_SEE = """
    INSERT INTO import_seen (run_id, number_index, index_id_index)
    SELECT %s, * FROM unnest(%b::bytea[], %b::bytea[]) ON CONFLICT DO NOTHING RETURNING number_index
"""
_SEEN = "SELECT number_index, index_id_index FROM import_seen WHERE run_id = %s AND number_index = ANY(%b)"


@dataclass(frozen=True)
class Standing:
    """A known person: the index ids that fit them, by blind index; their card; why a row is refused whoever it names."""

    fitting: frozenset[bytes]
    serial: int | None = None
    refusal: tuple[str, str] | None = None

    def fault(self, person: Marked) -> tuple[str, str] | None:
        """The column and code of why this row is refused; None for a row that fits."""
        return self.refusal if person.index_id_index in self.fitting else MISMATCH


def standings(cursor: Cursor, people: Sequence[Marked], secrets: Secrets) -> dict[bytes, Standing]:
    """Those of `people` who are known, by the blind index of their document.

    A name fits that is theirs now or was before (`card_alias`).
    """
    of = {person.number_index: person for person in people}
    found = cursor.execute(_KNOWN, (list(of),)).fetchall()
    if not found:
        return {}
    owners = list({row[1] for row in found})
    cards = {row[0]: row for row in cursor.execute(_CARDS, (owners, list(LIVE)))}
    fitting: dict[UUID, set[bytes]] = {}
    for owner, index in cursor.execute(_FORMER, (owners,)):
        fitting.setdefault(owner, set()).add(index)
    known = {}
    for number_index, owner, document_id, printed, own in found:
        applicant = of[number_index].applicant
        where = document_name_place(document_id) if printed else name_place(owner)
        name = secrets.sealer.unseal(printed or own, where)
        index = index_id(Document(applicant.id_type, applicant.id_number), name)
        current = secrets.blind_index.of("index-id", hex_upper(index))
        card = cards.get(owner)
        over = card is None or card[2] == CardStatus.CANCELLED
        known[number_index] = Standing(
            frozenset({current, *fitting.get(owner, ())}), card[1] if card else None, CANCELLED if over else None
        )
    return known


def seen(cursor: Cursor, people: Iterable[Marked], run_id: UUID) -> Mapping[bytes, Standing]:
    """Those of `people` whom another piece of the same dry run has come across; the others are noted as seen now."""
    ordered = list(people)
    keys = [person.number_index for person in ordered]
    noted = cursor.execute(_SEE, (run_id, keys, [person.index_id_index for person in ordered])).fetchall()
    first = {row[0] for row in noted}
    others = [key for key in keys if key not in first]
    found = cursor.execute(_SEEN, (run_id, others)) if others else ()
    return {key: Standing(frozenset({index})) for key, index in found}


def taken(cursor: Cursor, people: Iterable[Marked], secrets: Secrets) -> dict[bytes, Standing]:
    """Those of `people` whose card id a card has already, although nobody has their document: refused, as it is over."""
    card_id_of = CardIds(secrets.security_key).of
    by_id = {}
    for person in people:
        ehc_id = card_id_of(person.applicant.id_type, person.applicant.id_number, person.index_id)
        by_id[secrets.blind_index.of("ehc-id", ehc_id)] = person
    found = cursor.execute(_TAKEN, (list(by_id),)).fetchall()
    return {
        by_id[row[0]].number_index: Standing(frozenset({by_id[row[0]].index_id_index}), refusal=CANCELLED)
        for row in found
    }
