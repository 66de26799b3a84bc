"""How the simulated bank tells a service of a notice: a signed POST, as docs/bank-gateway.md has it."""

import json
import time
import urllib.error
import urllib.request
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

from ehc.outside.signed_http import PartyKey


def deliver(key: PartyKey, url: str, notice: dict[str, Any]) -> dict[str, Any]:
    """What the service answered: `status`, and its JSON as `body`. Raises `ValueError` for an address that is not loopback."""
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
            return {"status": answer.status, "body": json.load(answer)}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "body": json.load(error)}
