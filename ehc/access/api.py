"""`POST /oauth/token`: client credentials against a bearer token (RFC 6749 sections 2.3.1, 4.4 and 5; RFC 7523)."""

import binascii
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote_plus

import orjson
from flask import Blueprint, Response, g, request

from ehc.access import app_keys, assertions, clients, terminals, tokens
from ehc.access.schemas import TokenOut, TokenRequest
from ehc.callers import Caller, ClientKind, Scope
from ehc.clock import Clock
from ehc.db import UnitOfWork
from ehc.errors import EhcError, Text
from ehc.keystore.refreshed import Refreshed
from ehc.keystore.signing_keys import DatedSigner
from ehc.web.answers import Answer
from ehc.web.auth import anyone
from ehc.web.language import said
from ehc.web.openapi import operation

STATUSES: dict[type[EhcError], int] = {clients.NoSuchClient: 404}


@dataclass(frozen=True)
class AccessDeps:
    """What the token endpoint needs."""

    work: UnitOfWork
    clock: Clock
    signers: Refreshed[tuple[DatedSigner, ...]]
    names: tokens.Names
    admit: Callable[[Caller], None]
    """Refuses a client that calls from elsewhere, or too often."""


_TWICE = Text("每个参数只能出现一次。", "Send each parameter once.")


class TokenRefused(Exception):
    """An error of RFC 6749 section 5.2."""

    def __init__(self, error: str, detail: Text, status: int = 400) -> None:
        super().__init__(error)
        self.error, self.detail, self.status = error, detail, status


_BAD_CLIENT = Text(
    "client_id 或 client_secret 不正确，或该客户端已停用。",
    "The client id or secret is wrong, or the client is disabled.",
)
_BAD_ASSERTION = Text(
    "client_assertion 不正确、已使用或已过期，或该客户端已停用；请核对时钟和 /docs 中的要求。",
    "The assertion is wrong, was used or is out of date, or the client is disabled. Check your clock, and /docs.",
)
_ONE_WAY = Text("多种认证方式只用一种。", "Use one way of authentication, not two.")


def blueprint(deps: AccessDeps) -> Blueprint:
    """The token endpoint. Anyone may ask; the credentials decide."""
    bp = Blueprint("tokens", __name__)
    bp.before_request(anyone)

    @bp.errorhandler(TokenRefused)
    def refuse(error: TokenRefused) -> Response:
        body = {"error": error.error, "error_description": said(error.detail), "request_id": g.get("request_id")}
        response = Response(orjson.dumps(body), error.status, mimetype="application/json")
        if error.status == 401:
            response.headers["WWW-Authenticate"] = 'Basic realm="ehc"'
        return response

    @bp.post("/oauth/token")
    @operation("Get a bearer token", form=TokenRequest, answers={200: TokenOut}, scope=None, problems=())
    def post_token() -> Response:
        if any(len(values) > 1 for values in request.form.listvalues()):
            raise TokenRefused("invalid_request", _TWICE)
        if request.form.get("grant_type") != "client_credentials":
            raise _wrong_grant()
        now = deps.clock.now()
        caller = _proved(deps, now)
        deps.admit(caller)
        scopes = _scopes(caller)
        token = tokens.issue(caller, scopes, signers=deps.signers.get(), names=deps.names, now=now)
        body = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": int(tokens.LIFE.total_seconds()),
            "scope": " ".join(sorted(scopes)),
        }
        return Answer(body, headers={"Cache-Control": "no-store", "Pragma": "no-cache"}).response()

    return bp


def _proved(deps: AccessDeps, now: datetime) -> Caller:
    """The client that proves itself by its secret or an assertion. An assertion is spent from here on."""
    for _ in range(2):
        try:
            return _looked_at(deps, now)
        except app_keys.KeysDue as due:
            app_keys.read_again(deps.work, due.client, now=now)
    raise TokenRefused("invalid_client", _BAD_ASSERTION, 401)  # the address was changed in between


def _looked_at(deps: AccessDeps, now: datetime) -> Caller:
    """The client, by the keys that are known here. Raises `TokenRefused`, or `KeysDue`."""
    asserted = _assertion()
    client_id, secret = _credentials() if asserted is None else (request.form.get("client_id"), "")
    with deps.work() as session:
        if asserted is not None:
            audiences = frozenset({deps.names.issuer, f"{deps.names.issuer}/oauth/token"})
            caller = assertions.prove(session, asserted, client_id=client_id, audiences=audiences, now=now)
        else:
            caller = clients.prove(session, client_id or "", secret, now=now)
        if caller is not None and caller.kind is ClientKind.TERMINAL:
            terminals.seen(session, caller.id, now=now)
    if caller is None:
        raise TokenRefused("invalid_client", _BAD_CLIENT if asserted is None else _BAD_ASSERTION, 401)
    return caller


def _assertion() -> str | None:
    """The assertion in the form, if there is one, and nothing else that proves (RFC 7521 section 4.2)."""
    if "client_assertion" not in request.form and "client_assertion_type" not in request.form:
        return None
    if request.headers.get("Authorization") or "client_secret" in request.form:
        raise TokenRefused("invalid_request", _ONE_WAY)
    if request.form.get("client_assertion_type") != assertions.TYPE or "client_assertion" not in request.form:
        detail = Text(
            f"请同时提交 client_assertion 和 client_assertion_type={assertions.TYPE}。",
            f"Send client_assertion and client_assertion_type={assertions.TYPE}, both.",
        )
        raise TokenRefused("invalid_request", detail)
    return request.form["client_assertion"]


def _wrong_grant() -> TokenRefused:
    if "grant_type" in request.form:
        return TokenRefused(
            "unsupported_grant_type",
            Text("仅支持 grant_type=client_credentials。", "Only grant_type=client_credentials is supported."),
        )
    return TokenRefused(
        "invalid_request",
        Text("请以表单提交 grant_type=client_credentials。", "Send grant_type=client_credentials as a form."),
    )


def _credentials() -> tuple[str, str]:
    """`client_secret_basic` or `client_secret_post`, never both (RFC 6749 section 2.3)."""
    header = request.headers.get("Authorization", "")
    posted = "client_secret" in request.form
    if header and posted:
        raise TokenRefused("invalid_request", _ONE_WAY)
    if posted:
        return request.form.get("client_id", "")[:200], request.form["client_secret"][:200]
    kind, _, encoded = header.partition(" ")
    try:
        name, colon, secret = b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if kind.lower() != "basic" or not colon:
        raise TokenRefused("invalid_client", _BAD_CLIENT, 401)
    return unquote_plus(name)[:200], unquote_plus(secret)[:200]


def _scopes(caller: Caller) -> frozenset[Scope]:
    """What was asked for, if the client may have it; everything it may have if nothing was asked for."""
    asked = request.form.get("scope", "").split()
    if not set(asked) <= set(caller.scopes):
        raise TokenRefused(
            "invalid_scope", Text("申请的权限超出该客户端的范围。", "The client may not have this scope.")
        )
    return frozenset(map(Scope, asked)) or caller.scopes
