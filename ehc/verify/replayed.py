"""An accepted check that is asked for once more, with its `Idempotency-Key`: does it still stand?

An answer kept for 24 hours must not outlive what it says (national rules 2, measure H: no caching of a positive answer). So
the card is read again, in the transaction that reads the kept answer. Uses, and the time a code lives, are not looked at:
those the first check has settled.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from ehc.verify.scans import AnyScan, NationalScan, Scan, StandingKind


class Standing(NamedTuple):
    """Whether a card still counts as it did, whether it may still be told of its holder, and the asking institution's own
    ids of the patient, sealed."""

    good: bool
    sharing: bool
    outpatient_id: UUID | None = None
    outpatient: bytes | None = None
    inpatient_id: UUID | None = None
    inpatient: bytes | None = None


_GONE = Standing(good=False, sharing=False)

_STANDING = f"""
SELECT card.status = 'active' AND (%(card_id)s::uuid IS NULL OR card.id = %(card_id)s)
       AND (card.expires_at IS NULL OR card.expires_at >= %(at)s)
       AND (%(key_id)s::bytea IS NULL OR EXISTS (
           SELECT FROM signing_key WHERE signing_key.id = %(key_id)s AND signing_key.revoked_at IS NULL))
       AND CASE
           WHEN %(kind)s = 'dynamic' THEN card.codes_since IS NULL OR card.codes_since < %(first_at)s
           WHEN %(kind)s = '{StandingKind.TEMPORARY}' THEN true
           WHEN %(kind)s = '{StandingKind.PLASTIC}' THEN EXISTS (
               SELECT FROM plastic_card WHERE plastic_card.number_index = %(plastic_index)s
                   AND (state = 'active' OR (state = 'loss-temporary' AND until <= %(at)s)))
           WHEN (card.static_allowed AND institution.static_allowed) IS NOT TRUE THEN false
           WHEN %(kind)s = '{StandingKind.NATIONAL}' THEN NOT EXISTS (
               SELECT FROM card_alias WHERE card_alias.ehc_id_index = %(ehc_id_index)s)
           ELSE EXISTS (
               SELECT FROM printed_code AS print
               WHERE print.cti = %(cti)s AND print.revoked_at IS NULL AND print.expires_at >= %(at)s)
       END, card.sharing, outpatient.id, outpatient.number, inpatient.id, inpatient.number
FROM card LEFT JOIN institution ON institution.id = %(institution_id)s::uuid
LEFT JOIN patient_id AS outpatient ON outpatient.card_serial = card.serial AND outpatient.ended_at IS NULL
    AND outpatient.institution_id = institution.id AND outpatient.id_type = 'outpatient'
LEFT JOIN patient_id AS inpatient ON inpatient.card_serial = card.serial AND inpatient.ended_at IS NULL
    AND inpatient.institution_id = institution.id AND inpatient.id_type = 'inpatient'
WHERE card.serial = %(serial)s::bigint OR card.ehc_id_index = %(ehc_id_index)s::bytea
      OR card.temporary_index = %(temporary_index)s::bytea OR card.serial = (
          SELECT card_serial FROM plastic_card WHERE plastic_card.number_index = %(plastic_index)s::bytea
              AND state IN ('active', 'loss-temporary'))
"""  # noqa: S608 - only names of ours are put in


def standing(session: Session, scan: AnyScan, *, first_at: datetime, card_id: str | None) -> Standing:
    """How it stands with a code that was accepted at `first_at`, presented again. Never commits.

    `card_id` is that of the card it led to, where that was told: what leads to another by now stands no more.
    """
    names = ("serial", "ehc_id_index", "temporary_index", "plastic_index", "key_id", "cti")
    nothing = dict.fromkeys(names)
    known = {name: value for name, value in scan._asdict().items() if name in nothing}
    kind = "dynamic" if isinstance(scan, Scan | NationalScan) else str(scan.kind)
    at, institution_id = scan.visit.at, scan.visit.institution_id
    given = {**nothing, **known, "kind": kind, "at": at, "first_at": first_at, "institution_id": institution_id}
    given["card_id"] = card_id
    row = session.connection().exec_driver_sql(_STANDING, given).one_or_none()
    return _GONE if row is None else Standing(*row)
