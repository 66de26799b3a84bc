"""What the settling statements have in common. Each reads its scans as JSON and goes on in steps named alike:

`scan` (what was presented), `seen` (the card and its holder now, and `refusal`, known without counting uses), `settled`
(`reason`, after the uses were counted; `told`, the fields that may be told), then the row of `verification` and the answer.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from ehc.verify.disclosure import STATIC_FIELDS
from ehc.verify.reasons import Reason
from ehc.verify.scans import Assurance, Holder, Settled

SAME_SCAN = "interval '10 seconds'"
"""Scanners read twice: the terminal that spent a code gets the same verification for the same step within this time."""

VISIT = """position int, id uuid, at timestamptz, client_id uuid, institution_id uuid, step text, channel text,
        department text, operator bytea, request_id text, sandbox bool, refused text, rules int,
        may_tell text, may_tell_least text, may_guardian text, may_patient text, asks text[]"""
"""The columns of every scan: who asks, and what the table of disclosure lets a check tell them (`disclosure.Telling`)."""

OF_WORLD = "card.sandbox = scan.sandbox"
"""Real terminals see no card of the sandbox, and those of the sandbox no other: it is as if there were none."""

HOLDER = """card.id AS card_id, card.kind AS card_kind, card.level, card.sharing, resident.id AS resident_id, resident.name,
           resident.sex, resident.birth_date, guardian.id AS guardian_id, guardian.name AS guardian_name,
           CASE WHEN guardian.id IS NOT NULL THEN card.guardian_relation END AS relation,
           outpatient.id AS outpatient_id, outpatient.number AS outpatient,
           inpatient.id AS inpatient_id, inpatient.number AS inpatient,
           coalesce(outpatient.id, inpatient.id) IS NOT NULL AS is_patient,
           CASE WHEN scan.asks IS NOT NULL AND card.sharing THEN (
               SELECT json_build_object(
                   'phone', CASE WHEN 'phone' = ANY(scan.asks) THEN resident.phone END,
                   'address', CASE WHEN 'address' = ANY(scan.asks) THEN resident.address END,
                   'nation', CASE WHEN 'nation' = ANY(scan.asks) THEN resident.ethnicity END,
                   'ehc_id', CASE WHEN 'card_ids' = ANY(scan.asks) THEN card.ehc_id END,
                   'index_id', CASE WHEN 'card_ids' = ANY(scan.asks) THEN card.index_id END,
                   'document_id', document.id, 'id_type', document.type, 'id_number', document.number)
               FROM (VALUES (0)) AS one LEFT JOIN identity_document AS document
                   ON document.id = card.document_id AND 'id_number' = ANY(scan.asks)
           ) END AS more"""

HOLDER_JOINS = """LEFT JOIN resident ON resident.id = card.resident_id
    LEFT JOIN LATERAL (
        SELECT id, name FROM resident
        WHERE resident.id = card.guardian_id AND (card.guardian_until IS NULL OR card.guardian_until > scan.at) LIMIT 1
    ) AS guardian ON true
    LEFT JOIN patient_id AS outpatient ON outpatient.card_serial = card.serial AND outpatient.ended_at IS NULL
        AND outpatient.institution_id = scan.institution_id AND outpatient.id_type = 'outpatient'
    LEFT JOIN patient_id AS inpatient ON inpatient.card_serial = card.serial AND inpatient.ended_at IS NULL
        AND inpatient.institution_id = scan.institution_id AND inpatient.id_type = 'inpatient'"""
"""The holder, who acts for the holder now, and the asking institution's own ids of this patient, of no other's."""

CARD_STATE = f"""WHEN card.status IS NULL THEN '{Reason.NOT_ISSUED}'
                WHEN card.status IN ('suspended', 'lost') THEN '{Reason.CARD_SUSPENDED}'
                WHEN card.status = 'cancelled' AND card.cause = 'expired' THEN '{Reason.EXPIRED}'
                WHEN card.status = 'cancelled' THEN '{Reason.CARD_CANCELLED}'
                WHEN card.status <> 'active' THEN '{Reason.CARD_NOT_ACTIVE}'
                WHEN card.expires_at < scan.at THEN '{Reason.EXPIRED}'"""

STATIC = f"'{{{','.join(STATIC_FIELDS)}}}'"
"""An array of fields as PostgreSQL writes it: text until it is stored, since text costs less on its way."""


def told(capped: str) -> str:
    """All that a check may tell, by its rule; nothing where the holder has ended sharing. `capped`: who proved little."""
    return f"""CASE WHEN NOT sharing THEN '{{}}' ELSE
        '{{' || CASE WHEN {capped} THEN may_tell_least ELSE may_tell END
        || CASE WHEN guardian_id IS NULL THEN '' ELSE may_guardian END
        || CASE WHEN is_patient THEN may_patient ELSE '' END || '}}' END"""


TOLD = told("card_kind = 'temporary'")
"""Of a code that is used up. Who a temporary card is for nobody has proved."""

WRITE = """INSERT INTO verification (card_serial, verified_at, id, client_id, institution_id, step, channel, department,
                              operator, request_id, reason, disclosed, disclosure_version"""
WRITTEN = """serial, at, id, client_id, institution_id, step, channel, department, operator, request_id, reason,
           CASE WHEN reason IS NULL THEN told::text[] ELSE '{}' END, rules"""

HELD = """card_id, card_kind, level, resident_id, name, sex, birth_date, relation, guardian_id, guardian_name,
    outpatient_id, outpatient, inpatient_id, inpatient, more"""
"""The columns of a `Holder`."""

AGAIN = """CASE WHEN again THEN first_id ELSE id END, CASE WHEN again THEN first_at ELSE at END,
       CASE WHEN again THEN first_step ELSE step END, reason, told"""
"""How the answer to a code that can be used up begins: a repeated scan has the answer of the first."""


def settled(row: Sequence[Any]) -> Settled:
    """A row that begins with `AGAIN` and goes on with `HELD`."""
    reason = Reason(row[3]) if row[3] else None
    if reason is not None:
        return Settled(row[0], row[1], row[2], reason)
    return Settled(row[0], row[1], row[2], None, assurance_of(row[6]), Holder(*row[5:]), fields(row[4]))


@cache
def fields(told: str) -> frozenset[str]:
    """The names in an array of fields."""
    return frozenset(told.strip("{}").split(",")) - {""}


def assurance_of(card_kind: str) -> Assurance:
    """How sure a dynamic code makes a check: a temporary card stands for nobody in particular."""
    return Assurance.UNVERIFIED if card_kind == "temporary" else Assurance.DYNAMIC
