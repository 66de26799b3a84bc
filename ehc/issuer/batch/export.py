"""People written to a file, in the columns that an import reads: a file made here fills an empty system.

That an export began is in the audit log before the first line is in the file, so a kill leaves no unrecorded copy. The
holders read of it in their list of who looked (`ehc/issuer/acts.py`).
"""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from ehc import audit
from ehc.cards.states import CardStatus, Kind
from ehc.clock import Clock
from ehc.core.ids import uuid7
from ehc.core.tables import code_table
from ehc.crypto.sealed import Sealer
from ehc.db import UnitOfWork
from ehc.files.pieces import guarded
from ehc.issuer.batch.columns import PEOPLE
from ehc.issuer.batch.options import OPERATOR
from ehc.residents.store import name_place, number_place, place

BEGUN, DONE = "cards.export-begun", "cards.exported"
SUBJECT = "cards"
"""The subject of exports in the audit log: all cards. One subject, so that a holder's list finds them by an index."""

_AT_ONCE = 1000
_PROVED = (
    "registered", "imported", "level-raised", "identity-changed", "document-linked", "approved", "applied-again",
    "recovered", "restored", "revived",
)  # fmt: skip
"""Events whose evidence proves who the holder is. A death notice's, or a family's, is about something else."""
_PEOPLE = text("""
    SELECT card.level, resident.id AS resident_id, resident.name, resident.phone, resident.address, resident.employer,
        resident.sex, resident.birth_date, resident.ethnicity, document.id AS document_id, document.type, document.number,
        event.id AS event_id, event.evidence
    FROM card
    JOIN resident ON resident.id = card.resident_id
    JOIN identity_document AS document ON document.id = card.document_id
    LEFT JOIN LATERAL (
        SELECT id, evidence FROM card_event
        WHERE card_serial = card.serial AND evidence IS NOT NULL AND action = ANY(:proved)
        ORDER BY at DESC, id DESC LIMIT 1
    ) AS event ON true
    WHERE card.kind = :kind AND card.status = ANY(:statuses) AND NOT card.sandbox
    ORDER BY card.serial
""")


def export_people(work: UnitOfWork, path: Path, statuses: Sequence[CardStatus], *, sealer: Sealer, clock: Clock) -> int:
    """Write the holders of formal cards in these states to a new file that only its owner can read; returns how many.

    Reads 1,000 at a time. Raises `FileExistsError` rather than write over a file; leaves none behind after a failure, one
    of its audit rows included.
    """
    export_id = str(uuid7(clock.now()))

    def record(session: Session, action: str, **facts: object) -> None:
        told = facts | {"export": export_id}
        audit.record(session, action, actor=OPERATOR, subject=SUBJECT, at=clock.now(), facts=told)

    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as out:
            with work() as session:
                record(session, BEGUN, statuses=sorted(statuses))
            with work() as session:
                count = _write(out, _people(session, statuses, sealer))
            out.flush()
            os.fsync(out.fileno())
        with work() as session:
            record(session, DONE, cards=count)
    except BaseException:
        path.unlink()
        raise
    return count


def _write(out: TextIO, people: Iterable[list[str]]) -> int:
    rows, count = csv.writer(out), 0
    rows.writerow(PEOPLE.names)
    for row in people:
        rows.writerow(map(guarded, row))
        count += 1
    return count


def _people(session: Session, statuses: Sequence[CardStatus], sealer: Sealer) -> Iterator[list[str]]:
    wanted = {"kind": Kind.FORMAL, "statuses": list(map(str, statuses)), "proved": list(_PROVED)}
    nations = code_table("ethnicity")
    with session.execute(_PEOPLE, wanted, execution_options={"yield_per": _AT_ONCE}) as rows:
        for row in rows:
            nation = nations[row.ethnicity].name_zh if row.ethnicity in nations else row.ethnicity or ""
            yield _opened(row, nation, sealer)


def _opened(row: Row[tuple[object, ...]], nation: str, sealer: Sealer) -> list[str]:
    owner: UUID = row.resident_id

    def told(column: str, value: bytes | None) -> str:
        return sealer.unseal(value, place(column, owner)) if value else ""

    return [
        sealer.unseal(row.name, name_place(owner)),
        row.type,
        sealer.unseal(row.number, number_place(row.document_id)),
        told("phone", row.phone),
        row.sex or "",
        row.birth_date.isoformat() if row.birth_date else "",
        nation,
        told("address", row.address),
        told("employer", row.employer),
        row.level,
        sealer.unseal(row.evidence, f"card_event.evidence:{row.event_id}") if row.evidence else "",
    ]
