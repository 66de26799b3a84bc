"""`GET /v1/usage/summary`: how much the service is used, for the staff."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, Response
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from ehc import audit
from ehc.access.branches import prefix_of
from ehc.access.staff_session_api import AdminDeps
from ehc.access.usage_summary import GROUPS, SMALL, Count, Question, TooManyCounts, counted_at, summary
from ehc.callers import Right
from ehc.core.tables import CHANNELS, MEDICAL_STEPS
from ehc.errors import EhcError
from ehc.web import parsing
from ehc.web.answers import Answer, instant
from ehc.web.auth import require, staff_only
from ehc.web.fields import choice, token
from ehc.web.openapi import operation

STATUSES: dict[type[EhcError], int] = {TooManyCounts: 422}

LONGEST = timedelta(days=93)
_NO_INSTITUTION = "00000000-0000-0000-0000-000000000000"


class _HourField(fields.AwareDateTime):
    """A full hour."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        try:
            found = super()._deserialize(value, attr, data, **kwargs)
            found = found.astimezone(UTC)
        except OverflowError:
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE) from None
        if (found.minute, found.second, found.microsecond) != (0, 0, 0) or found.year < 2000:
            raise ValidationError("range")
        return found


class _RegionField(fields.String):
    """Six digits of GB/T 2260."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        found = super()._deserialize(value, attr, data, **kwargs)
        try:
            prefix_of(found)
        except ValueError:
            raise ValidationError("characters") from None
        return found


class UsageQuery(Schema):
    """From a full hour to before another, 93 days at most."""

    since = _HourField(required=True, data_key="from", format="iso", metadata={"description": "A full hour."})
    until = _HourField(required=True, format="iso", metadata={"description": "A full hour, not counted any more."})
    group_by = fields.String(
        load_default="",
        validate=validate.Length(0, 80, error="length"),
        metadata={"description": f"Some of {', '.join(GROUPS)}, with commas between them; none is one sum."},
    )
    region = _RegionField(metadata={"description": "GB/T 2260, six digits, and all below it.", "pattern": "^[0-9]{6}$"})
    institution_id = fields.UUID()
    step = choice([step.word for step in MEDICAL_STEPS], about="Only this step.")
    channel = choice([way.word for way in CHANNELS], about="Only this channel.")
    outcome = token(40, about="`accepted`, or the reason of a refusal.")

    @validates_schema
    def _bounded(self, given: Mapping[str, Any], **_: object) -> None:
        if not timedelta() < given["until"] - given["since"] <= LONGEST:
            raise ValidationError("range", "until")
        groups = groups_of(given["group_by"])
        if len(set(groups)) != len(groups) or not set(groups) <= set(GROUPS):
            raise ValidationError("choice", "group_by")


class CountOut(Schema):
    """One sum; of its other members those are there that it was grouped by."""

    region = fields.String(allow_none=True)
    institution_id = fields.UUID(allow_none=True)
    step = fields.String()
    channel = fields.String(allow_none=True)
    day = fields.Date()
    hour = fields.DateTime()
    outcome = fields.String()
    checks = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": f"null: fewer than {SMALL}, told to the institution's own staff alone."},
    )


class UsageOut(Schema):
    """Sums in the order of their groups."""

    counted_at = fields.DateTime(
        required=True,
        allow_none=True,
        metadata={"description": "Checks that were recorded before this count. null while older hours are counted."},
    )
    items = fields.List(fields.Nested(CountOut), required=True)


_QUERY = UsageQuery()


def usage_blueprint(deps: AdminDeps) -> Blueprint:
    """Usage, for the staff."""
    bp = Blueprint("usage", __name__, url_prefix="/v1/usage")
    bp.before_request(staff_only(deps.authenticate_staff))

    @bp.get("/summary")
    @operation(
        "How much the service is used",
        query=UsageQuery,
        answers={200: UsageOut},
        right=Right.USAGE_READ,
        problems=(422,),
    )
    def get_usage() -> Response:
        """Checks of the caller's branch, counted. Of another branch there are none."""
        who, wanted = require(Right.USAGE_READ), question_of(parsing.query(_QUERY))
        now = deps.clock.now()
        with deps.work() as session:
            counted = counted_at(session)
            counts = summary(session, who.branch, wanted)
            audit.record(session, "usage.read", actor=who.actor, subject="usage", at=now, facts=wanted.told())
        body = {"counted_at": instant(counted) if counted else None, "items": [count_out(one) for one in counts]}
        return Answer(body, headers={"Cache-Control": "no-store"}).response()

    return bp


def groups_of(told: str) -> list[str]:
    """The names in a list with commas."""
    return told.split(",") if told else []


def question_of(given: Mapping[str, Any]) -> Question:
    """The question of a query."""
    return Question(
        since=given["since"],
        until=given["until"],
        groups=groups_of(given["group_by"]),
        region=given.get("region"),
        institution_id=given.get("institution_id"),
        like={name: given[name] for name in ("step", "channel", "outcome") if name in given},
    )


def count_out(one: Count) -> dict[str, Any]:
    """A sum as it is told."""
    told: dict[str, Any] = {}
    for name, value in one.of.items():
        if name == "institution":
            told["institution_id"] = None if str(value) == _NO_INSTITUTION else str(value)
        elif name == "hour":
            told[name] = instant(value)
        else:
            told[name] = str(value) if value else None
    return told | {"checks": one.checks}
