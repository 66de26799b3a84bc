"""`GET /v1/usage/summary`: how many checks there were, for the staff, within their branch."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from flask import Blueprint, Response
from marshmallow import Schema, ValidationError, fields, validate
from sqlalchemy.orm import Session

from ehc.callers import Branch, Right
from ehc.db import UnitOfWork
from ehc.errors import EhcError, InvalidValue, Text
from ehc.verify import usage
from ehc.web import parsing
from ehc.web.answers import Answer, instant
from ehc.web.auth import AuthenticateStaff, require, staff_only
from ehc.web.openapi import operation

Places = Callable[[Session, Branch], Mapping[UUID, str | None]]
"""The institutions of a branch, each with its region."""

_BY = ("region", *usage.GROUPS)


class TooManyGroups(EhcError):
    """The answer would have more groups than an answer may have."""

    code = "too-many-groups"


STATUSES: dict[type[EhcError], int] = {TooManyGroups: 422}


class GroupsField(fields.Field[tuple[str, ...]]):
    """Up to four different words with commas between."""

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: object) -> tuple[str, ...]:
        words = str(value)[:200].split(",")
        if len(words) > 4 or len(set(words)) < len(words) or not set(words) <= set(_BY):
            raise ValidationError("choice")
        return tuple(words)


class UsageQuery(Schema):
    """Which checks, and told apart by what."""

    since = fields.AwareDateTime(
        required=True, data_key="from", metadata={"description": "From this whole hour on.", "type": "string"}
    )
    until = fields.AwareDateTime(
        required=True, metadata={"description": "Before this whole hour; 92 days later at most.", "type": "string"}
    )
    by = GroupsField(
        load_default=("outcome",),
        metadata={"description": f"One to four of {', '.join(_BY)}, with commas between.", "type": "string"},
    )
    region = fields.String(
        validate=validate.Regexp(r"[0-9]{6}\Z", error="invalid"), metadata={"description": "It and all below it."}
    )
    institution_id = fields.UUID(metadata={"description": "Only this one."})
    step = fields.String(validate=validate.Length(1, 40, error="length"))
    channel = fields.String(validate=validate.Length(1, 40, error="length"))
    outcome = fields.String(
        validate=validate.Length(1, 40, error="length"), metadata={"description": "accepted, or a reason."}
    )


class UsageGroupOut(Schema):
    """One group: the members that were asked for in `by`, and how many checks."""

    region = fields.String(allow_none=True, metadata={"description": "GB/T 2260; null where nobody has said yet."})
    institution_id = fields.UUID()
    step = fields.String()
    channel = fields.String(allow_none=True)
    outcome = fields.String()
    hour = fields.String(metadata={"description": "When the hour begins, RFC 3339."})
    day = fields.Date(metadata={"description": "A day of China."})
    checks = fields.Integer(required=True)


class UsageOut(Schema):
    """The groups in order, and their sum."""

    groups = fields.List(fields.Nested(UsageGroupOut), required=True)
    checks = fields.Integer(required=True)


@dataclass(frozen=True)
class UsageDeps:
    """What the summary needs."""

    work: UnitOfWork
    authenticate_staff: AuthenticateStaff
    places: Places


def usage_blueprint(deps: UsageDeps) -> Blueprint:
    """Supervision: counts, never anything of a person."""
    bp = Blueprint("usage", __name__, url_prefix="/v1/usage")
    bp.before_request(staff_only(deps.authenticate_staff))
    query = UsageQuery()

    @bp.get("/summary")
    @operation(
        "How many checks there were",
        query=UsageQuery,
        answers={200: UsageOut},
        right=Right.USAGE_READ,
        problems=(422,),
    )
    def get_summary() -> Response:
        """Within the caller's branch. Counts are at most five minutes old; what came late is in them the next morning."""
        who, asked = require(Right.USAGE_READ), parsing.query(query)
        wanted_by: tuple[str, ...] = asked["by"]
        with deps.work() as session:
            places = _chosen(deps.places(session, who.branch), asked)
            rows = usage.summary(session, _wanted(asked, wanted_by, places))
        if len(rows) > usage.MOST_GROUPS:
            raise TooManyGroups(
                Text(
                    f"结果超过 {usage.MOST_GROUPS} 组，请缩短时间或减少分组。",
                    f"More than {usage.MOST_GROUPS} groups. Ask for a shorter time or fewer groups.",
                )
            )
        groups = _folded(rows, wanted_by, places)
        return Answer({"groups": groups, "checks": sum(group["checks"] for group in groups)}).response()

    return bp


def _wanted(asked: Mapping[str, Any], by: tuple[str, ...], places: Mapping[UUID, str | None]) -> usage.Wanted:
    since, until = asked["since"], asked["until"]
    if not since < until <= since + usage.LONGEST or any(when.minute or when.second for when in (since, until)):
        raise InvalidValue.at(
            "/until",
            "range",
            Text("from 和 until 应为整点，且相差不超过 92 天。", "Whole hours, 92 days apart at most."),
        )
    columns = tuple(dict.fromkeys("institution" if name == "region" else name for name in by))
    only = {name: asked[name] for name in usage.FILTERS if name in asked}
    return usage.Wanted(since, until, columns, only, places.keys())


def _chosen(places: Mapping[UUID, str | None], asked: Mapping[str, Any]) -> Mapping[UUID, str | None]:
    """Those that were asked for; an institution outside the branch is as if it were not there."""
    prefix = asked.get("region", "").removesuffix("00").removesuffix("00")
    only = asked.get("institution_id")
    return {
        place: region
        for place, region in places.items()
        if (only is None or place == only) and (not prefix or (region or "").startswith(prefix))
    }


def _folded(rows: list[dict[str, Any]], by: tuple[str, ...], places: Mapping[UUID, str | None]) -> list[dict[str, Any]]:
    """Sums by region are made of those by institution: where an institution lies is what the register says now."""
    sums: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        told = row | {"region": places.get(row["institution"])} if "institution" in row else row
        sums[tuple(told[name] for name in by)] += row["checks"]
    return [_group(by, key, checks) for key, checks in sums.items()]


def _group(by: tuple[str, ...], key: tuple[Any, ...], checks: int) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, value in zip(by, key, strict=True):
        if name == "institution":
            told["institution_id"] = str(value)
        elif isinstance(value, datetime):
            told[name] = instant(value)
        elif isinstance(value, date):
            told[name] = value.isoformat()
        else:
            told[name] = value or None
    return told | {"checks": checks}
