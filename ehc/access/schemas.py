"""The shapes of the token endpoint."""

from marshmallow import Schema, fields

from ehc.access import assertions


class TokenRequest(Schema):
    """A form. A secret may instead be sent as HTTP Basic; a client with a key sends an assertion (RFC 7523)."""

    grant_type = fields.String(required=True, metadata={"enum": ["client_credentials"]})
    scope = fields.String(metadata={"description": "Space-separated; all of the client's scopes if absent."})
    client_id = fields.String(metadata={"description": "May be left out beside an assertion."})
    client_secret = fields.String()
    client_assertion_type = fields.String(metadata={"enum": [assertions.TYPE]})
    client_assertion = fields.String(
        metadata={
            "description": "A JWT signed with ES256: iss and sub are the client_id, aud the issuer or the token endpoint, exp "
            "at most 5 minutes ahead, jti never used before.",
            "maxLength": assertions.LONGEST,
        }
    )


class TokenOut(Schema):
    """RFC 6749 section 5.1."""

    access_token = fields.String(required=True)
    token_type = fields.String(required=True)
    expires_in = fields.Integer(required=True, metadata={"description": "Seconds."})
    scope = fields.String(required=True)
