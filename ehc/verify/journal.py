"""The journal of checks: one SQL statement settles a batch of scans, and its commit is what makes an answer true.

The statement reads the state of the card and of the key now, spends each code once (the primary key of `code_use` decides,
whoever else tries at the same moment), writes the verifications, and reads what may be disclosed. Scans that arrive
together share it (`ehc/grouping.py`). Redis has no part in it; with PostgreSQL away it raises, and nothing is accepted.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Engine

from ehc.grouping import Grouped
from ehc.line import Line, as_json
from ehc.verify.models import NO_CARD
from ehc.verify.reasons import Reason

SAME_SCAN = timedelta(seconds=10)
"""Scanners read twice: the terminal that spent a code gets the same verification again within this time."""


class Scan(NamedTuple):
    """One presentation, with everything about it that was decided before the database is asked."""

    id: UUID
    at: datetime
    client_id: UUID
    institution_id: UUID | None
    step: str
    channel: str | None
    department: str | None
    operator: bytes | None
    request_id: str | None
    disclosed: tuple[str, ...]
    refused: Reason | None = None
    serial: int = NO_CARD
    cti: bytes = b""
    expires_at: datetime | None = None
    key_id: bytes | None = None


class Settled(NamedTuple):
    """What the database decided. For a repeated scan, `id`, `at` and `step` are those of the first one.

    `card_id` and what follows it are None unless the code was accepted.
    """

    id: UUID
    at: datetime
    step: str
    reason: Reason | None
    card_id: UUID | None
    level: str | None
    resident_id: UUID | None
    name: bytes | None
    sex: str | None
    birth_date: date | None


# Rows are spent in the order of their key, so that two workers with overlapping batches cannot deadlock. DO UPDATE, not
# DO NOTHING: it waits for and then returns the row of whoever was first, also one that is newer than our snapshot.
_SETTLE = f"""
WITH scan AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s::json) AS t (
        position int, id uuid, at timestamptz, client_id uuid, institution_id uuid, step text, channel text,
        department text, operator bytea, request_id text, disclosed text[], refused text, serial bigint, cti bytea,
        expires_at timestamptz, key_id bytea)
), seen AS MATERIALIZED (
    SELECT scan.*, card.id AS card_id, card.level, resident.id AS resident_id, resident.name, resident.sex,
           resident.birth_date,
           CASE WHEN scan.refused IS NOT NULL THEN scan.refused
                WHEN signing_key.id IS NULL THEN '{Reason.UNKNOWN_KEY}'
                WHEN card.status IS NULL THEN '{Reason.NOT_ISSUED}'
                WHEN card.status = 'suspended' THEN '{Reason.CARD_SUSPENDED}'
                WHEN card.status = 'cancelled' THEN '{Reason.CARD_CANCELLED}'
                WHEN card.status <> 'active' THEN '{Reason.CARD_NOT_ACTIVE}'
           END AS refusal
    FROM scan
    LEFT JOIN card ON card.serial = scan.serial
    LEFT JOIN resident ON resident.id = card.resident_id
    LEFT JOIN signing_key ON signing_key.id = scan.key_id AND signing_key.revoked_at IS NULL
), spent AS (
    INSERT INTO code_use AS held (card_serial, cti, verification_id, client_id, step, used_at, expires_at)
    SELECT serial, cti, id, client_id, step, at, expires_at FROM seen WHERE refusal IS NULL ORDER BY serial, cti
    ON CONFLICT (card_serial, cti) DO UPDATE SET verification_id = held.verification_id
    RETURNING held.card_serial, held.cti, held.verification_id, held.client_id, held.step, held.used_at
), settled AS (
    SELECT seen.*, spent.verification_id AS first_id, spent.used_at AS first_at, spent.step AS first_step,
           spent.verification_id IS NOT NULL AND spent.verification_id <> seen.id
               AND spent.client_id = seen.client_id
               AND seen.at < spent.used_at + interval '{SAME_SCAN.total_seconds()} seconds' AS again,
           CASE WHEN seen.refusal IS NOT NULL THEN seen.refusal
                WHEN spent.verification_id = seen.id THEN NULL
                WHEN spent.client_id = seen.client_id
                     AND seen.at < spent.used_at + interval '{SAME_SCAN.total_seconds()} seconds' THEN NULL
                ELSE '{Reason.ALREADY_USED}'
           END AS reason
    FROM seen LEFT JOIN spent ON spent.card_serial = seen.serial AND spent.cti = seen.cti AND seen.refusal IS NULL
), written AS (
    INSERT INTO verification (card_serial, verified_at, id, reason, client_id, institution_id, step, channel,
                              department, operator, request_id, disclosed, key_id)
    SELECT serial, at, id, reason, client_id, institution_id, step, channel, department, operator, request_id,
           CASE WHEN reason IS NULL THEN disclosed ELSE '{{}}' END, key_id
    FROM settled WHERE NOT again
)
SELECT CASE WHEN again THEN first_id ELSE id END, CASE WHEN again THEN first_at ELSE at END,
       CASE WHEN again THEN first_step ELSE step END, reason,
       CASE WHEN reason IS NULL THEN card_id END, CASE WHEN reason IS NULL THEN level END,
       CASE WHEN reason IS NULL THEN resident_id END, CASE WHEN reason IS NULL THEN name END,
       CASE WHEN reason IS NULL THEN sex END, CASE WHEN reason IS NULL THEN birth_date END
FROM settled ORDER BY position
"""  # noqa: S608 - only the names of reasons and a number of ours are put in


def settle(connection: Connection, scans: list[Scan]) -> list[Settled]:
    """Settle scans within a transaction; never commits. No two of them may present the same code."""
    return _settled(connection.exec_driver_sql(_SETTLE, (as_json(scans),)))


def _settled(rows: Iterable[Sequence[Any]]) -> list[Settled]:
    return [Settled(row[0], row[1], row[2], Reason(row[3]) if row[3] else None, *row[4:]) for row in rows]


class Journal:
    """Settles the scans of one worker, many at a time, each answered after its commit."""

    def __init__(self, engine: Engine) -> None:
        self._line = Line(engine)
        self._group = Grouped(self._flush, distinct=_code)

    def settle(self, scan: Scan) -> Settled:
        """Settle one scan, durably. Raises `Unavailable` when the database is away."""
        return self._group.submit(scan)

    def _flush(self, scans: list[Scan]) -> list[Settled]:
        return _settled(self._line.run(_SETTLE, scans))


def _code(scan: Scan) -> bytes | UUID:
    """What two scans of one batch must not share: the code, for those that would spend one."""
    return scan.cti if scan.refused is None else scan.id
