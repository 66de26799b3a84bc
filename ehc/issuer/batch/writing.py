"""A piece written: people, cards, what was wrong, the audit row and the piece's own row, in one transaction.

Who is known already is asked first; the others go in by COPY, in the order of their document's blind index, so that two
workers cannot deadlock. Where somebody else registers one of them in between, the unique index refuses the COPY: the
transaction is rolled back and the piece done again, and now that person is known.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

import psycopg
from psycopg.errors import DeadlockDetected, LockNotAvailable, UniqueViolation
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from ehc import audit
from ehc.clock import Clock, local_day
from ehc.db import UnitOfWork
from ehc.issuer.batch.options import Options
from ehc.issuer.batch.preparing import LEVELS, Fault, prepare
from ehc.issuer.batch.reading import Piece, records
from ehc.issuer.batch.sealing import TABLES, Frame, Marked, mark, seal
from ehc.issuer.batch.standing import Cursor, Standing, seen, standings, taken
from ehc.issuer.registry import Registry

_ATTEMPTS = 20

_SERIALS = "SELECT nextval(pg_get_serial_sequence('card', 'serial')) FROM generate_series(1, %s)"
# The audit log has one row for a piece: who gained sight of a known person's card is told by the card's own event.
_GRANT = """
    WITH granted AS (
        INSERT INTO card_grant (card_serial, client_id, created_at)
        SELECT serial, %(client)s, %(now)s FROM unnest(%(serials)b::bigint[]) AS serial
        ON CONFLICT DO NOTHING RETURNING card_serial
    )
    INSERT INTO card_event (id, card_serial, action, old_status, new_status, level, party, actor, at)
    SELECT gen_random_uuid(), serial, 'granted', status, status, level, 'staff', %(actor)s, %(now)s
    FROM granted JOIN card ON serial = card_serial
