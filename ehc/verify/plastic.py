"""Settling a plastic card (实体卡) that a terminal read: one SQL statement, under the rules of any other check.

The card leads to the account it is bound to, and the check is recorded as any other; its assurance says that a plastic card
was shown, which can be lent. The state of the plastic card is read as it is now: a temporary loss that has run out is over.
"""

from sqlalchemy.orm import Session

from ehc.line import as_json
from ehc.verify.models import NO_CARD
from ehc.verify.reasons import Reason
from ehc.verify.scans import Assurance, Holder, PlasticScan, Settled, StandingKind
from ehc.verify.statements import CARD_STATE, HELD, HOLDER, HOLDER_JOINS, TOLD, VISIT, WRITE, WRITTEN, fields

# Of several rows of one number the one that counts: that it was somebody's before is history.
PRESENT = """SELECT card_serial, state, until FROM plastic_card
        WHERE plastic_card.number_index = scan.number_index
        ORDER BY state IN ('active', 'loss-temporary', 'lost', 'replaced') DESC, bound_at DESC LIMIT 1"""

_SETTLE = f"""
WITH scan AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s::json) AS t ({VISIT}, number_index bytea, document_seen bool)
), seen AS MATERIALIZED (
    SELECT scan.*, coalesce(card.serial, {NO_CARD}) AS serial, {HOLDER},
           CASE WHEN plastic.state IS NULL THEN '{Reason.NOT_ISSUED}'
                WHEN plastic.state IN ('replaced', 'cancelled') THEN '{Reason.CARD_CANCELLED}'
                WHEN plastic.state = 'lost' OR plastic.until > scan.at THEN '{Reason.CARD_SUSPENDED}'
                {CARD_STATE}
           END AS reason
    FROM scan
    LEFT JOIN LATERAL ({PRESENT}) AS plastic ON plastic.state <> 'unbound'
    LEFT JOIN card ON card.serial = plastic.card_serial
    {HOLDER_JOINS}
), settled AS MATERIALIZED (
    SELECT seen.*, {TOLD} AS told,
           CASE WHEN document_seen THEN '{Assurance.PLASTIC_CONFIRMED}' ELSE '{Assurance.PLASTIC}' END AS assurance
    FROM seen
), written AS (
    {WRITE}, assurance)
    SELECT {WRITTEN}, assurance FROM settled
)
SELECT id, at, step, reason, told, assurance, {HELD} FROM settled
"""  # noqa: S608 - only names of ours are put in


def settle(session: Session, scan: PlasticScan) -> Settled:
    """Settle a scan within a transaction; never commits."""
    row = session.connection().exec_driver_sql(_SETTLE, (as_json([scan]),)).one()
    assurance, kind = Assurance(row[5]), StandingKind.PLASTIC
    if row[3]:
        return Settled(row[0], row[1], row[2], Reason(row[3]), assurance, code=kind)
    return Settled(row[0], row[1], row[2], None, assurance, Holder(*row[6:]), fields(row[4]), kind)
