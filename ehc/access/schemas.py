"""The shapes of the token endpoint."""

from marshmallow import Schema, fields


class TokenRequest(Schema):
    """A form. The credentials may instead be sent as HTTP Basic."""

    grant_type = fields.String(required=True, metadata={"enum": ["client_credentials"]})
    scope = fields.String(metadata={"description": "Space-separated; all of the client's scopes if absent."})
    client_id = fields.String()
    client_secret = fields.String()


class TokenOut(Schema):
    """RFC 6749 section 5.1."""

    access_token = fields.String(required=True)
    token_type = fields.String(required=True)
    expires_in = fields.Integer(required=True, metadata={"description": "Seconds."})
    scope = fields.String(required=True)
