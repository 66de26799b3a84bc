"""A hospital's list of existing patients, bound to cards by their documents; whatever is not an exact match waits for a person.

A piece of the list is one transaction: its bindings, its reviews, its bad rows, the counts and how far it came. So a list
goes on where it was stopped. An exact match is: the document leads to an active card, the name is its holder's, and neither
card nor patient id has another binding of this kind at the institution.
"""

import csv
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from hashlib import file_digest, sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from psycopg.errors import DeadlockDetected, LockNotAvailable, UniqueViolation
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from ehc import audit
from ehc.binding.patient_ids import ID_TYPES, PatientNumber
from ehc.cards import binding_events
from ehc.cards.binding_events import BindingKind, Changed
from ehc.cards.bindings import number_place
from ehc.cards.patient_id_models import PatientFaultRow, PatientIdRow, PatientImportRow, PatientReviewRow
from ehc.cards.states import Party
from ehc.cards.store import Acting
from ehc.clock import local_day
from ehc.core.documents import Document, read_document
from ehc.core.ids import uuid7
from ehc.core.names import normal_name
from ehc.errors import InvalidValue, Text
from ehc.files.holding import held
from ehc.files.pieces import Columns, Cutter, Piece, Record, records
from ehc.files.progress import Teller
from ehc.keystore.secret_keys import Secrets
from ehc.place import Place
from ehc.residents import store as residents

COLUMNS = Columns(("patient_id", "patient_id_type", "name", "id_type", "id_number"), required=5)
"""The columns of a list, in whatever order. `patient_id_type` is outpatient or inpatient."""

_ATTEMPTS = 5
_LOST_A_RACE = (UniqueViolation, DeadlockDetected, LockNotAvailable)

_NUMBER = re.compile(r"[0-9A-Za-z][0-9A-Za-z._/-]{0,63}", re.ASCII)


class Why(StrEnum):
    """Why a patient of a list waits for a person."""

    NO_CARD = "no-card"
    """The document leads to no card here: most patients who never registered."""
    NAME = "name-differs"
    CARD = "card-not-active"
    OTHER_ID = "other-patient-id"
    """The card has another live id of this kind at the institution."""
    OTHER_CARD = "other-card"
    """The patient id leads to somebody else's card, in the register or in this list."""


FAULTS: Mapping[str, Text] = MappingProxyType(
    {
        "columns": Text("列数与表头不符。", "Another number of cells than the header has."),
        "quote": Text("引号没有闭合。", "A quote is not closed."),
        "encoding": Text("编码与所选不符。", "Not in the encoding that was named."),
        "length": Text("一行过长。", "The line is too long."),
        "patient-id": Text(
            "院内ID应为 1 至 64 位字母、数字或 ._/-。", "A patient id is 1 to 64 letters, digits and ._/-."
        ),
        "patient-id-type": Text("类型应为 outpatient 或 inpatient。", "The type is outpatient or inpatient."),
        "name": Text("姓名有误。", "Not a name."),
        "document": Text("证件类型或号码有误。", "Not a document type and number."),
    }
)
"""What can be wrong with a row by itself."""


class Report(NamedTuple):
    """What a list came to."""

    run_id: UUID
    rows: int
    bound: int
    known: int
    review: int
    bad: int


@dataclass(frozen=True, slots=True)
class _Patient:
    """A row that can be read. Personal data."""

    line: int
    number: PatientNumber
    name: str
    document: Document
    index: bytes
    document_index: bytes


class _Held(NamedTuple):
    """The card that a document leads to."""

    name: bytes
    """As the document has it, sealed in `place`."""
    place: str
    serial: int
    id: UUID
    active: bool


