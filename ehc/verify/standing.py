"""Settling codes that stay as they are: printed, national static and temporary ones, and plastic cards that a terminal read.

Not the hot path: one scan at a time.

A static code is a bearer token for years (national rules 2). So it counts only where the card and the institution allow it,
never for payment, and tells a masked name; a second factor makes it tell as much as a dynamic code. The last digits of a phone
are few, so wrong ones are counted for the code, not for the terminal that tried: five lock digits out for a day, from wherever
they came, and twenty in all until a document was seen, or the code printed anew. They lock nothing else: whoever tries digits
must not take the code from its holder. Nor do they tell who has no phone: any digits are wrong then. While one is tried the
code's row is locked (for a national static code, that of its card), so that tries at one moment come one after the other and
each sees the count of those before it.

A plastic card tells as much as a dynamic code does by default, wherever it is read: only an enrolled terminal's reader can
show it. What the table of disclosure lets a check tell beyond that takes a second factor. Its row has the tries. By its
state it counts, is suspended (lost) or over (replaced, cancelled); what is unbound leads to nobody.
"""

from typing import Any

from sqlalchemy.orm import Session

from ehc.cards.models import one_of
from ehc.cards.plastic_states import HELD as HELD_PLASTIC
from ehc.line import as_json
from ehc.verify.models import NO_CARD
from ehc.verify.reasons import Reason
from ehc.verify.scans import Assurance, Factor, Holder, Settled, StandingKind, StandingScan
from ehc.verify.statements import (
    CARD_STATE,
    HELD,
    HOLDER,
    HOLDER_JOINS,
    OF_WORLD,
    STATIC,
    VISIT,
    WRITE,
    WRITTEN,
    fields,
    told,
)

MAX_TRIES = 5
"""Wrong digits of a phone that lock further ones out for a day."""
MAX_WRONG = 20
"""Wrong ones, over any time and without a right one between, that lock further ones out until a document was seen."""
_LOCKED_FOR = "interval '24 hours'"
_TOLD = told(f"unverified OR (kind = 'plastic' AND factor IS DISTINCT FROM '{Factor.CONFIRMED}')")

_HOLDER_OF_PRINT = """
SELECT resident.id, resident.phone
FROM printed_code JOIN card ON card.serial = printed_code.card_serial JOIN resident ON resident.id = card.resident_id
WHERE printed_code.cti = %s AND card.serial = %s AND card.sandbox = %s FOR NO KEY UPDATE OF printed_code
"""
_HOLDER_OF_CARD = """
SELECT resident.id, resident.phone FROM card JOIN resident ON resident.id = card.resident_id
WHERE card.ehc_id_index = %s FOR NO KEY UPDATE OF card
"""

_HOLDER_OF_PLASTIC = """
SELECT resident.id, resident.phone
FROM plastic_card AS plastic JOIN card ON card.serial = plastic.card_serial JOIN resident ON resident.id = card.resident_id
WHERE plastic.number_index = %s AND plastic.state IN ('active', 'loss-temporary') FOR NO KEY UPDATE OF plastic
"""

