"""The shapes of requests and answers about patient ids."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from marshmallow import Schema, fields, validate

from ehc.binding.patient_ids import ID_TYPES, Change, PatientNumber, opened
from ehc.cards.patient_id_models import PatientIdRow
from ehc.core.masking import mask_number
from ehc.crypto.sealed import Sealer
from ehc.web.answers import instant
from ehc.web.fields import choice

_FORM = r"[0-9A-Za-z][0-9A-Za-z._/-]*\Z"


def patient_number(about: str) -> fields.String:
    """A patient id as hospitals write them: letters, digits and `._/-`, taken as it is."""
    return fields.String(
        required=True,
        validate=[validate.Length(1, 64, error="length"), validate.Regexp(_FORM, error="characters")],
        metadata={"description": about},
    )


class PatientIdIn(Schema):
    """An institution's own id of the patient whose code it just checked."""

    id_type = choice(ID_TYPES, required=True, about="outpatient (门诊) or inpatient (住院).")
    patient_id = patient_number("Hospital patient id (院内ID), as the hospital writes it.")
    verification_id = fields.UUID(
        required=True, metadata={"description": "The check of this card here, at most 30 minutes ago."}
    )


class PatientIdChangeIn(Schema):
    """Two records of the hospital that became one, or one that became two."""

    change = choice(list(Change), required=True, about="merge (合并) or split (拆分).")
    id_type = choice(ID_TYPES, required=True, about="outpatient (门诊) or inpatient (住院).")
    patient_id = patient_number("The id that is bound now.")
    into = patient_number("The id under which this patient goes on.")


class PatientIdOut(Schema):
    """A bound patient id. In clear for the institution that bound it, masked for everybody else."""

    binding_id = fields.UUID(required=True)
    id_type = fields.String(required=True, validate=validate.OneOf(ID_TYPES))
    patient_id = fields.String(required=True)
    institution = fields.String(required=True, allow_none=True)
    source = fields.String(required=True, metadata={"description": "check, import, review or change."})
    bound_at = fields.AwareDateTime(required=True)


class EndedBindingOut(Schema):
    """A binding that has ended."""

    binding_id = fields.UUID(required=True)
    ended_at = fields.AwareDateTime(required=True)


class PatientIdsOut(Schema):
    """The live patient ids of a card that the caller may see."""

    items = fields.List(fields.Nested(PatientIdOut), required=True)


def number_of(wanted: Mapping[str, Any]) -> PatientNumber:
    """The patient id in a loaded request."""
    return PatientNumber(wanted["id_type"], wanted["patient_id"])


def patient_id_out(row: PatientIdRow, names: Mapping[UUID, str], *, sealer: Sealer, own: bool) -> dict[str, Any]:
    """A bound patient id as it leaves."""
    number = opened(row, sealer=sealer)
    return {
        "binding_id": str(row.id),
        "id_type": row.id_type,
        "patient_id": number if own else mask_number(number),
        "institution": names.get(row.institution_id),
        "source": row.source,
        "bound_at": instant(row.bound_at),
    }
