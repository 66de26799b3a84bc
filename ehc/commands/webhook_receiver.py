"""`ehc dev webhook-receiver`: a receiver of webhooks for development. It checks signatures, and misbehaves if told to."""

import hmac
import json
import sys
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any, TextIO

import click

MODES = ("ok", "down", "slow", "error", "gone", "redirect", "huge", "poison", "too-many")
_FRESH = 300
_HUGE = 64 * 2**20


@dataclass
class Manners:
    """How it behaves, and what it was sent. `mode` may be changed while it runs."""

    secrets: tuple[str, ...] = ()
    mode: str = "ok"
    seconds: float = 30
    log: TextIO | None = None
    seen: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, headers: Mapping[str, str], body: bytes, status: int) -> None:
        """Keep what was sent, and write it as a line."""
        event = json.loads(body)
        signed = verified(self.secrets, headers, body, now=time.time()) if self.secrets else None
        told = {"id": headers.get("webhook-id"), "signed": signed, "status": status, **event}
        with self.lock:
            self.seen.append(told)
            if self.log is not None:
                self.log.write(json.dumps(told) + "\n")
                self.log.flush()


def verified(secrets: tuple[str, ...], headers: Mapping[str, str], body: bytes, *, now: float) -> bool:
    """Whether one of the signatures is by one of our secrets, and no more than five minutes old."""
    message_id, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not at.isdigit() or abs(now - int(at)) > _FRESH:
        return False
    content = f"{message_id}.{at}.".encode() + body
    ours = [
        b"v1," + b64encode(hmac.digest(b64decode(secret.removeprefix("whsec_")), content, "sha256"))
        for secret in secrets
    ]
    theirs = headers.get("webhook-signature", "").encode().split()
    return any(hmac.compare_digest(one, other) for one in ours for other in theirs)


class Receiver(ThreadingHTTPServer):
    """Listens at an address, port 0 for any free one. `serve_forever` serves until `shutdown`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], manners: Manners) -> None:
        self.manners = manners
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """As the base, without asking the name service for our own name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of connections that the other side ended."""

    @property
    def url(self) -> str:
        """Where to send to."""
        return f"http://{self.server_name}:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 60
    server: Receiver

    def do_POST(self) -> None:
        """An event."""
        manners = self.server.manners
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        mode = manners.mode
        status = {"error": 500, "gone": 410, "redirect": 302, "poison": 422, "too-many": 429}.get(mode, 200)
        manners.take({name.lower(): value for name, value in self.headers.items()}, body, status)
        if mode == "down":
            self.close_connection = True
            return
        if mode == "slow":
            time.sleep(manners.seconds)
        self.send_response(status)
        if mode == "redirect":
            self.send_header("Location", self.server.url + "/elsewhere")
        if mode == "too-many":
            self.send_header("Retry-After", "120")
        self.send_header("Content-Length", str(_HUGE if mode == "huge" else 0))
        self.end_headers()
        if mode == "huge":
            for _ in range(_HUGE // 2**16):
                self.wfile.write(b"\x00" * 2**16)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: `Manners.take` writes what came."""


@click.command("webhook-receiver")
@click.option(
    "--bind", default="127.0.0.1:9000", show_default=True, help="IPv4 address and port; port 0 is any free one."
)
@click.option("--secret", "secrets", multiple=True, help="whsec_…; signatures are checked against each.")
@click.option("--mode", type=click.Choice(MODES), default="ok", show_default=True)
@click.option("--seconds", type=float, default=30, show_default=True, help="How long `slow` takes.")
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="[default: standard output]")
@click.option("--address-file", type=click.Path(dir_okay=False, path_type=Path), help="Write the URL there.")
def webhook_receiver(
    *, bind: str, secrets: tuple[str, ...], mode: str, seconds: float, log: Path | None, address_file: Path | None
) -> None:
    """Take webhooks and write each as a line of JSON, until Ctrl-C."""
    host, _, port = bind.rpartition(":")
    out: TextIO = sys.stdout
    if log is not None:
        out = log.open("a", encoding="utf-8")
    server = Receiver((host, int(port)), Manners(secrets, mode, seconds, out))
    if address_file is not None:
        address_file.write_text(server.url, encoding="ascii")
    click.echo(server.url, err=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