# The tries of a national static code are counted in the checks of its card: it has no row of its own. By the greatest number,
# not the newest check: tries at one moment are dated before they wait for one another.
_SETTLE = f"""
WITH scan AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s::json) AS t (
        {VISIT}, kind text, serial bigint, cti bytea, key_id bytea,
        ehc_id_index bytea, temporary_index bytea, plastic_index bytea, document_seen bool, phone_given bool, phone_ends bool)
), plastic AS MATERIALIZED (
    SELECT DISTINCT ON (scan.id) scan.id AS scan_id, plastic_card.id, plastic_card.card_serial, plastic_card.state,
           plastic_card.until, plastic_card.tries, plastic_card.tried_at, plastic_card.wrong_in_all
    FROM scan JOIN plastic_card ON plastic_card.number_index = scan.plastic_index
    ORDER BY scan.id, ({one_of("plastic_card.state", HELD_PLASTIC)}) DESC, plastic_card.bound_at DESC, plastic_card.id DESC
), known AS MATERIALIZED (
    SELECT scan.*, coalesce(
               serial, (SELECT card_serial FROM plastic WHERE state <> 'unbound'),
               (SELECT card.serial FROM card WHERE card.ehc_id_index = scan.ehc_id_index),
               (SELECT card.serial FROM card WHERE card.temporary_index = scan.temporary_index)
           ) AS card_serial,
           (SELECT card_serial FROM card_alias WHERE card_alias.ehc_id_index = scan.ehc_id_index
            ORDER BY closed_at DESC LIMIT 1) AS alias_serial
    FROM scan
), tried AS MATERIALIZED (
    SELECT known.id, CASE known.kind
               WHEN 'print' THEN (
                   SELECT CASE WHEN tries >= {MAX_TRIES} AND tried_at <= known.at - {_LOCKED_FOR} THEN 0 ELSE tries END
                   FROM printed_code WHERE printed_code.cti = known.cti)
               WHEN 'plastic' THEN (
                   SELECT CASE WHEN tries >= {MAX_TRIES} AND tried_at <= known.at - {_LOCKED_FOR} THEN 0 ELSE tries END
                   FROM plastic)
               WHEN 'national' THEN (
                   SELECT max(past.wrong_tries) FROM verification AS past
                   WHERE past.card_serial = known.card_serial AND past.verified_at > known.at - {_LOCKED_FOR}
                         AND past.verified_at > coalesce((
                             SELECT max(good.verified_at) FROM verification AS good
                             WHERE good.card_serial = known.card_serial AND good.wrong_tries = 0
                                   AND good.verified_at > known.at - {_LOCKED_FOR}
                         ), '-infinity'))
           END AS tries,
           CASE known.kind
               WHEN 'print' THEN (SELECT wrong_in_all FROM printed_code WHERE printed_code.cti = known.cti)
               WHEN 'plastic' THEN (SELECT wrong_in_all FROM plastic)
               WHEN 'national' THEN (SELECT static_wrong FROM card WHERE card.serial = known.card_serial)
           END AS wrong
    FROM known
), seen AS MATERIALIZED (
    SELECT scan.id, scan.at, scan.client_id, scan.institution_id, scan.step, scan.channel, scan.department,
           scan.operator, scan.request_id, scan.key_id, scan.kind, scan.cti, scan.document_seen, scan.phone_given,
           scan.phone_ends, scan.rules, scan.may_tell, scan.may_tell_least, scan.may_guardian, scan.may_patient,
           plastic.id AS plastic_id, scan.kind = 'temporary' OR card.kind = 'temporary' AS unverified,
           coalesce(scan.card_serial, scan.alias_serial, {NO_CARD}) AS serial,
           coalesce(tried.tries, 0) AS tries, coalesce(tried.wrong, 0) AS wrong, {HOLDER},
           CASE WHEN scan.refused IS NOT NULL THEN scan.refused
                WHEN scan.kind = 'print' AND signing_key.id IS NULL THEN '{Reason.UNKNOWN_KEY}'
                WHEN scan.alias_serial IS NOT NULL THEN '{Reason.CARD_CANCELLED}'
                WHEN scan.kind = 'print' AND print.cti IS NULL THEN '{Reason.NOT_ISSUED}'
                WHEN plastic.state = 'lost' OR (plastic.state = 'loss-temporary' AND plastic.until > scan.at)
                    THEN '{Reason.CARD_SUSPENDED}'
                WHEN plastic.state IN ('replaced', 'cancelled') THEN '{Reason.CARD_CANCELLED}'
                {CARD_STATE}
                WHEN print.revoked_at IS NOT NULL THEN coalesce(print.refusal, '{Reason.EXPIRED}')
                WHEN print.expires_at < scan.at THEN '{Reason.EXPIRED}'
                WHEN scan.kind NOT IN ('temporary', 'plastic') AND (
                    scan.step = 'payment' OR (card.static_allowed AND institution.static_allowed) IS NOT TRUE
                ) THEN '{Reason.STATIC_NOT_ALLOWED}'
                WHEN scan.phone_given AND scan.kind <> 'temporary'
                    AND (tried.tries >= {MAX_TRIES} OR tried.wrong >= {MAX_WRONG}) THEN '{Reason.STATIC_NOT_ALLOWED}'
           END AS refusal
    FROM known AS scan
    JOIN tried ON tried.id = scan.id
    LEFT JOIN card ON card.serial = scan.card_serial AND {OF_WORLD}
    {HOLDER_JOINS}
    LEFT JOIN institution ON institution.id = scan.institution_id
    LEFT JOIN plastic ON plastic.scan_id = scan.id
    LEFT JOIN printed_code AS print ON print.cti = scan.cti AND print.card_serial = card.serial
    LEFT JOIN signing_key ON signing_key.id = scan.key_id AND signing_key.revoked_at IS NULL
), judged AS (
    SELECT seen.*, refusal AS reason,
           CASE WHEN refusal IS NOT NULL OR unverified THEN NULL
                WHEN document_seen OR phone_ends THEN '{Factor.CONFIRMED}'
                WHEN phone_given THEN '{Factor.WRONG}'
           END AS factor
    FROM seen
), settled AS MATERIALIZED (
    SELECT judged.*,
           CASE WHEN kind IN ('temporary', 'plastic') OR factor = '{Factor.CONFIRMED}' THEN {_TOLD}
                WHEN sharing THEN {STATIC} ELSE '{{}}' END AS told,
           CASE WHEN unverified THEN '{Assurance.UNVERIFIED}'
                WHEN kind = 'plastic' AND factor = '{Factor.CONFIRMED}' THEN '{Assurance.PLASTIC_CONFIRMED}'
                WHEN kind = 'plastic' THEN '{Assurance.PLASTIC}'
                WHEN factor = '{Factor.CONFIRMED}' THEN '{Assurance.STATIC_CONFIRMED}'
                ELSE '{Assurance.STATIC}' END AS assurance,
           CASE WHEN factor = '{Factor.WRONG}' THEN tries + 1
                WHEN factor = '{Factor.CONFIRMED}' AND phone_ends THEN 0 END AS now_tries,
           CASE factor WHEN '{Factor.WRONG}' THEN wrong + 1 WHEN '{Factor.CONFIRMED}' THEN 0 END AS now_wrong
    FROM judged
), counted AS (
    UPDATE printed_code AS print
    SET tries = coalesce(settled.now_tries, print.tries), wrong_in_all = settled.now_wrong,
        tried_at = CASE WHEN settled.now_tries IS NULL THEN print.tried_at ELSE settled.at END
    FROM settled WHERE print.cti = settled.cti AND settled.now_wrong IS NOT NULL
), counted_for_plastic AS (
    UPDATE plastic_card AS plastic
    SET tries = coalesce(settled.now_tries, plastic.tries), wrong_in_all = settled.now_wrong,
        tried_at = CASE WHEN settled.now_tries IS NULL THEN plastic.tried_at ELSE settled.at END
    FROM settled WHERE plastic.id = settled.plastic_id AND settled.now_wrong IS NOT NULL
), counted_for_card AS (
    UPDATE card SET static_wrong = settled.now_wrong
    FROM settled WHERE card.serial = settled.serial AND settled.kind = 'national' AND card.static_wrong <> settled.now_wrong
), written AS (
    {WRITE}, key_id, assurance, wrong_tries)
    SELECT {WRITTEN}, key_id, assurance, CASE kind WHEN 'national' THEN now_tries END
    FROM settled
)
SELECT id, at, step, reason, told, assurance, factor, least({MAX_TRIES} - now_tries, {MAX_WRONG} - now_wrong), {HELD}
FROM settled
"""  # noqa: S608 - only names and numbers of ours are put in


