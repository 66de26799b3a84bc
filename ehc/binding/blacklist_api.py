"""`GET /v1/blacklist`: what changed on the blacklist of plastic cards, signed, for terminals that keep a copy of it."""

from base64 import urlsafe_b64encode
from datetime import datetime
from typing import Any

import jwt
from flask import Blueprint, Response, request
from marshmallow import Schema, ValidationError, fields, validate

from ehc.binding.deps import BindingDeps
from ehc.callers import Scope
from ehc.cards import blacklist
from ehc.cards.blacklist import Page
from ehc.crypto.signer import SoftwareSigner
from ehc.web import parsing
from ehc.web.answers import instant
from ehc.web.auth import bearer
from ehc.web.openapi import operation

MEDIA_TYPE = "application/jwt"
TYPE = "ehc-blacklist+jwt"
PAGE = 1000
"""Entries in one answer, at most."""

_MOST = 10**18


class _Since(fields.Integer):
    """A whole number in plain digits."""

    def _deserialize(self, value: object, attr: str | None, data: Any, **kwargs: Any) -> int:
        if not (str(value).isascii() and str(value).isdecimal() and len(str(value)) <= 19):
            raise ValidationError("range")
        return int(str(value))


class BlacklistQuery(Schema):
    """Up to where the caller has the list."""

    since = _Since(
        load_default=0,
        validate=validate.Range(0, _MOST, error="range"),
        metadata={"description": "`until` of the page before; 0, or nothing, for the whole list."},
    )


_QUERY = BlacklistQuery()


def blacklist_blueprint(deps: BindingDeps, *, issuer: str) -> Blueprint:
    """The blacklist, for terminals."""
    bp = Blueprint("blacklist", __name__, url_prefix="/v1/blacklist")
    bp.before_request(bearer(deps.authenticate, Scope.VERIFY))

    @bp.get("")
    @operation(
        "What changed on the blacklist of plastic cards",
        query=BlacklistQuery,
        answers={200: MEDIA_TYPE, 304: MEDIA_TYPE},
        scope=Scope.VERIFY,
        problems=(422,),
    )
    def get_blacklist() -> Response:
        """A JWS in compact form: at most 1,000 entries after `since`; go on with `until` until it is `head`."""
        since, signer = parsing.query(_QUERY)["since"], deps.list_signer()
        with deps.work() as session:
            page = blacklist.page(session, since, limit=PAGE)
        tag = f"{page.since}-{page.until}-{page.head}-{signer.key_id.hex()}"
        if request.if_none_match.contains_weak(tag):
            response = Response(status=304)
        else:
            response = Response(signed(page, signer, issuer=issuer, now=deps.clock.now()), mimetype=MEDIA_TYPE)
        response.set_etag(tag, weak=True)
        return response

    return bp


def signed(page: Page, signer: SoftwareSigner, *, issuer: str, now: datetime) -> str:
    """A page as a JWS (RFC 7515), signed by a key for lists and for nothing else."""
    claims = {
        "iss": issuer,
        "iat": int(now.timestamp()),
        "since": page.since,
        "until": page.until,
        "head": page.head,
        "entries": [
            {"hash": _b64(row.number_hash), "kind": row.kind, "reason": row.reason}
            | ({"until": instant(row.until)} if row.until else {})
            for row in page.entries
        ],
    }
    return jwt.encode(claims, signer.private, algorithm="ES256", headers={"kid": _b64(signer.key_id), "typ": TYPE})


def _b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
