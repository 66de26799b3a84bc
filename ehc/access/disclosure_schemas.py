"""The shapes of the table of disclosure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from ehc.access.approval_schemas import reason
from ehc.access.explaining import Explained
from ehc.access.institutions import KINDS
from ehc.core.tables import MEDICAL_STEPS, medical_step
from ehc.disclosure.fields import FORMS, form_of, ordered, word
from ehc.disclosure.table import Difference, Rule, Scope, Table
from ehc.disclosure.versions import MOST_RULES
from ehc.web.answers import instant
from ehc.web.fields import choice, text

_STEPS = [name for step in MEDICAL_STEPS for name in (step.word, *step.codes)]


class FieldsIn(Schema):
    """Which fields are told, and in which form. What is not named is not told; the name is named always."""

    name = choice(FORMS["name"], required=True, about="姓名.")
    sex = choice(FORMS["sex"], about="性别.")
    age = choice(FORMS["age"], about="年龄.")
    birth_date = choice(FORMS["birth_date"], about="出生日期; masked is the year.")
    id_number = choice(
        FORMS["id_number"], about="证件号码, with its type; masked is the first 4 and last 2 characters."
    )
    phone = choice(FORMS["phone"], about="手机号; masked is the first 3 and last 4 digits.")
    address = choice(FORMS["address"], about="住址; masked is its first 6 characters.")
    nation = choice(FORMS["nation"], about="民族.")
    guardian = choice(FORMS["guardian"], about="监护人: the masked name of who acts for the holder.")
    patient_id = choice(FORMS["patient-id"], about="院内ID: the asking institution's own.")


class RuleIn(Schema):
    """A row. Neither an institution nor a kind: every institution. No step: any."""

    institution_id = fields.UUID(metadata={"description": "One institution; not together with `kind`."})
    kind = choice(KINDS, about="A kind of institution; not together with `institution_id`.")
    step = choice(_STEPS, about="Medical step: its word or its 6-digit code.")
    fields_ = fields.Nested(FieldsIn, required=True, data_key="fields")
    reason = text(1, 300, required=True, about="Why so much is needed there. No names: it is read by everybody.")
    valid_from = fields.AwareDateTime(metadata={"description": "From then on; without it, at once."})
    valid_until = fields.AwareDateTime(metadata={"description": "Not from then on; without it, until it is changed."})

    @validates_schema
    def _whole(self, given: Mapping[str, Any], **_: object) -> None:
        if "institution_id" in given and "kind" in given:
            raise ValidationError("choice", "kind")
        if "valid_from" in given and "valid_until" in given and given["valid_from"] >= given["valid_until"]:
            raise ValidationError("range", "valid_until")


class TableIn(Schema):
    """A whole new table, and the version that it takes the place of."""

    base_version = fields.Integer(
        strict=True, required=True, validate=validate.Range(0, 2**31 - 2, error="range"),
        metadata={"description": "The version in force that was read."},
    )  # fmt: skip
    rules = fields.List(
        fields.Nested(RuleIn), required=True, validate=validate.Length(0, MOST_RULES, error="length"),
        metadata={"description": "All rows. With none, everybody is told the default."},
    )  # fmt: skip
    reason = reason()


class RuleOut(Schema):
    """A row."""

    institution_id = fields.UUID(required=True, allow_none=True)
    kind = fields.String(required=True, allow_none=True)
    step = fields.String(required=True, allow_none=True)
    fields_ = fields.Dict(keys=fields.String(), values=fields.String(), required=True, data_key="fields")
    reason = fields.String(required=True)
    valid_from = fields.AwareDateTime(required=True, allow_none=True)
    valid_until = fields.AwareDateTime(required=True, allow_none=True)


class TableOut(Schema):
    """A version of the table. 0 is what the service ships with."""

    version = fields.Integer(required=True)
    since = fields.AwareDateTime(required=True, allow_none=True)
    rules = fields.List(fields.Nested(RuleOut), required=True)
    default = fields.Dict(
        keys=fields.String(), values=fields.String(), required=True, metadata={"description": "Where no row decides."}
    )


class VersionOut(Schema):
    """Who made a version, and why."""

    version = fields.Integer(required=True)
    since = fields.AwareDateTime(required=True)
    approval_id = fields.UUID(required=True)
    proposed_by = fields.UUID(required=True)
    approved_by = fields.UUID(required=True)
    reason = fields.String(required=True)


class VersionsOut(Schema):
    """The newest hundred versions, newest first."""

    items = fields.List(fields.Nested(VersionOut), required=True)


class DifferenceOut(Schema):
    """What became of the rows from one version to another."""

    removed = fields.List(fields.Nested(RuleOut), required=True)
    added = fields.List(fields.Nested(RuleOut), required=True)


class CandidateOut(RuleOut):
    """A row about this terminal and step."""

    fate = fields.String(required=True, validate=validate.OneOf(["decides", "less-exact", "not-yet", "over"]))


class ExplainedOut(Schema):
    """What a terminal sees at a step, and why."""

    terminal = fields.String(required=True)
    institution_id = fields.UUID(required=True)
    institution = fields.String(required=True)
    kind = fields.String(required=True, allow_none=True)
    step = fields.String(required=True)
    at = fields.AwareDateTime(required=True)
    version = fields.Integer(required=True)
    fields_ = fields.Dict(
        keys=fields.String(), values=fields.String(), required=True, data_key="fields",
        metadata={"description": "With a dynamic code, or after a second factor."},
    )  # fmt: skip
    fields_least = fields.Dict(
        keys=fields.String(), values=fields.String(), required=True,
        metadata={"description": "Of a temporary card, and with a plastic card alone. A static code alone: masked name."},
    )  # fmt: skip
    decided_by = fields.Nested(RuleOut, required=True, allow_none=True, metadata={"description": "Null: the default."})
    rows = fields.List(
        fields.Nested(CandidateOut), required=True, metadata={"description": "All about it, the most exact first."}
    )


class ExplainQuery(Schema):
    """Whom, and at which step."""

    terminal = text(1, 128, required=True, about="Its terminal code, or its client id.")
    step = choice(_STEPS, required=True, about="Medical step: its word or its 6-digit code.")
    at = fields.AwareDateTime(metadata={"description": "When; without it, now."})


def rules_of(wanted: Sequence[Mapping[str, Any]]) -> list[Rule]:
    """Loaded rows as the table takes them."""
    return [
        Rule(
            Scope(row.get("institution_id"), row.get("kind"), medical_step(row["step"]) if "step" in row else None),
            frozenset(word(name.replace("_", "-") if name == "patient_id" else name, form)
                      for name, form in row["fields_"].items()),
            row["reason"],
            row["valid_from"].astimezone(UTC) if "valid_from" in row else None,
            row["valid_until"].astimezone(UTC) if "valid_until" in row else None,
        )
        for row in wanted
    ]  # fmt: skip


def rule_out(rule: Rule) -> dict[str, Any]:
    """A row as it leaves."""
    return {
        "institution_id": str(rule.scope.institution_id) if rule.scope.institution_id else None,
        "kind": rule.scope.kind,
        "step": rule.scope.step,
        "fields": fields_out(rule.told),
        "reason": rule.reason,
        "valid_from": instant(rule.valid_from) if rule.valid_from else None,
        "valid_until": instant(rule.valid_until) if rule.valid_until else None,
    }


def fields_out(told: Iterable[str]) -> dict[str, str]:
    """Fields with their forms."""
    return {name.replace("-", "_"): form for name, form in map(form_of, ordered(told))}


def table_out(table: Table, default: Iterable[str]) -> dict[str, Any]:
    """A version as it leaves."""
    return {
        "version": table.version,
        "since": instant(table.since) if table.since else None,
        "rules": [rule_out(rule) for rule in table.rules],
        "default": fields_out(default),
    }


def difference_out(found: Difference) -> dict[str, Any]:
    """A difference as it leaves."""
    return {name: [rule_out(rule) for rule in rules] for name, rules in found._asdict().items()}


def explained_out(found: Explained) -> dict[str, Any]:
    """An explanation as it leaves."""
    return {
        "terminal": found.terminal,
        "institution_id": str(found.institution_id),
        "institution": found.institution,
        "kind": found.kind,
        "step": found.step,
        "at": instant(found.at),
        "version": found.version,
        "fields": fields_out(found.told),
        "fields_least": fields_out(found.told_least),
        "decided_by": rule_out(found.rule) if found.rule else None,
        "rows": [{**rule_out(row.rule), "fate": row.fate} for row in found.rows],
    }
