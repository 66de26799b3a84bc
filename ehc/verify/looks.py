"""Looking at a national dynamic code without using it up: for interfaces that read a card by its code before they check it.

What is told is told by the same rules, and stands in the same journal, under the step `other`. The code is as good afterwards
as before, unless it has no uses left: then it is refused as a check would.
"""

from sqlalchemy.orm import Session

from ehc.line import as_json
from ehc.verify.national import SUPERSEDED
from ehc.verify.reasons import Reason
from ehc.verify.scans import NationalScan, Settled
from ehc.verify.statements import CARD_STATE, HELD, HOLDER, HOLDER_JOINS, OF_WORLD, TOLD, VISIT, WRITE, WRITTEN, settled

_LOOK = f"""
WITH scan AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s::json) AS t ({VISIT}, text_index bytea, ehc_id_index bytea)
), seen AS MATERIALIZED (
    SELECT scan.*, card.serial, {HOLDER},
           CASE WHEN scan.refused IS NOT NULL THEN scan.refused
                WHEN code.text_index IS NULL THEN '{Reason.NOT_ISSUED}'
                {CARD_STATE}
                WHEN code.issued_at <= card.codes_since OR code.expires_at < scan.at THEN '{Reason.EXPIRED}'
                WHEN {SUPERSEDED} THEN '{Reason.EXPIRED}'
                WHEN code.uses >= code.max_uses THEN '{Reason.ALREADY_USED}'
           END AS reason
    FROM scan
    LEFT JOIN card ON card.ehc_id_index = scan.ehc_id_index AND {OF_WORLD}
    LEFT JOIN national_code AS code ON code.text_index = scan.text_index AND code.card_serial = card.serial
    {HOLDER_JOINS}
), settled AS MATERIALIZED (
    SELECT seen.*, {TOLD} AS told FROM seen
), written AS (
    {WRITE})
    SELECT {WRITTEN} FROM settled WHERE serial IS NOT NULL
)
SELECT id, at, step, reason, told, {HELD} FROM settled
"""  # noqa: S608 - only names and numbers of ours are put in


def look(session: Session, scan: NationalScan) -> Settled:
    """What a check would tell, recorded, within a transaction; never commits."""
    return settled(session.connection().exec_driver_sql(_LOOK, (as_json([scan]),)).one())
