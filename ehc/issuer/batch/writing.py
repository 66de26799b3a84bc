"""A piece written: people, cards, what was wrong, the audit row and the piece's own row, in one transaction.

Who is known already is asked first, and their cards are locked while they gain the grant; the others go in by COPY. Both
in one order, serials and documents' blind indexes, so that two workers cannot deadlock; the chains of the audit log come
last, in theirs. Where somebody else registers one of the new people in between, the unique index refuses the COPY: the
transaction is rolled back and the piece done again, and now that person is known.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
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
from ehc.audit.writing import Act, record_all
from ehc.cards.states import CardStatus, Party
from ehc.clock import Clock, local_day
from ehc.db import UnitOfWork
from ehc.files.pieces import Piece, records
from ehc.issuer.batch.options import Options
from ehc.issuer.batch.preparing import APP_LEVELS, LEVELS, Fault, prepare
from ehc.issuer.batch.sealing import TABLES, Frame, Marked, mark, seal
from ehc.issuer.batch.standing import CANCELLED, Cursor, Standing, seen, standings, taken
from ehc.issuer.registry import Registry

_ATTEMPTS = 20

_SERIALS = "SELECT nextval(pg_get_serial_sequence('card', 'serial')) FROM generate_series(1, %s)"
# As `cards.store.grant`, for many; a card that was cancelled since it was looked at is locked out, and none can be
# cancelled until this is committed.
_GRANT = """
    WITH open AS MATERIALIZED (
        SELECT serial, id FROM card WHERE serial = ANY(%(serials)b::bigint[]) AND status <> 'cancelled'
        ORDER BY serial FOR SHARE
    ), granted AS (
        INSERT INTO card_grant AS known (card_serial, client_id, created_at)
        SELECT serial, %(client)s, %(now)s FROM open
        ON CONFLICT (card_serial, client_id) DO UPDATE SET link_id = NULL, until = NULL, closed_at = NULL
        WHERE known.closed_at IS NOT NULL OR known.until <= %(now)s OR known.link_id IS NOT NULL
        RETURNING card_serial
    )
    SELECT serial, id, card_serial IS NOT NULL FROM open LEFT JOIN granted ON card_serial = serial
