"""The OpenAPI 3.1 description, made from what stands beside each route, so that it cannot drift from the code.

apispec alone, not flask-smorest: the latter parses and dumps in its own wrappers, which a check has no time for.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask
from marshmallow import Schema, fields

from ehc.callers import Reach, Right, Scope

View = TypeVar("View", bound=Callable[..., Any])
_MARK = "__ehc_operation__"
_CONVERTER = re.compile(r"<(?:uuid:)?(\w+)>")


class FieldErrorOut(Schema):
    """One wrong member."""

    pointer = fields.String(required=True, metadata={"description": "JSON pointer into the request."})
    code = fields.String(required=True)
    message = fields.String(required=True)


class ProblemOut(Schema):
    """RFC 9457. `code` is stable; the sentences follow Accept-Language."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    code = fields.String(required=True)
    detail = fields.String(required=True)
    request_id = fields.String(required=True, allow_none=True)
    errors = fields.List(fields.Nested(FieldErrorOut))


@dataclass(frozen=True)
class Operation:
    """What the description says of one route."""

    summary: str
    answers: Mapping[int, type[Schema] | str | None]
    """By status; None is an answer without a body."""
    scope: Scope | None = None
    right: Right | None = None
    """What it asks of the staff; with neither a scope nor a right, or `staff`, anyone may call."""
    staff: bool = False
    """Whether anybody of the staff may call, whatever their roles."""
    resident: Reach | None = None
    """How far a resident's own token goes here; None: it is refused."""
    problems: Iterable[int] = ()
    body: type[Schema] | None = None
    form: type[Schema] | None = None
    upload: str | None = None
    """The media type of a body that is a file, of any size that the service takes."""
    query: type[Schema] | None = None
    idempotent: bool = False
    conditional: bool = False
    description: str = field(default="")


def operation(summary: str, **facts: Any) -> Callable[[View], View]:
    """Say what a route does; `facts` are the members of `Operation`. A string answer is a media type."""

    def mark(view: View) -> View:
        setattr(view, _MARK, Operation(summary, description=(view.__doc__ or "").strip(), **facts))
        return view

    return mark


def told_of(view: Callable[..., Any] | None) -> Operation | None:
    """What was said of a view."""
    return getattr(view, _MARK, None)


def described(app: Flask) -> list[tuple[str, str, str, Operation]]:
    """Every described route: its path with `{names}`, its method, endpoint and what it says. Tokens and `/v1` come first."""
    found = []
    for rule in app.url_map.iter_rules():
        told = told_of(app.view_functions[rule.endpoint])
        method = next(iter(sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})), "GET")
        if told is not None:
            found.append((_CONVERTER.sub(r"{\1}", rule.rule), method, rule.endpoint, told))
    return sorted(found, key=lambda route: (not route[0].startswith(("/oauth", "/v1")), route[0], route[1]))


def description(app: Flask, *, version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the app."""
    spec = APISpec(
        title="ehc 电子健康卡",
        version=version,
        openapi_version="3.1.0",
        plugins=[
            MarshmallowPlugin(
                schema_name_resolver=lambda schema: (schema if isinstance(schema, type) else type(schema)).__name__
            )
        ],
        info={"description": "Accounts, rotating codes and checks of electronic health cards."},
    )
    flow = {"tokenUrl": "/oauth/token", "scopes": {str(scope): f"May use {scope}." for scope in Scope}}
    spec.components.security_scheme("oauth2", {"type": "oauth2", "flows": {"clientCredentials": flow}})
    session = {
        "type": "http",
        "scheme": "bearer",
        "description": "A session of the staff, from POST /v1/admin/sessions.",
    }
    spec.components.security_scheme("staff", session)
    resident = {"type": "http", "scheme": "bearer", "description": "A session of a resident, from POST /v1/sessions."}
    spec.components.security_scheme("resident", resident)
    spec.components.schema("Problem", schema=ProblemOut)
    for path, method, endpoint, told in described(app):
        spec.path(path=path, operations={method.lower(): _operation(path, endpoint, told)})
    return spec.to_dict()


def _operation(path: str, endpoint: str, told: Operation) -> dict[str, Any]:
    body: dict[str, Any] = {
        "operationId": endpoint.rpartition(".")[2],
        "summary": told.summary,
        "tags": [endpoint.partition(".")[0]],
        "parameters": [*_parameters(path, told)],
        "responses": {**_answers(told), **_problems(told)},
    }
    if told.description:
        body["description"] = told.description
    if told.scope:
        body["security"] = [{"oauth2": [told.scope]}]
    if told.resident:
        body["security"] = [*body.get("security", ()), {"resident": []}]
    if told.staff or told.right:
        body["security"] = [{"staff": []}]
    if told.right:
        body["description"] = f"{body.get('description', '')}\n\nAsks for the right `{told.right}`.".strip()
    for media_type, schema in (("application/json", told.body), ("application/x-www-form-urlencoded", told.form)):
        if schema is not None:
            body["requestBody"] = {"required": True, "content": {media_type: {"schema": schema}}}
    if told.upload:
        body["requestBody"] = {"required": True, "content": {told.upload: {"schema": {"type": "string"}}}}
    return body


def _parameters(path: str, told: Operation) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
    if told.query is not None:
        yield {"in": "query", "schema": told.query}
    if told.idempotent:
        about = "Sent twice, carried out once; kept 24 h. 1-255 visible ASCII characters."
        shape: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
        yield {"name": "Idempotency-Key", "in": "header", "description": about, "schema": shape}
    if told.conditional:
        about = "The ETag that came with the card: refuses if the card changed since."
        shape = {"type": "string", "pattern": r'^"[0-9]{1,18}"$'}
        yield {"name": "If-Match", "in": "header", "description": about, "schema": shape}


def _answers(told: Operation) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, shape in told.answers.items():
        if shape is None:
            answers[str(status)] = {"description": told.summary}
            continue
        media_type, schema = (shape, {"type": "string"}) if isinstance(shape, str) else ("application/json", shape)
        answers[str(status)] = {"description": told.summary, "content": {media_type: {"schema": schema}}}
    return answers


def _problems(told: Operation) -> dict[str, Any]:
    every = {*told.problems, 503}
    if told.scope or told.staff or told.right:
        every |= {401, 403}
    if told.body:
        every |= {400, 413, 415, 422}
    if told.form:
        every |= {400, 401, 413}
    if told.idempotent:
        every |= {409, 422}
    content: dict[str, Any] = {"application/problem+json": {"schema": ProblemOut}}
    if told.form:  # the token endpoint answers as RFC 6749 section 5.2 says
        content = {"application/json": {"schema": {"type": "object", "required": ["error"]}}, **content}
    return {str(status): {"description": "A problem document", "content": content} for status in sorted(every)}
