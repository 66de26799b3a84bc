"""The shapes of requests and answers about regions, institutions and departments."""

from collections.abc import Iterable, Mapping
from typing import Any

from marshmallow import Schema, fields, validate

from ehc.access.departments import DEEPEST
from ehc.access.institution_models import DepartmentRow, InstitutionCodeRow, InstitutionImportRow, RegionRow
from ehc.access.institutions import KINDS, STATES
from ehc.access.models import InstitutionRow
from ehc.core.institution_codes import CodeKind
from ehc.core.masking import mask_name, mask_number
from ehc.web.answers import instant
from ehc.web.fields import choice, day, text
from ehc.web.paging import PageQuery


def _region(*, about: str, **more: Any) -> fields.String:
    return fields.String(
        validate=validate.Regexp(r"[1-9][0-9]{5}\Z", error="characters"), metadata={"description": about}, **more
    )


def _code() -> fields.String:
    return text(1, 22, required=True, about="The code; its check character is checked.")


class ContactsIn(Schema):
    """Whom to call. Kept sealed."""

    name = text(1, 100, about="A person or an office.")
    phone = text(1, 40, about="With its area code.")
    email = text(3, 200, about="An address for notices.")
    address = text(1, 200, about="Where letters go.")


class InstitutionCodeIn(Schema):
    """A code of the outside world."""

    kind = choice(list(CodeKind), required=True, about="ws-218 (22), uscc (18), clinic (12 digits) or local.")
    code = _code()


class NewCodeIn(InstitutionCodeIn):
    """A code that an institution has from a day on."""

    valid_from = day(about="Today, where it is left out; never to come.")


class CodeEndIn(Schema):
    """The end of a code."""

    valid_until = day(about="Today, where it is left out; never to come.")


class InstitutionIn(Schema):
    """A new institution."""

    name = text(1, 100, required=True, about="As on its licence.")
    kind = choice(KINDS, required=True, about="The kind of institution.")
    region = _region(required=True, about="Six digits of GB/T 2260.")
    codes = fields.List(
        fields.Nested(InstitutionCodeIn),
        required=True,
        validate=validate.Length(1, len(CodeKind), error="length"),
        metadata={"description": "One of a kind; the first is the code it is known by here, for good."},
    )
    contacts = fields.Nested(ContactsIn)


class InstitutionChangeIn(Schema):
    """What changes; the rest stays."""

    name = text(1, 100, about="As on its licence.")
    kind = choice(KINDS, about="The kind of institution.")
    region = _region(about="Six digits of GB/T 2260.")
    contacts = fields.Nested(ContactsIn, allow_none=True, metadata={"description": "All of them; null takes them out."})
    static_codes = fields.Boolean(
        truthy={True}, falsy={False}, metadata={"description": "Whether printed and other static codes count here."}
    )


class MoveIn(Schema):
    """Why."""

    reason = text(2, 200, required=True, about="For the audit log; no personal data.")


class InstitutionsQuery(PageQuery):
    """Which institutions."""

    region = _region(load_default=None, about="This region and all below it.")
    kind = choice(KINDS, load_default=None, about="The kind of institution.")
    name = text(1, 100, load_default=None, about="A part of the name.")
    code = text(1, 22, load_default=None, about="A code it has now, of whatever kind.")


class AdminInstitutionsQuery(InstitutionsQuery):
    """Which institutions, in which state."""

    state = choice(STATES, load_default=None, about="live, suspended or closed.")


class RegionsQuery(Schema):
    """Which regions."""

    parent = _region(load_default=None, about="The region they lie in. Without it, the top of your branch.")


class RegionOut(Schema):
    """A region."""

    code = fields.String(required=True)
    name = fields.String(required=True)
    level = fields.Integer(required=True, metadata={"description": "1 province, 2 city or prefecture, 3 county."})
    parent = fields.String(required=True, allow_none=True)


class RegionsOut(Schema):
    """Regions in the order of their codes."""

    items = fields.List(fields.Nested(RegionOut), required=True)


class InstitutionOut(Schema):
    """An institution as apps and terminals see it."""

    institution_id = fields.UUID(required=True)
    code = fields.String(required=True, metadata={"description": "What it is known by here; never changes."})
    name = fields.String(required=True)
    kind = fields.String(required=True)
    region = fields.String(required=True, allow_none=True)
    region_name = fields.String(required=True, allow_none=True)
    state = fields.String(required=True, validate=validate.OneOf(STATES))


class InstitutionsOut(Schema):
    """A page of institutions, newest first."""

    items = fields.List(fields.Nested(InstitutionOut), required=True)
    next = fields.String(required=True, allow_none=True)


class DepartmentOut(Schema):
    """A department."""

    department_id = fields.UUID(required=True)
    parent_id = fields.UUID(required=True, allow_none=True)
    name = fields.String(required=True)
    standard_code = fields.String(required=True, allow_none=True)
    local_code = fields.String(required=True, allow_none=True)


