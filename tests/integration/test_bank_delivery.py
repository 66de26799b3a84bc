"""The simulated bank's webhook over a socket: it tells a service that signs its answer from one that does not."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from urllib3 import HTTPHeaderDict

from ehc.clock import SystemClock
from ehc.dev.simulators.delivery import deliver
from ehc.outside.signed_http import PartyKey, answer_headers, request_signed

KEY = PartyKey("a-bank", b"b" * 32)
PATH, NOTICE, TAKEN = "/v1/bank-notices", {"notice_id": "B-1"}, b'{"result":"taken"}'
Sign = Callable[[str, int], dict[str, str]]


@contextmanager
def service(sign: Sign, *, status: int = 200) -> Iterator[str]:
    """The URL of one that answers requests of `KEY` with the headers that `sign` makes."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers, now = HTTPHeaderDict(self.headers.items()), int(SystemClock().now().timestamp())
            body = self.rfile.read(int(headers["Content-Length"]))
            admitted = json.loads(body) == NOTICE and request_signed(self.path, headers, body, key=KEY, now=now)
            self.send_response(status if admitted else 401)
            for name, value in (sign(headers["X-Ehc-Nonce"], now) | {"Content-Length": str(len(TAKEN))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(TAKEN)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}{PATH}"
        server.shutdown()


def rightly(nonce: str, now: int) -> dict[str, str]:
    return answer_headers(PATH, nonce, TAKEN, key=KEY, now=now)


def test_an_answer_signed_for_this_notice_is_told_as_such() -> None:
    with service(rightly) as url:
        assert deliver(KEY, url, NOTICE) == {"status": 200, "body": {"result": "taken"}, "signed": True}


@pytest.mark.parametrize(
    "sign",
    [
        lambda nonce, now: {},
        lambda nonce, now: rightly("f" * 32, now),
        lambda nonce, now: rightly(nonce, now) | {"X-Ehc-Nonce": "f" * 32},
        lambda nonce, now: rightly(nonce, now - 400),
        lambda nonce, now: answer_headers(PATH, nonce, TAKEN, key=PartyKey("a-bank", b"c" * 32), now=now),
        lambda nonce, now: answer_headers(PATH, nonce, b"{}", key=KEY, now=now),
        lambda nonce, now: rightly(nonce, now) | {"X-Ehc-Time": "now"},
    ],
    ids=["not at all", "for another", "another nonce", "long ago", "another key", "another body", "no time"],
)
def test_any_other_answer_is_not(sign: Sign) -> None:
    with service(sign) as url:
        assert deliver(KEY, url, NOTICE)["signed"] is False


def test_a_refusal_is_told_with_its_status() -> None:
    with service(lambda nonce, now: {}, status=503) as url:
        assert deliver(KEY, url, NOTICE) == {"status": 503, "body": {"result": "taken"}, "signed": False}
    with service(lambda nonce, now: {}) as url:
        assert deliver(PartyKey("a-bank", b"c" * 32), url, NOTICE)["status"] == 401


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/", "https://127.0.0.1/", "http://bank.example/", "file:///etc/hosts"]
)
def test_it_tells_nobody_beyond_this_machine(url: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        deliver(KEY, url, NOTICE)
