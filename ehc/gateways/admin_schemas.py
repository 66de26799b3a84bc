"""The shapes of gateway accounts."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from marshmallow import Schema, fields, validate

from ehc.gateways.calls import KEPT
from ehc.gateways.kinds import GatewayKind, PlaceKind
from ehc.gateways.models import AccountRow, FailureRow, GatewaySecretRow, PlaceRow
from ehc.gateways.reading import MethodUse, Seen, Use
from ehc.web.answers import instant
from ehc.web.fields import choice, text, token, whole
from ehc.web.paging import LimitField, PageQuery


class _Settings(Schema):
    strict = fields.Boolean(
        truthy={True}, falsy={False}, metadata={"description": "Provincial: both orgId and appCode filled is refused."}
    )
    replay = fields.Boolean(
        truthy={True}, falsy={False}, metadata={"description": "Open platform: a signature counts once."}
    )
    window_seconds = whole(30, 3600, about="Open platform: how far a timestamp may be off.")


class GatewayIn(_Settings):
    """A new account."""

    kind = choice(GatewayKind, required=True, about="Which interface.")
    app_id = fields.UUID(required=True, metadata={"description": "The app that it stands on."})
    name = token(32, about="The userName or appId; one is made up if absent.")


class GatewayChangeIn(_Settings):
    """What is to change; what is left out stays."""


class GatewayPlaceIn(Schema):
    """An outside code."""

    kind = choice(PlaceKind, required=True, about="hospital: hospitalId; org: orgId; app: appCode.")
    code = text(1, 32, required=True, about="The code as callers send it.")
    institution_id = fields.UUID(metadata={"description": "What it means; none for an appCode."})


class GatewaysQuery(PageQuery):
    """Which accounts."""

    kind = choice(GatewayKind, about="Only those of this interface.")


class HoursQuery(Schema):
    """How far back."""

    hours = LimitField(
        load_default=24,
        validate=validate.Range(1, 24 * 366, error="range"),
        metadata={"description": "So many hours back."},
    )


class FailuresQuery(Schema):
    """Which failures."""

    limit = LimitField(
        load_default=20,
        validate=validate.Range(1, KEPT, error="range"),
        metadata={"description": "Rows in a page."},
    )
    before = LimitField(load_default=None, metadata={"description": "Only those before this number."})
    method = token(64, about="Only of this method.")


class GatewaySecretOut(Schema):
    """A live secret, without the secret."""

    secret_id = fields.UUID(required=True)
    created_at = fields.String(required=True)
    ends_at = fields.String(required=True, allow_none=True)


class NewGatewaySecretOut(Schema):
    """A secret, told once: an appSecret or a userPwd."""

    secret_id = fields.UUID(required=True)
    name = fields.String(required=True)
    secret = fields.String(required=True)
    ends_at = fields.String(required=True, allow_none=True)


class GatewayPlaceOut(Schema):
    """An outside code and what it means."""

    place_id = fields.UUID(required=True)
    kind = fields.String(required=True)
    code = fields.String(required=True)
    institution_id = fields.UUID(required=True, allow_none=True)


class GatewayOut(Schema):
    """An account."""

    account_id = fields.UUID(required=True)
    kind = fields.String(required=True)
    name = fields.String(required=True)
    state = fields.String(required=True)
    app_id = fields.UUID(required=True)
    app_name = fields.String(required=True)
    sandbox = fields.Boolean(required=True)
    strict = fields.Boolean(required=True)
    replay = fields.Boolean(required=True)
    window_seconds = fields.Integer(required=True)
    created_at = fields.String(required=True)
    last_call_at = fields.String(required=True, allow_none=True)


class WholeGatewayOut(GatewayOut):
    """An account with its codes and secrets."""

    secrets = fields.List(fields.Nested(GatewaySecretOut), required=True)
    places = fields.List(fields.Nested(GatewayPlaceOut), required=True)


class GatewaysOut(Schema):
    """A page of accounts."""

    accounts = fields.List(fields.Nested(GatewayOut), required=True)
    next = fields.String(required=True, allow_none=True)


class GatewayUseOut(Schema):
    """Calls that have this in common."""

    kind = fields.String(required=True)
    method = fields.String(required=True)
    dialect = fields.String(required=True)
    result = fields.String(required=True)
    ok = fields.Boolean(required=True)
    calls = fields.Integer(required=True)
    milliseconds = fields.Float(required=True, metadata={"description": "On average."})
    last_at = fields.String(required=True)


class GatewayMethodOut(Schema):
    """All calls of one method."""

    method = fields.String(required=True)
    calls = fields.Integer(required=True)
    failed = fields.Integer(required=True)
    error_rate = fields.Float(required=True, metadata={"description": "Failed of all, 0 to 1."})
    last_at = fields.String(required=True)


class GatewayUsageOut(Schema):
    """Calls, the most frequent first: summed up by method, and one by one."""

    methods = fields.List(fields.Nested(GatewayMethodOut), required=True)
    items = fields.List(fields.Nested(GatewayUseOut), required=True)


class GatewayFailureOut(Schema):
    """A failed call, without what it said of anybody."""

    number = fields.Integer(required=True)
    at = fields.String(required=True)
    kind = fields.String(required=True)
    method = fields.String(required=True)
    dialect = fields.String(required=True)
    result = fields.String(required=True)
    reference = fields.String(required=True)
    milliseconds = fields.Float(required=True)
    trace = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


class GatewayFailuresOut(Schema):
    """Failed calls, the newest first."""

    items = fields.List(fields.Nested(GatewayFailureOut), required=True)


def gateway_out(found: Seen) -> dict[str, Any]:
    """An account as it is told."""
    row, app = found.row, found.app
    return {
        "account_id": str(row.id),
        "kind": row.kind,
        "name": row.name,
        "state": row.state,
        "app_id": str(app.id),
        "app_name": app.name,
        "sandbox": app.sandbox,
        "strict": row.strict,
        "replay": row.replay,
        "window_seconds": row.window_seconds,
        "created_at": instant(row.created_at),
        "last_call_at": _when(found.last_call),
    }


def whole_gateway_out(found: Seen, secrets: Iterable[GatewaySecretRow], places: Iterable[PlaceRow]) -> dict[str, Any]:
    """An account with its codes and secrets, as it is told."""
    return {
        **gateway_out(found),
        "secrets": [
            {"secret_id": str(row.id), "created_at": instant(row.created_at), "ends_at": _when(row.ends_at)}
            for row in secrets
        ],
        "places": [place_out(row) for row in places],
    }


def place_out(row: PlaceRow) -> dict[str, Any]:
    """A code as it is told."""
    home = None if row.institution_id is None else str(row.institution_id)
    return {"place_id": str(row.id), "kind": row.kind, "code": row.code, "institution_id": home}


def new_secret_out(account: AccountRow, secret_id: object, secret: str, ends_at: datetime | None) -> dict[str, Any]:
    """A new secret as it is told, once."""
    return {"secret_id": str(secret_id), "name": account.name, "secret": secret, "ends_at": _when(ends_at)}


def use_out(use: Use) -> dict[str, Any]:
    """A count as it is told."""
    told = {name: getattr(use, name) for name in ("kind", "method", "dialect", "result", "ok", "calls")}
    return told | {"milliseconds": round(use.milliseconds, 2), "last_at": instant(use.last_at)}


def method_out(one: MethodUse) -> dict[str, Any]:
    """The calls of a method as they are told."""
    rate = round(one.failed / one.calls, 4)
    told = {"method": one.method, "calls": one.calls, "failed": one.failed}
    return told | {"error_rate": rate, "last_at": instant(one.last_at)}


def failure_out(row: FailureRow) -> dict[str, Any]:
    """A failed call as it is told."""
    told = {name: getattr(row, name) for name in ("kind", "method", "dialect", "result", "reference", "trace")}
    return {"number": row.id, "at": instant(row.at), "milliseconds": round(row.milliseconds, 2), **told}


def _when(time: datetime | None) -> str | None:
    return instant(time) if time is not None else None