class DepartmentsOut(Schema):
    """The live departments of an institution."""

    items = fields.List(fields.Nested(DepartmentOut), required=True)


class InstitutionWithDepartmentsOut(InstitutionOut):
    """An institution with its departments."""

    departments = fields.List(fields.Nested(DepartmentOut), required=True)


class InstitutionCodeOut(Schema):
    """A code that an institution has, or had until a day."""

    code_id = fields.UUID(required=True)
    kind = fields.String(required=True)
    code = fields.String(required=True)
    valid_from = fields.Date(required=True)
    valid_until = fields.Date(required=True, allow_none=True)


class ContactsOut(Schema):
    """Whom to call: in clear for who may change it and for its own staff, masked for others."""

    name = fields.String()
    phone = fields.String()
    email = fields.String()
    address = fields.String()


class AdminInstitutionOut(InstitutionOut):
    """An institution as the staff see it."""

    static_codes = fields.Boolean(required=True)
    created_at = fields.AwareDateTime(required=True)
    codes = fields.List(fields.Nested(InstitutionCodeOut), required=True)
    contacts = fields.Nested(ContactsOut, required=True)


class DepartmentIn(Schema):
    """A new department."""

    name = text(1, 100, required=True, about="As patients read it.")
    standard_code = text(4, 4, allow_none=True, about="One of the standard departments (标准科室代码).")
    local_code = text(1, 40, allow_none=True, about="The institution's own code.")
    parent_id = fields.UUID(
        allow_none=True, metadata={"description": f"The department above it; {DEEPEST} levels at most."}
    )


class DepartmentChangeIn(DepartmentIn):
    """What changes of a department; the rest stays."""

    name = text(1, 100, about="As patients read it.")


class StandardDepartmentOut(Schema):
    """A standard department."""

    code = fields.String(required=True)
    name = fields.String(required=True)
    parent = fields.String(required=True, metadata={"description": "The first two digits of its group, or empty."})


class StandardDepartmentsOut(Schema):
    """The standard departments (标准科室代码)."""

    items = fields.List(fields.Nested(StandardDepartmentOut), required=True)


class InstitutionImportOut(Schema):
    """What became of a file of institutions."""

    import_id = fields.UUID(required=True)
    added = fields.Integer(required=True)
    changed = fields.Integer(required=True)
    unchanged = fields.Integer(required=True)
    bad = fields.Integer(required=True, metadata={"description": "Rows in the error file."})
    created_at = fields.AwareDateTime(required=True)
    finished_at = fields.AwareDateTime(
        required=True, allow_none=True, metadata={"description": "Null: it broke off. Send the file again."}
    )


def region_out(row: RegionRow) -> dict[str, Any]:
    """A region as it leaves."""
    return {"code": row.code, "name": row.name, "level": row.level, "parent": row.parent}


def institution_out(row: InstitutionRow, names: Mapping[str | None, str]) -> dict[str, Any]:
    """An institution as everybody who may see it does; `names` are regions'."""
    return {
        "institution_id": str(row.id),
        "code": row.code,
        "name": row.name,
        "kind": row.kind,
        "region": row.region,
        "region_name": names.get(row.region),
        "state": row.state,
    }


def admin_institution_out(
    row: InstitutionRow,
    names: Mapping[str | None, str],
    codes: Iterable[InstitutionCodeRow],
    contacts: Mapping[str, str],
    *,
    clear: bool,
) -> dict[str, Any]:
    """An institution as the staff see it."""
    return institution_out(row, names) | {
        "static_codes": bool(row.static_allowed),
        "created_at": instant(row.created_at),
        "codes": [code_out(code) for code in codes],
        "contacts": dict(contacts) if clear else {name: _masked(name, contacts[name]) for name in contacts},
    }


def code_out(row: InstitutionCodeRow) -> dict[str, Any]:
    """A code as it leaves."""
    return {
        "code_id": str(row.id),
        "kind": row.kind,
        "code": row.code,
        "valid_from": row.valid_from.isoformat(),
        "valid_until": row.valid_until.isoformat() if row.valid_until else None,
    }


def department_out(row: DepartmentRow) -> dict[str, Any]:
    """A department as it leaves."""
    return {
        "department_id": str(row.id),
        "parent_id": str(row.parent_id) if row.parent_id else None,
        "name": row.name,
        "standard_code": row.standard_code,
        "local_code": row.local_code,
    }


def import_out(row: InstitutionImportRow) -> dict[str, Any]:
    """An import as it leaves."""
    return {
        "import_id": str(row.id),
        "added": row.added,
        "changed": row.changed,
        "unchanged": row.unchanged,
        "bad": row.bad,
        "created_at": instant(row.created_at),
        "finished_at": instant(row.finished_at) if row.finished_at else None,
    }


def _masked(name: str, value: str) -> str:
    masks = {"name": mask_name, "phone": mask_number}
    return masks[name](value) if name in masks else "***"
