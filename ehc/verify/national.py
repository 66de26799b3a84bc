"""Settling national dynamic codes: one SQL statement for a batch of scans.

A text counts because the platform remembers having issued it to that very card (national rules 2, measure A), has uses left
(F), and the card is active now (H): what the text says of itself binds nothing to anything. The statement locks the rows of
the codes, which makes it see the uses of whoever was first even if they are newer than its snapshot, counts one more use,
and writes the verifications.
"""

from collections.abc import Hashable, Mapping
from datetime import datetime, timedelta

from ehc.codes.national import GRACE_SECONDS, JITTER_SECONDS, NotAValidity, read_validity
from ehc.codes.signed import SKEW_SECONDS
from ehc.verify.models import NO_CARD
from ehc.verify.reasons import Reason
from ehc.verify.scans import NationalScan
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

SUPERSEDED = f"""EXISTS (
                    SELECT FROM national_code AS newer
                    WHERE newer.card_serial = code.card_serial AND newer.seq > code.seq
                          AND newer.issued_at < scan.at - interval '{GRACE_SECONDS} seconds'
                )"""
"""A later code of the card closes an earlier one after a moment (measure F)."""


def untimely(validity: bytes, protection_keys: Mapping[int, bytes], *, now: datetime, life: int) -> Reason | None:
    """What is wrong with a validity field of 16 bytes, by our clock, for codes that live `life` seconds (measure E).

    No skew after the expiry: it is our clock that wrote it. A time that we cannot have written yet is `not-issued`.
    """
    until = _opened(validity, protection_keys)
    if until is None:
        return Reason.MALFORMED
    if now > until:
        return Reason.EXPIRED
    return Reason.NOT_ISSUED if until > now + timedelta(seconds=life + JITTER_SECONDS + SKEW_SECONDS) else None


def _opened(validity: bytes, protection_keys: Mapping[int, bytes]) -> datetime | None:
    for _, key in sorted(protection_keys.items(), reverse=True):  # the newest first: nearly all codes are its
        try:
            return read_validity(key, validity)
        except NotAValidity:
            continue
    return None


# Codes are locked in the order of their key, so that two workers with overlapping batches cannot deadlock.
SETTLE = f"""
WITH scan AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s::json) AS t (
        {VISIT}, text_index bytea, ehc_id_index bytea)
), seen AS MATERIALIZED (
    SELECT scan.*, coalesce(card.serial, alias.card_serial, {NO_CARD}) AS serial, {HOLDER},
           CASE WHEN scan.refused IS NOT NULL THEN scan.refused
                WHEN card.serial IS NULL AND alias.card_serial IS NOT NULL THEN '{Reason.CARD_CANCELLED}'
                WHEN code.text_index IS NULL THEN '{Reason.NOT_ISSUED}'
                {CARD_STATE}
                WHEN code.issued_at <= card.codes_since OR code.expires_at < scan.at THEN '{Reason.EXPIRED}'
                WHEN {SUPERSEDED} THEN '{Reason.EXPIRED}'
           END AS refusal
    FROM scan
    LEFT JOIN card ON card.ehc_id_index = scan.ehc_id_index AND {OF_WORLD}
    LEFT JOIN national_code AS code ON code.text_index = scan.text_index AND code.card_serial = card.serial
    LEFT JOIN LATERAL (
        SELECT card_serial FROM card_alias WHERE card_alias.ehc_id_index = scan.ehc_id_index
        ORDER BY closed_at DESC LIMIT 1
    ) AS alias ON card.serial IS NULL
    {HOLDER_JOINS}
), held AS MATERIALIZED (
    SELECT code.* FROM national_code AS code
    WHERE code.text_index IN (SELECT text_index FROM seen WHERE refusal IS NULL)
    ORDER BY code.text_index FOR NO KEY UPDATE
), counted AS (
    SELECT seen.*, held.uses, held.max_uses,
           held.last_use_id AS first_id, held.last_use_at AS first_at, held.last_use_step AS first_step,
           coalesce(held.last_use_client = seen.client_id AND held.last_use_step = seen.step
                    AND seen.at < held.last_use_at + {SAME_SCAN}, false) AS again
    FROM seen LEFT JOIN held ON held.text_index = seen.text_index AND seen.refusal IS NULL
), settled AS MATERIALIZED (
    SELECT counted.*, {TOLD} AS told,
           CASE WHEN refusal IS NOT NULL THEN refusal
                WHEN again THEN NULL
                WHEN uses < CASE step WHEN 'payment' THEN 1 ELSE max_uses END THEN NULL
                ELSE '{Reason.ALREADY_USED}'
           END AS reason
    FROM counted
), spent AS (
    UPDATE national_code AS code
    SET uses = CASE settled.step WHEN 'payment' THEN code.max_uses ELSE code.uses + 1 END,
        last_use_id = settled.id, last_use_at = settled.at, last_use_client = settled.client_id,
        last_use_step = settled.step
    FROM settled WHERE code.text_index = settled.text_index AND settled.reason IS NULL AND NOT settled.again
), written AS (
    {WRITE})
    SELECT {WRITTEN}
    FROM settled WHERE NOT again
)
SELECT {AGAIN}, {HELD}
FROM settled ORDER BY position
"""  # noqa: S608 - only names and numbers of ours are put in


def code_of(scan: NationalScan) -> Hashable:
    """What two scans of one batch must not share: the code, for those that would use one."""
    return scan.text_index if scan.refused is None else scan.visit.id
