"""`/healthz`, `/readyz`, `/metrics`, the public keys, `/openapi.json` and `/docs`: for operators and integrators."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
from flask import Blueprint, Response, current_app, render_template
from marshmallow import Schema, fields
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from ehc.web.answers import Answer, json_response
from ehc.web.auth import anyone
from ehc.web.openapi import described, description, operation

COSE_KEY_SET = "application/cose-key-set"
_PAGE_POLICY = "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class HealthOut(Schema):
    """The process runs."""

    status = fields.String(required=True)


class ReadyOut(Schema):
    """Whether each thing a check needs is there. Redis, and whether workers share the limits, are told and do not count."""

    status = fields.String(required=True)
    checks = fields.Dict(keys=fields.String(), values=fields.Raw(), required=True)


class JwkSetOut(Schema):
    """RFC 7517."""

    keys = fields.List(fields.Dict(), required=True)


@dataclass(frozen=True)
class StatusDeps:
    """What the status pages ask. Each readiness check returns True, False, or None for what does not count."""

    version: str
    readiness: Callable[[], dict[str, bool | None]]
    jwk_set: Callable[[], dict[str, Any]]
    cose_key_set: Callable[[], bytes]
    list_jwk_set: Callable[[], dict[str, Any]]


def blueprint(deps: StatusDeps) -> Blueprint:
    """Public pages: nothing here tells of a person."""
    bp = Blueprint(
        "status", __name__, template_folder="templates", static_folder="static", static_url_path="/static/web"
    )
    bp.before_request(anyone)

    @bp.get("/healthz")
    @operation("The process runs", answers={200: HealthOut}, scope=None)
    def get_health() -> Response:
        return Answer({"status": "ok"}).response()

    @bp.get("/readyz")
    @operation("The service can serve", answers={200: ReadyOut}, scope=None)
    def get_ready() -> Response:
        checks = deps.readiness()
        ready = all(good is not False for name, good in checks.items() if name not in {"redis", "limits"})
        return Answer({"status": "ok" if ready else "unavailable", "checks": checks}, 200 if ready else 503).response()

    @bp.get("/metrics")
    @operation("Prometheus metrics", answers={200: CONTENT_TYPE_LATEST.partition(";")[0]}, scope=None)
    def get_metrics() -> Response:
        return Response(generate_latest(_registry()), content_type=CONTENT_TYPE_LATEST)

    @bp.get("/.well-known/ehc/keys")
    @operation("Public keys that check codes, as a JWK Set", answers={200: JwkSetOut}, scope=None)
    def get_keys() -> Response:
        return Answer(deps.jwk_set(), headers={"Cache-Control": "public, max-age=30"}).response()

    @bp.get("/.well-known/ehc/keys.cose")
    @operation("Public keys that check codes, as a COSE key set", answers={200: COSE_KEY_SET}, scope=None)
    def get_cose_keys() -> Response:
        headers = {"Cache-Control": "public, max-age=30"}
        return Response(deps.cose_key_set(), mimetype=COSE_KEY_SET, headers=headers)

    @bp.get("/.well-known/ehc/list-keys")
    @operation("Public keys that check lists for terminals, as a JWK Set", answers={200: JwkSetOut}, scope=None)
    def get_list_keys() -> Response:
        """Apart from the keys of codes, so that no list can be shown as a code, nor a code as a list."""
        return Answer(deps.list_jwk_set(), headers={"Cache-Control": "public, max-age=30"}).response()

    @bp.get("/openapi.json")
    def get_openapi() -> Response:
        return json_response(orjson.dumps(document()), 200)

    @bp.get("/docs")
    def get_docs() -> Response:
        page = render_template("docs.html", spec=document(), routes=described(current_app))
        return Response(
            page, content_type="text/html; charset=utf-8", headers={"Content-Security-Policy": _PAGE_POLICY}
        )

    @cache
    def document() -> dict[str, Any]:
        return description(current_app, version=deps.version)

    return bp


def _registry() -> CollectorRegistry:
    """All workers' metrics where they share a folder, else this process's own."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has no types here
    return registry
