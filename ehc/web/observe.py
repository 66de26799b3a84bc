"""Every request: an id, security headers, a log line and metrics. The route's template is told, never the path itself."""

import re
import time
from functools import lru_cache

import structlog
from flask import Flask, Response, g, request
from prometheus_client import Counter, Histogram

from ehc.core.randomness import random_bytes

REQUESTS = Counter("ehc_requests", "Requests answered.", ["route", "method", "status"])
SECONDS = Histogram(
    "ehc_request_seconds",
    "Time to answer, by route.",
    ["route"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

# A UUID or 32 hex digits, as tracing systems make them: nothing that could be a document or phone number gets into a log.
_GIVEN_ID = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEADERS = {
    "x-content-type-options": ("X-Content-Type-Options", "nosniff"),
    "referrer-policy": ("Referrer-Policy", "no-referrer"),
    "content-security-policy": ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    "cache-control": ("Cache-Control", "no-store"),
}

log = structlog.get_logger("ehc.requests")


def install(app: Flask) -> None:
    """Watch every request of the app."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _GIVEN_ID.fullmatch(given) else random_bytes(8).hex()
    g.began = time.perf_counter()


def _end(response: Response) -> Response:
    took = time.perf_counter() - g.began
    rule, request_id, caller = request.url_rule, g.request_id, g.get("caller")
    route = rule.rule if rule is not None else "none"
    method = request.method if rule is not None else "other"  # the word itself may be anything
    status = response.status_code
    present = {name.lower() for name, _ in response.headers}
    response.headers.extend(
        [("X-Request-Id", request_id), *(pair for name, pair in _HEADERS.items() if name not in present)]
    )
    counter, timer = _watched(route, method, status)
    counter.inc()
    timer.observe(took)
    log.info(
        "request",
        route=route,
        method=method,
        status=status,
        ms=round(took * 1000, 2),
        request_id=request_id,
        client=caller.id if caller else None,
    )
    return response


@lru_cache(maxsize=1024)
def _watched(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    """The two metrics of a kind of request: looking them up by their labels takes longer than counting."""
    return REQUESTS.labels(route, method, status), SECONDS.labels(route)
