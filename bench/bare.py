"""What the routes are measured against: Flask with nothing around it, on the same server, doing only the unavoidable work.

`/check` verifies one signature, `/insert` also commits one row, `/sign` signs. Rows go in the fastest way for one request
each: a connection of the thread's own, its statement prepared, one round trip.
"""

import os
from threading import local

import orjson
import psycopg
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask, Response, request

_ECDSA = ec.ECDSA(hashes.SHA256())
_MESSAGE = bytes(65)
"""As long as what is signed in a code."""
_PRIVATE = ec.generate_private_key(ec.SECP256R1())
_PUBLIC = _PRIVATE.public_key()
_SIGNATURE = _PRIVATE.sign(_MESSAGE, _ECDSA)

app = Flask("bare", static_folder=None)
_own = local()


@app.get("/ready")
def get_ready() -> Response:
    """The server is up."""
    return _json({"status": "ok"})


@app.post("/check")
def post_check() -> Response:
    """Parse, verify, answer."""
    wanted = orjson.loads(request.get_data())
    _PUBLIC.verify(_SIGNATURE, _MESSAGE, _ECDSA)
    return _json({"outcome": "accepted", "step": wanted["step"]})


@app.post("/insert")
def post_insert() -> Response:
    """Parse, verify, commit one row, answer."""
    wanted = orjson.loads(request.get_data())
    _PUBLIC.verify(_SIGNATURE, _MESSAGE, _ECDSA)
    _cursor().execute("INSERT INTO bench_row (step) VALUES (%s)", (wanted["step"],), prepare=True)
    return _json({"outcome": "accepted", "step": wanted["step"]})


@app.post("/sign")
def post_sign() -> Response:
    """Parse, sign, answer."""
    wanted = orjson.loads(request.get_data())
    return _json({"code": _PRIVATE.sign(_MESSAGE, _ECDSA).hex(), "kind": wanted["kind"]}, 201)


def _json(body: dict[str, str], status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, mimetype="application/json")


def _cursor() -> psycopg.Cursor:
    cursor: psycopg.Cursor | None = getattr(_own, "cursor", None)
    if cursor is None:
        cursor = _own.cursor = psycopg.connect(os.environ["EHC_BENCH_DATABASE"], autocommit=True).cursor()
    return cursor
