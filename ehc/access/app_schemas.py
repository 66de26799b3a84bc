"""The shapes of apps."""

from collections.abc import Iterable
from datetime import datetime
from ipaddress import ip_network
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from ehc.access.app_models import AppKeyRow, SecretRow
from ehc.access.app_states import AppState
from ehc.access.apps import App
from ehc.callers import Scope
from ehc.outside.public_https import LONGEST_URL
from ehc.web.answers import instant
from ehc.web.fields import choice, text, whole
from ehc.web.paging import PageQuery

MOST_NETWORKS = 50


class NetworkField(fields.String):
    """A network or a single address, in its shortest form."""

    def _deserialize(self, value: object, attr: str | None, data: Any, **kwargs: Any) -> str:
        try:
            return str(ip_network(str(value)[:50]))
        except ValueError:
            raise ValidationError("choice") from None


def _scopes(*, required: bool) -> fields.List[str]:
    return fields.List(
        choice(Scope, about="A scope."), required=required, validate=validate.Length(1, len(Scope), error="length")
    )


def _networks() -> fields.List[str]:
    return fields.List(
        NetworkField(metadata={"description": "A network such as 203.0.113.0/24."}),
        validate=validate.Length(0, MOST_NETWORKS, error="length"),
        metadata={"description": "From where the app may call; empty: from anywhere."},
    )


def _url(**more: Any) -> fields.String:
    return text(1, LONGEST_URL, about="Where the app publishes its keys (RFC 7517): https, a public host.", **more)


class _OwnLimits(Schema):
    per_minute = whole(1, 1_000_000, about="Requests in a minute; null: as the deployment has it.", allow_none=True)
    per_day = whole(1, 1_000_000_000, about="Requests in a day; null: as the deployment has it.", allow_none=True)


class AppIn(_OwnLimits):
    """A draft."""

    name = text(1, 80, required=True, about="What people call the app.")
    scopes = _scopes(required=True)
    sandbox = fields.Boolean(truthy={True}, falsy={False}, metadata={"description": "Never changes."})
    networks = _networks()
    jwks_url = _url()


class AppChangeIn(_OwnLimits):
    """What is to change; what is left out stays."""

    name = text(1, 80, about="What people call the app.")
    scopes = _scopes(required=False)
    networks = _networks()
    jwks_url = _url(allow_none=True)


class AppQuery(PageQuery):
    """Which apps."""

    state = choice(AppState, about="Only those in this state.")


class AppReasonIn(Schema):
    """Why."""

    reason = text(1, 200, required=True, about="Why, for the audit log. No personal data.")


class EmptyIn(Schema):
    """Nothing."""


class SecretIn(Schema):
    """A further secret."""

    ends_at = fields.AwareDateTime(format="iso", metadata={"description": "When it stops by itself; never if absent."})


class KeyIn(Schema):
    """A public key on P-256."""

    jwk = fields.Dict(
        keys=fields.String(validate=validate.Length(1, 20, error="length")),
        values=fields.Raw(),
        required=True,
        validate=validate.Length(1, 20, error="length"),
        metadata={"description": "A JSON Web Key: kty EC, crv P-256, x, y."},
    )


class SecretOut(Schema):
    """A live secret, without the secret."""

    secret_id = fields.UUID(required=True)
    created_at = fields.String(required=True)
    ends_at = fields.String(required=True, allow_none=True)


class NewSecretOut(Schema):
    """A secret, told once."""

    secret_id = fields.UUID(required=True)
    client_id = fields.String(required=True)
    client_secret = fields.String(required=True)
    ends_at = fields.String(required=True, allow_none=True)


class KeyOut(Schema):
    """A live public key."""

    key_id = fields.UUID(required=True)
    kid = fields.String(required=True)
    thumbprint = fields.String(required=True)
    created_at = fields.String(required=True)


class AppOut(Schema):
    """An app."""

    app_id = fields.UUID(required=True)
    client_id = fields.String(required=True)
    name = fields.String(required=True)
    state = fields.String(required=True)
    disabled = fields.Boolean(required=True)
    sandbox = fields.Boolean(required=True)
    scopes = fields.List(fields.String(), required=True)
    asked_scopes = fields.List(fields.String(), required=True, allow_none=True)
    networks = fields.List(fields.String(), required=True)
    per_minute = fields.Integer(required=True, allow_none=True)
    per_day = fields.Integer(required=True, allow_none=True)
    jwks_url = fields.String(required=True, allow_none=True)
    made_by = fields.String(required=True)
    approved_by = fields.String(required=True, allow_none=True)
    approved_at = fields.String(required=True, allow_none=True)
    created_at = fields.String(required=True)


class WholeAppOut(AppOut):
    """An app and its credentials."""

    secrets = fields.List(fields.Nested(SecretOut), required=True)
    keys = fields.List(fields.Nested(KeyOut), required=True)


class AppsOut(Schema):
    """A page of apps."""

    apps = fields.List(fields.Nested(AppOut), required=True)
    next = fields.String(required=True, allow_none=True)


def app_out(app: App, url: str | None) -> dict[str, Any]:
    """An app as it is told."""
    client, row = app.client, app.row
    return {
        "app_id": str(app.id),
        "client_id": client.client_id,
        "name": client.name,
        "state": row.state,
        "disabled": client.disabled_at is not None,
        "sandbox": client.sandbox,
        "scopes": sorted(client.scopes),
        "asked_scopes": row.asked_scopes,
        "networks": row.networks,
        "per_minute": row.per_minute,
        "per_day": row.per_day,
        "jwks_url": url,
        "made_by": row.made_by,
        "approved_by": row.approved_by,
        "approved_at": _when(row.approved_at),
        "created_at": instant(client.created_at),
    }


def whole_app_out(app: App, url: str | None, secrets: Iterable[SecretRow], keys: Iterable[AppKeyRow]) -> dict[str, Any]:
    """An app with its credentials, as it is told."""
    return {
        **app_out(app, url),
        "secrets": [
            {"secret_id": str(row.id), "created_at": instant(row.created_at), "ends_at": _when(row.ends_at)}
            for row in secrets
        ],
        "keys": [key_out(row) for row in keys],
    }


def key_out(row: AppKeyRow) -> dict[str, Any]:
    """A key as it is told."""
    return {
        "key_id": str(row.id),
        "kid": row.jwk["kid"],
        "thumbprint": row.thumbprint,
        "created_at": instant(row.created_at),
    }


def _when(time: datetime | None) -> str | None:
    return instant(time) if time is not None else None