def settle(session: Session, scan: StandingScan) -> Settled:
    """Settle a scan within a transaction; never commits. One statement, and one before it if digits of a phone are given."""
    connection = session.connection()
    if scan.phone_check is not None:
        scan.phone_ends = _phone_ends(session, scan)
    row = connection.exec_driver_sql(_SETTLE, (as_json([scan]),)).one()
    reason = Reason(row[3]) if row[3] else None
    if reason is not None:
        return Settled(row[0], row[1], row[2], reason, Assurance(row[5]), code=scan.kind)
    factor = Factor(row[6]) if row[6] else None
    tries_left = row[7] if factor is Factor.WRONG else None
    may, holder = fields(row[4]), Holder(*row[8:])
    return Settled(row[0], row[1], row[2], None, Assurance(row[5]), holder, may, scan.kind, factor, tries_left)


def _phone_ends(session: Session, scan: StandingScan) -> bool | None:
    """Whether the holder's phone ends with the digits that were given; None without a phone. Locks out other tries."""
    connection = session.connection()
    found: Any = None
    if scan.kind is StandingKind.PRINT:
        found = connection.exec_driver_sql(_HOLDER_OF_PRINT, (scan.cti, scan.serial, scan.visit.sandbox)).one_or_none()
    elif scan.kind is StandingKind.NATIONAL:
        found = connection.exec_driver_sql(_HOLDER_OF_CARD, (scan.ehc_id_index,)).one_or_none()
    elif scan.kind is StandingKind.PLASTIC:
        found = connection.exec_driver_sql(_HOLDER_OF_PLASTIC, (scan.plastic_index,)).one_or_none()
    if found is None or found[1] is None or scan.phone_check is None:
        return None
    return scan.phone_check(*found)