"""


class Counts(NamedTuple):
    """What became of rows. `known` people were there already; they only gain the grant."""

    rows: int = 0
    made: int = 0
    known: int = 0
    bad: int = 0


@dataclass
class _Outcome:
    """The rows of a piece, sorted: who is new, who is known, by the serial of their card, what is refused.

    `again` are rows of people whose first row is in this piece too. `granted` are the cards that the app sees now.
    """

    new: list[Marked] = field(default_factory=list)
    again: int = 0
    known: dict[int, list[Marked]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    granted: list[str] = field(default_factory=list)

    def counts(self, rows: int) -> Counts:
        """What became of the rows."""
        known = self.again + sum(map(len, self.known.values()))
        return Counts(rows, len(self.new), known, len({fault.line for fault in self.faults}))


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
        prepared = prepare(
            rows,
            header=self.options.header,
            level=self.options.level,
            today=local_day(now),
            levels=APP_LEVELS if self.options.of_app else LEVELS,
        )
        people = mark(prepared.applicants, self.registry.secrets)
        people.sort(key=_order)
        for attempt in range(_ATTEMPTS):
            try:
                with self.work() as session:
                    if not self._claim(session, piece, now):
                        return self._told(session, piece)
                    outcome = self._settle(session, people, careful=attempt > 0)
                    outcome.faults += prepared.faults
                    if not self.options.dry_run and self.options.client_id is not None:
                        self._grant(session, outcome, self.options.client_id, now)
                    counts = outcome.counts(prepared.rows)
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
            INSERT INTO import_piece (run_id, number, first_line, size, digest, rows, made, known, bad, done_at)
            VALUES (:run, :number, :line, :size, :digest, 0, 0, 0, 0, :now) ON CONFLICT DO NOTHING RETURNING 1
        """)
        values = {"run": self.run_id, "number": piece.number, "line": piece.first_line, "now": now}
        values |= {"size": len(piece.data), "digest": piece.digest}
        return session.execute(claim, values).first() is not None

    def _told(self, session: Session, piece: Piece) -> Counts:
        asked = text("SELECT rows, made, known, bad FROM import_piece WHERE run_id = :run AND number = :number")
        return Counts(*session.execute(asked, {"run": self.run_id, "number": piece.number}).one())

    def _settle(self, session: Session, people: Sequence[Marked], *, careful: bool) -> _Outcome:
        """Each row against who is known, and against the rows before it. `people` by document, then by line.

        `careful` after a COPY that was refused: looks at the ids of cards too, and before at people: whoever is
        registered between the two questions is then known.
        """
        cursor = _cursor(session)
        standing: dict[bytes, Standing] = {}
        if careful or self.options.dry_run:
            standing = taken(cursor, _strangers(people, ()), self.registry.secrets)
        standing |= standings(cursor, people, self.registry.secrets)
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
            elif known.serial is None:
                outcome.again += 1
            else:
                outcome.known.setdefault(known.serial, []).append(person)
        return outcome

    def _grant(self, session: Session, outcome: _Outcome, client_id: UUID, now: datetime) -> None:
        """Let the app see the cards of known people. A card cancelled meanwhile makes its rows bad."""
        if not outcome.known:
            return
        values = {"client": client_id, "serials": sorted(outcome.known), "now": now}
        still = {}
        for serial, card_id, changed in _cursor(session).execute(_GRANT, values):
            still[serial] = outcome.known.pop(serial)
            if changed:
                outcome.granted.append(str(card_id))
        gone, outcome.known = outcome.known, still
        outcome.faults += [Fault(who.applicant.line, 0, *CANCELLED) for people in gone.values() for who in people]

    def _write(self, session: Session, piece: Piece, outcome: _Outcome, counts: Counts, now: datetime) -> None:
        cursor = _cursor(session)
        _copy_faults(cursor, self.run_id, outcome.faults)
        if not self.options.dry_run:
            card_ids = self._make(cursor, outcome.new, now)
        values = counts._asdict() | {"run": self.run_id, "number": piece.number, "now": self.clock.now()}
        session.execute(
            text("""
                UPDATE import_piece SET rows = :rows, made = :made, known = :known, bad = :bad, done_at = :now
                WHERE run_id = :run AND number = :number
            """),
            values,
        )
        if not self.options.dry_run:  # last, since it locks chains of the audit log that all pieces of a run share
            facts = counts._asdict() | {"piece": piece.number, "cards": sha256(b"".join(card_ids)).hexdigest()}
            self._record(session, outcome.granted, facts, now)

    def _record(self, session: Session, granted: Sequence[str], facts: Mapping[str, object], now: datetime) -> None:
        actor, subject = self.options.actor, str(self.run_id)
        if not granted:
            audit.record(session, "cards.imported", actor=actor, subject=subject, at=now, facts=facts)
            return
        told = {"client_id": str(self.options.client_id)}
        acts = [Act("card.granted", card_id, told) for card_id in granted]
        record_all(session, [*acts, Act("cards.imported", subject, facts)], actor=actor, at=now)

    def _make(self, cursor: Cursor, new: Sequence[Marked], now: datetime) -> list[bytes]:
        if not new:
            return []
        serials = [row[0] for row in cursor.execute(_SERIALS, (len(new),))]
        sealed = seal(new, serials, self._frame(now))
        for table, data in sealed.copies.items():
            with cursor.copy(f"COPY {table} ({TABLES[table]}) FROM STDIN (FORMAT BINARY)") as copy:
                copy.write(data)
        return sealed.card_ids

    def _frame(self, now: datetime) -> Frame:
        """An app's word is worth no more here than in `issuer.proofs.weigh`: where there is an authority, it decides."""
        asking = self.options.of_app and self.registry.authority is not None
        first = {level: CardStatus.PENDING_REVIEW if asking else self.registry.first_status(level) for level in LEVELS}
        return Frame(
            secrets=self.registry.secrets,
            now=now,
            actor=self.options.actor,
            first_status=first,
            client_id=self.options.client_id,
            party=Party.RESIDENT if self.options.of_app else Party.STAFF,
            asking=asking,
        )


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
