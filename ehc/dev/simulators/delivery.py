"""How the simulated bank tells a service of a notice: a signed POST, as docs/bank-gateway.md has it."""

import json
import time
import urllib.error
import urllib.request
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

from ehc.outside.signed_http import LIMIT, PartyKey, signed_by


def deliver(key: PartyKey, url: str, notice: dict[str, Any]) -> dict[str, Any]:
    """What the service answered: `status`, its JSON as `body`, and whether the answer is `signed` for this very request.

    A service that is not there has the status None. Raises `ValueError` for an address that is not loopback.
    """
    address = urlsplit(url)
    if address.scheme != "http" or address.hostname not in ("127.0.0.1", "localhost"):
        raise ValueError
    body, at, nonce = json.dumps(notice).encode(), int(time.time()), token_hex(16)
    headers = {
        "Content-Type": "application/json",
        "X-Ehc-Key": key.key_id,
        "X-Ehc-Time": str(at),
        "X-Ehc-Nonce": nonce,
        "X-Ehc-Signature": key.sign_request(address.path, at, nonce, body),
    }
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - loopback, see above
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
            status, got, told = answer.status, answer.headers, answer.read(LIMIT)
    except urllib.error.HTTPError as error:
        with error:
            status, got, told = error.code, error.headers, error.read(LIMIT)
    except OSError:
        return {"status": None, "body": None, "signed": False}
    at = got.get("X-Ehc-Time", "")
    signature = key.sign_answer(status, address.path, int(at), nonce, told) if at.isascii() and at.isdigit() else ""
    ours = signed_by(signature, got, key=key, now=int(time.time())) and got.get("X-Ehc-Nonce") == nonce
    return {"status": status, "body": _json(told), "signed": ours}


def _json(told: bytes) -> Any:
    try:
        return json.loads(told)
    except ValueError:
        return None
