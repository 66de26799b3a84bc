"""A small client of the API, for the demo: what an integrator would write in any language."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode


@dataclass(frozen=True)
class ApiError(Exception):
    """A problem document, or what came instead."""

    status: int
    body: dict[str, Any]


@dataclass
class Client:
    """One client of the service: gets its token, sends JSON."""

    base_url: str
    client_id: str
    client_secret: str
    token: str = ""

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a POST. Raises `ApiError`."""
        return self._send("POST", path, body)

    def get(self, path: str) -> dict[str, Any]:
        """The answer to a GET. Raises `ApiError`."""
        return self._send("GET", path, None)

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        self.token = self.token or self._fetch_token()
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        return _call(urllib.request.Request(self.base_url + path, data, headers, method=method))  # noqa: S310 - ours

    def _fetch_token(self) -> str:
        form = {"grant_type": "client_credentials", "client_id": self.client_id, "client_secret": self.client_secret}
        request = urllib.request.Request(self.base_url + "/oauth/token", urlencode(form).encode())  # noqa: S310 - ours
        token: str = _call(request)["access_token"]
        return token


def _call(request: urllib.request.Request) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - ours
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        raise ApiError(error.code, json.loads(error.read() or b"{}")) from None