class PatientList:
    """One list of one institution."""

    def __init__(
        self, place: Place, path: Path, institution_id: UUID, *, encoding: str, actor: str, teller: Teller
    ) -> None:
        self._place, self._path, self._institution_id = place, path, institution_id
        self._encoding, self._actor, self._teller = encoding, actor, teller

    def run(self) -> Report:
        """Bind the patients of the list, or go on with it; one that was done is only reported on.

        Raises `BadFile` or `ImportRuns`. What was written then stays.
        """
        with self._path.open("rb") as file:
            content = file_digest(file, "sha256").digest()
            file.seek(0)
            cutter = Cutter(file.read)
            header = cutter.header(self._encoding, COLUMNS)
            run = self._begun(sha256(content + self._institution_id.bytes + self._encoding.encode()).digest())
            if run.finished_at is None:
                with held(self._place, run.id):
                    self._write(cutter, header, run)
        with self._place.patient_work() as session:
            done = session.get_one(PatientImportRow, run.id)
            return Report(done.id, done.rows, done.bound, done.known, done.review, done.bad)

    def _begun(self, fingerprint: bytes) -> PatientImportRow:
        now = self._place.clock.now()
        with self._place.patient_work() as session:
            mine = select(PatientImportRow).where(PatientImportRow.fingerprint == fingerprint)
            newest = mine.order_by(PatientImportRow.finished_at.desc().nulls_first()).limit(1)
            found = session.scalars(newest).one_or_none()
            if found is not None:
                return found
            row = PatientImportRow(
                id=uuid7(now),
                institution_id=self._institution_id,
                fingerprint=fingerprint,
                state="running",
                started_at=now,
                **dict.fromkeys(("done_pieces", "rows", "bound", "known", "review", "bad"), 0),
            )
            session.add(row)
            session.flush()
            audit.record(session, "patient-ids.import-begun", actor=self._actor, subject=str(row.id), at=now)
            return row

    def _write(self, cutter: Cutter, header: list[str], run: PatientImportRow) -> None:
        with self._place.patient_work() as session:
            done = session.get_one(PatientImportRow, run.id).done_pieces
        cells_of = COLUMNS.getter(header)
        for piece in cutter.pieces():
            if piece.number < done:
                self._teller.skip(len(piece.data))
                continue
            rows = list(records(piece.data, first_line=piece.first_line, encoding=self._encoding))
            patients, faults = _read(rows, len(header), cells_of, self._place.secrets(), self._institution_id,
                                     today=local_day(self._place.clock.now()))  # fmt: skip
            self._settle(run, piece, len(rows), patients, faults)
            self._teller.advance(len(piece.data), len(rows))
        now = self._place.clock.now()
        with self._place.patient_work() as session:
            row = session.get_one(PatientImportRow, run.id, with_for_update=True)
            row.state, row.finished_at = "done", now
            facts = {name: getattr(row, name) for name in ("rows", "bound", "known", "review", "bad")}
            audit.record(session, "patient-ids.imported", actor=self._actor, subject=str(row.id), at=now, facts=facts)

    def _settle(
        self,
        run: PatientImportRow,
        piece: Piece,
        rows: int,
        patients: Sequence[_Patient],
        faults: Mapping[int, tuple[str, str]],
    ) -> None:
        """Settle a piece; again where a window that binds at the same moment was first."""
        for attempt in range(_ATTEMPTS):
            secrets, now = self._place.secrets(), self._place.clock.now()
            try:
                with self._place.work() as session:
                    settling = _Piece(session, run.id, self._institution_id, self._actor, secrets, now)
                    settling.settle(piece, rows, patients, faults)
            except DBAPIError as error:
                if attempt + 1 == _ATTEMPTS or not isinstance(error.orig, _LOST_A_RACE):
                    raise
            else:
                return