"""


class Counts(NamedTuple):
    """What became of rows. `known` people were there already; they only gain the grant."""

    rows: int = 0
    made: int = 0
    known: int = 0
    bad: int = 0


@dataclass
class _Outcome:
    """The rows of a piece, sorted: who is new, whose card gains a grant, what is refused."""

    new: list[Marked] = field(default_factory=list)
    known: int = 0
    serials: set[int] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True)
class Writer:
    """Writes the pieces of one run."""

    work: UnitOfWork
    registry: Registry
    clock: Clock
    run_id: UUID
    options: Options

    def write(self, piece: Piece) -> Counts:
        """What became of the piece's rows, now or at an earlier time: a piece that was written is not written again.

        Raises what the database raises; then nothing of the piece was written.
        """
        now = self.clock.now()
        rows = records(piece.data, first_line=piece.first_line, encoding=self.options.encoding)
        prepared = prepare(rows, header=self.options.header, level=self.options.level, today=local_day(now))
        people = mark(prepared.applicants, self.registry.secrets)
        people.sort(key=_order)
        for attempt in range(_ATTEMPTS):
            try:
                with self.work() as session:
                    if not self._claim(session, piece, now):
                        return self._told(session, piece)
                    outcome = self._settle(session, people, careful=attempt > 0)
                    outcome.faults += prepared.faults
                    bad = len({fault.line for fault in outcome.faults})
                    counts = Counts(prepared.rows, len(outcome.new), outcome.known, bad)
                    self._write(session, piece, outcome, counts, now)
            except (psycopg.Error, DBAPIError) as error:
                if attempt + 1 == _ATTEMPTS or not _lost_a_race(error):
                    raise
            else:
                return counts
        raise AssertionError("the last attempt returns or raises")

    def _claim(self, session: Session, piece: Piece, now: datetime) -> bool:
        """Whether the piece is ours to write. Waits for another worker that has it in hand."""
        claim = text("""
            INSERT INTO import_piece (run_id, number, first_line, rows, made, known, bad, done_at)
            VALUES (:run, :number, :line, 0, 0, 0, 0, :now) ON CONFLICT DO NOTHING RETURNING 1
        """)
        values = {"run": self.run_id, "number": piece.number, "line": piece.first_line, "now": now}
        return session.execute(claim, values).first() is not None

    def _told(self, session: Session, piece: Piece) -> Counts:
        asked = text("SELECT rows, made, known, bad FROM import_piece WHERE run_id = :run AND number = :number")
        return Counts(*session.execute(asked, {"run": self.run_id, "number": piece.number}).one())

    def _settle(self, session: Session, people: Sequence[Marked], *, careful: bool) -> _Outcome:
        """Each row against who is known, and against the rows before it. `people` by document, then by line.

        `careful` after a COPY that was refused: looks at the ids of cards too.
        """
        cursor = _cursor(session)
        standing = dict(standings(cursor, people, self.registry.secrets))
        if careful:
            standing |= taken(cursor, _strangers(people, standing), self.registry.secrets)
        if self.options.dry_run:
            standing |= seen(cursor, _strangers(people, standing), self.run_id)
        outcome = _Outcome()
        for person in people:
            known = standing.get(person.number_index)
            if known is None:
                outcome.new.append(person)
                standing[person.number_index] = Standing(frozenset({person.index_id_index}))
            elif fault := known.fault(person):
                outcome.faults.append(Fault(person.applicant.line, 0, *fault))
            else:
                outcome.known += 1
                if known.serial is not None:
                    outcome.serials.add(known.serial)
        return outcome

    def _write(self, session: Session, piece: Piece, outcome: _Outcome, counts: Counts, now: datetime) -> None:
        cursor = _cursor(session)
        _copy_faults(cursor, self.run_id, outcome.faults)
        if not self.options.dry_run:
            card_ids = self._make(cursor, outcome.new, now)
            if self.options.client_id is not None:
                told = {"client": self.options.client_id, "actor": self.options.actor, "now": now}
                cursor.execute(_GRANT, told | {"serials": sorted(outcome.serials)})
        values = counts._asdict() | {"run": self.run_id, "number": piece.number, "now": self.clock.now()}
        session.execute(
            text("""
                UPDATE import_piece SET rows = :rows, made = :made, known = :known, bad = :bad, done_at = :now
                WHERE run_id = :run AND number = :number
            """),
            values,
        )
        if not self.options.dry_run:  # last, since it locks a chain of the audit log that all pieces of a run share
            facts = counts._asdict() | {"piece": piece.number, "cards": sha256(b"".join(card_ids)).hexdigest()}
            subject = str(self.run_id)
            audit.record(session, "cards.imported", actor=self.options.actor, subject=subject, at=now, facts=facts)

    def _make(self, cursor: Cursor, new: Sequence[Marked], now: datetime) -> list[bytes]:
        if not new:
            return []
        serials = [row[0] for row in cursor.execute(_SERIALS, (len(new),))]
        first_status = {level: self.registry.first_status(level) for level in LEVELS}
        frame = Frame(self.registry.secrets, now, self.options.actor, first_status, self.options.client_id)
        sealed = seal(new, serials, frame)
        for table, data in sealed.copies.items():
            with cursor.copy(f"COPY {table} ({TABLES[table]}) FROM STDIN (FORMAT BINARY)") as copy:
                copy.write(data)
        return sealed.card_ids


def _order(person: Marked) -> tuple[bytes, int]:
    return person.number_index, person.applicant.line


def _strangers(people: Sequence[Marked], standing: Container[bytes]) -> list[Marked]:
    """The first row of each person of whom nothing is known, in the order of `people`."""
    first = {person.number_index: person for person in reversed(people) if person.number_index not in standing}
    return list(reversed(first.values()))


def _cursor(session: Session) -> Cursor:
    """psycopg's own cursor in the session's transaction, since only it speaks COPY."""
    connection = session.connection().connection.driver_connection
    if not isinstance(connection, psycopg.Connection):
        raise TypeError("the engine does not speak psycopg")
    return connection.cursor()


def _copy_faults(cursor: Cursor, run_id: UUID, faults: Iterable[Fault]) -> None:
    with cursor.copy("COPY import_error (run_id, line, position, field, code) FROM STDIN") as copy:
        for fault in faults:
            copy.write_row((run_id, *fault))


def _lost_a_race(error: Exception) -> bool:
    """Whether another writer was first, or a lock came too late: the piece can be done again."""
    return isinstance(getattr(error, "orig", error), UniqueViolation | DeadlockDetected | LockNotAvailable)
