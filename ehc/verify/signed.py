"""Settling signed dynamic codes: one SQL statement for a batch of scans.

It reads the state of the card and of the key now, spends each code once (the primary key of `code_use` decides, whoever else
tries at the same moment), writes the verifications, and reads what may be disclosed.
"""

from collections.abc import Hashable

from ehc.verify.reasons import Reason
from ehc.verify.scans import Scan
from ehc.verify.statements import (
    AGAIN,
    CARD_STATE,
    HELD,
    HOLDER,
    HOLDER_JOINS,
    OF_WORLD,
    SAME_SCAN,
    TOLD,
    VISIT,
    WRITE,
    WRITTEN,
)

_SAME = f"""spent.client_id = seen.client_id AND spent.step = seen.step
                    AND seen.at < spent.used_at + {SAME_SCAN}"""
# A terminal that reads twice says the same step: what was registered with is not paid with.

# Rows are spent in the order of their key, so that two workers with overlapping batches cannot deadlock. DO UPDATE, not
# DO NOTHING: it waits for and then returns the row of whoever was first, also one that is newer than our snapshot.
# `issued_at` is in whole seconds, rounded down: at most `codes_since` is certainly every code that was issued before it, and
# wrongly those of the rest of that second, which a phone has replaced within the next.
SETTLE = f"""
WITH scan AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s::json) AS t (
        {VISIT}, serial bigint, cti bytea,
        issued_at timestamptz, expires_at timestamptz, key_id bytea)
), seen AS MATERIALIZED (
    SELECT scan.*, {HOLDER},
           CASE WHEN scan.refused IS NOT NULL THEN scan.refused
                WHEN signing_key.id IS NULL THEN '{Reason.UNKNOWN_KEY}'
                {CARD_STATE}
                WHEN scan.issued_at <= card.codes_since THEN '{Reason.EXPIRED}'
           END AS refusal
    FROM scan
    LEFT JOIN card ON card.serial = scan.serial AND {OF_WORLD}
    {HOLDER_JOINS}
    LEFT JOIN signing_key ON signing_key.id = scan.key_id AND signing_key.revoked_at IS NULL
), spent AS (
    INSERT INTO code_use AS held (card_serial, cti, verification_id, client_id, step, used_at, expires_at)
    SELECT serial, cti, id, client_id, step, at, expires_at FROM seen WHERE refusal IS NULL ORDER BY serial, cti
    ON CONFLICT (card_serial, cti) DO UPDATE SET verification_id = held.verification_id
    RETURNING held.card_serial, held.cti, held.verification_id, held.client_id, held.step, held.used_at
), settled AS (
    SELECT seen.*, {TOLD} AS told,
           spent.verification_id AS first_id, spent.used_at AS first_at, spent.step AS first_step,
           spent.verification_id IS NOT NULL AND spent.verification_id <> seen.id
               AND {_SAME} AS again,
           CASE WHEN seen.refusal IS NOT NULL THEN seen.refusal
                WHEN spent.verification_id = seen.id THEN NULL
                WHEN {_SAME} THEN NULL
                ELSE '{Reason.ALREADY_USED}'
           END AS reason
    FROM seen LEFT JOIN spent ON spent.card_serial = seen.serial AND spent.cti = seen.cti AND seen.refusal IS NULL
), written AS (
    {WRITE}, key_id)
    SELECT {WRITTEN}, key_id
    FROM settled WHERE NOT again
)
SELECT {AGAIN}, {HELD}
FROM settled ORDER BY position
"""  # noqa: S608 - only names and numbers of ours are put in


def code_of(scan: Scan) -> Hashable:
    """What two scans of one batch must not share: the code, for those that would spend one."""
    return scan.cti if scan.refused is None else scan.visit.id