@dataclass(frozen=True)
class _Piece:
    """One piece, in one transaction."""

    session: Session
    run_id: UUID
    institution_id: UUID
    actor: str
    secrets: Secrets
    now: datetime

    def settle(
        self, piece: Piece, rows: int, patients: Sequence[_Patient], faults: Mapping[int, tuple[str, str]]
    ) -> None:
        """Bind what matches exactly, put aside what does not, and move the counts on."""
        cards = self._cards(patients)
        taken, of_card = self._live(patients, cards)
        bind: list[tuple[_Patient, _Held]] = []
        aside: list[tuple[_Patient, Why, int | None]] = []
        known = 0
        for patient in patients:
            card = cards.get(patient.document_index)
            why = self._why(patient, card, taken, of_card)
            if why is not None or card is None:
                aside.append((patient, why or Why.NO_CARD, card.serial if card else None))
            elif taken.get(patient.index) == card.serial:
                known += 1
            else:
                bind.append((patient, card))
                taken[patient.index] = card.serial
                of_card[card.serial, patient.number.id_type] = patient.index
        self._bind(bind)
        self._put_aside(aside)
        self._keep_faults(faults)
        counted = {"rows": rows, "bound": len(bind), "known": known, "review": len(aside), "bad": len(faults)}
        moved = ", ".join(f"{name} = {name} + :{name}" for name in counted)
        self.session.execute(
            text(f"UPDATE patient_import SET done_pieces = :done, {moved} WHERE id = :run"),  # noqa: S608 - names of ours
            {"done": piece.number + 1, "run": self.run_id, **counted},
        )

    def _cards(self, patients: Sequence[_Patient]) -> dict[bytes, _Held]:
        """The cards that the documents lead to, held in the order of their serials until the piece is written."""
        found = text("""
            SELECT document.number_index, document.id AS document_id, document.name AS printed, resident.id, resident.name,
                   card.serial, card.id AS card_id, card.status = 'active' AS active
            FROM identity_document AS document
            JOIN resident ON resident.id = document.resident_id
            JOIN card ON card.resident_id = resident.id AND card.kind = 'formal'
                AND card.status IN ('pending-review', 'active', 'suspended', 'lost')
            WHERE document.number_index = ANY(:indexes) AND document.closed_at IS NULL
            ORDER BY card.serial FOR NO KEY UPDATE OF card
        """)
        rows = self.session.execute(found, {"indexes": [patient.document_index for patient in patients]})
        return {
            row.number_index: _Held(
                row.printed or row.name,
                residents.document_name_place(row.document_id) if row.printed else residents.name_place(row.id),
                row.serial,
                row.card_id,
                row.active,
            )
            for row in rows
        }

    def _live(
        self, patients: Sequence[_Patient], cards: Mapping[bytes, _Held]
    ) -> tuple[dict[bytes, int], dict[tuple[int, str], bytes]]:
        """Which card each patient id leads to, and which id of a kind each card has at the institution."""
        by_index = text(
            "SELECT number_index, card_serial FROM patient_id WHERE ended_at IS NULL AND number_index = ANY(:indexes)"
        )
        taken = self.session.execute(by_index, {"indexes": [patient.index for patient in patients]})
        by_card = text("""
            SELECT card_serial, id_type, number_index FROM patient_id
            WHERE ended_at IS NULL AND institution_id = :institution AND card_serial = ANY(:serials)
        """)
        serials = [card.serial for card in cards.values()]
        of_card = self.session.execute(by_card, {"institution": self.institution_id, "serials": serials})
        return (
            {row.number_index: row.card_serial for row in taken},
            {(row.card_serial, row.id_type): row.number_index for row in of_card},
        )

    def _why(
        self,
        patient: _Patient,
        card: _Held | None,
        taken: Mapping[bytes, int],
        of_card: Mapping[tuple[int, str], bytes],
    ) -> Why | None:
        """Why a patient is not an exact match; None for one that is."""
        if card is None:
            return Why.NO_CARD
        if self.secrets.sealer.unseal(card.name, card.place) != patient.name:
            return Why.NAME
        if not card.active:
            return Why.CARD
        if taken.get(patient.index, card.serial) != card.serial:
            return Why.OTHER_CARD
        if of_card.get((card.serial, patient.number.id_type), patient.index) != patient.index:
            return Why.OTHER_ID
        return None

    def _bind(self, bind: Sequence[tuple[_Patient, _Held]]) -> None:
        rows, changed = [], []
        for patient, card in bind:
            row_id = uuid7(self.now)
            rows.append(
                {
                    "id": row_id,
                    "card_serial": card.serial,
                    "institution_id": self.institution_id,
                    "id_type": patient.number.id_type,
                    "number": self._sealed("patient_id", row_id, patient.number.number),
                    "number_index": patient.index,
                    "source": "import",
                    "run_id": self.run_id,
                    "bound_at": self.now,
                }
            )
            changed.append(Changed(card.serial, card.id, row_id))
        if rows:
            self.session.execute(insert(PatientIdRow), rows)
        binding_events.note_all(
            self.session, BindingKind.PATIENT_ID, "bound", changed,
            acting=Acting(self.actor, Party.STAFF), at=self.now, institution_id=self.institution_id,
        )  # fmt: skip

    def _put_aside(self, aside: Sequence[tuple[_Patient, Why, int | None]]) -> None:
        rows: list[dict[str, Any]] = []
        for patient, why, serial in aside:
            row_id = uuid7(self.now)
            rows.append(
                {
                    "id": row_id,
                    "run_id": self.run_id,
                    "line": patient.line,
                    "institution_id": self.institution_id,
                    "id_type": patient.number.id_type,
                    "number": self._sealed("patient_review", row_id, patient.number.number),
                    "name": self.secrets.sealer.seal(patient.name, f"patient_review.name:{row_id}"),
                    "card_serial": serial,
                    "reason": why,
                    "created_at": self.now,
                }
            )
        if rows:
            self.session.execute(insert(PatientReviewRow), rows)

    def _keep_faults(self, faults: Mapping[int, tuple[str, str]]) -> None:
        rows = [{"run_id": self.run_id, "line": line, "field": field, "code": code}
                for line, (field, code) in faults.items()]  # fmt: skip
        if rows:
            self.session.execute(insert(PatientFaultRow), rows)

    def _sealed(self, table: str, row_id: UUID, number: str) -> bytes:
        return self.secrets.sealer.seal(number, number_place(table, row_id))


def write_faults(place: Place, run_id: UUID, path: Path) -> None:
    """Write `line,column,code,reason_zh,reason_en` for every row that could not be read, in a file for its owner alone."""
    with (
        place.patient_work() as session,
        os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8-sig", newline=""
        ) as out,
    ):
        rows = csv.writer(out)
        rows.writerow(("line", "column", "code", "reason_zh", "reason_en"))
        mine = select(PatientFaultRow).where(PatientFaultRow.run_id == run_id).order_by(PatientFaultRow.line)
        for fault in session.scalars(mine.execution_options(yield_per=1000)):
            rows.writerow((fault.line, fault.field, fault.code, *FAULTS[fault.code]))


def _read(
    rows: Iterable[Record], width: int, cells_of: Any, secrets: Secrets, institution_id: UUID, *, today: date
) -> tuple[list[_Patient], dict[int, tuple[str, str]]]:
    patients: list[_Patient] = []
    faults: dict[int, tuple[str, str]] = {}
    for line, cells, fault in rows:
        if cells is None or len(cells) != width:
            faults[line] = ("", fault or "columns")
            continue
        number, id_type, name, document_type, document_number = (cell.strip() for cell in cells_of([*cells, ""]))
        if wrong := _fault(number, id_type):
            faults[line] = wrong
            continue
        try:
            field = "name"
            normal = normal_name(name)
            field = "id_number"
            document = read_document(document_type, document_number, today=today)
        except InvalidValue:
            faults[line] = (field, "name" if field == "name" else "document")
            continue
        theirs = PatientNumber(id_type, number)
        index = theirs.index(institution_id, secrets.blind_index)
        found_by = residents.number_index(secrets.blind_index, document)
        patients.append(_Patient(line, theirs, normal, document, index, found_by))
    return patients, faults


def _fault(number: str, id_type: str) -> tuple[str, str] | None:
    if not _NUMBER.fullmatch(number):
        return ("patient_id", "patient-id")
    return ("patient_id_type", "patient-id-type") if id_type not in ID_TYPES else None
