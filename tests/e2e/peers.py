"""Clients of a service that runs elsewhere: plain HTTP over sockets, one connection for each thread."""

import base64
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlencode

from ehc.access.clients import Credentials
from tests.support.service import person

Unanswered = (OSError, HTTPException)
"""What a caller sees when the service ends in the middle of a call."""


@dataclass(frozen=True)
class Reply:
    """An answer: its status, its headers (names in small letters) and its body."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        found = json.loads(self.raw)
        assert isinstance(found, dict)
        return found

    def is_a_refusal_for_now(self) -> bool:
        """A 503 as the contract has it: a problem document that says when to come again."""
        return (
            self.status == 503
            and self.headers.get("content-type") == "application/problem+json"
            and int(self.headers["retry-after"]) >= 1
            and self.body["status"] == 503
            and self.body["code"] == "unavailable"
        )


class Wires:
    """The open connections of a test, one for each thread and client, so that they can be closed together."""

    def __init__(self) -> None:
        self._held: dict[object, HTTPConnection] = {}

    def of(self, owner: "Peer") -> HTTPConnection:
        mark = threading.get_ident(), id(owner)
        return self._held.setdefault(mark, HTTPConnection(owner.host, owner.port, timeout=owner.seconds))

    def close(self) -> None:
        for connection in self._held.values():
            connection.close()


@dataclass
class Peer:
    """One client at one address. Raises one of `Unanswered` where no whole answer comes."""

    host: str
    port: int
    credentials: Credentials
    wires: Wires
    seconds: float = 30
    token: str = ""

    def at(self, port: int) -> "Peer":
        """The same client, with the same token, at another process of the service."""
        return replace(self, port=port)

    def log_in(self) -> "Peer":
        form = urlencode({"grant_type": "client_credentials"}).encode()
        pair = f"{self.credentials.client_id}:{self.credentials.client_secret}".encode()
        headers = {
            "Authorization": f"Basic {base64.b64encode(pair).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        reply = self.send("POST", "/oauth/token", form, headers)
        assert reply.status == 200, reply.raw
        self.token = str(reply.body["access_token"])
        return self

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send("POST", path, json.dumps(body).encode(), self._bearer() | named)

    def get(self, path: str, **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send("GET", path, None, self._bearer() | named)

    def register(self, serial: int = 1, **changes: Any) -> str:
        """The card id of a person."""
        reply = self.post("/v1/cards", person(serial, **changes))
        assert reply.status in {200, 201}, reply.raw
        return str(reply.body["card_id"])

    def code(self, card_id: str) -> str:
        reply = self.post(f"/v1/cards/{card_id}/codes", {})
        assert reply.status == 201, reply.raw
        return str(reply.body["code"])

    def scan(self, code: str) -> Reply:
        return self.post("/v1/verifications", {"code": code, "step": "registration"})

    def send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        connection = self.wires.of(self)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            reply = Reply(answer.status, told, answer.read())
        except Unanswered:
            connection.close()  # the next call opens it again
            raise
        if reply.status in {401, 403, 404, 413}:  # refused with its body unread: the service may hang up in a moment
            connection.close()
        return reply

    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}


@dataclass(frozen=True)
class Call:
    """One call of a load: when it began and ended (Unix seconds), and its answer, or None where none came."""

    what: str
    began: float
    ended: float
    reply: Reply | None

    @property
    def accepted(self) -> bool:
        return self.reply is not None and self.reply.status == 200 and self.reply.body["outcome"] == "accepted"


class Load:
    """Threads that do one thing over and over until the block ends; every call is kept. A failed assertion is raised."""

    def __init__(self, *jobs: Callable[["Load"], None]) -> None:
        self.calls: list[Call] = []
        self._ended = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(job,), daemon=True) for job in jobs]

    def call(self, what: str, act: Callable[[], Reply]) -> Reply | None:
        """Do and keep one call; its answer, or None where it was cut off or nobody was there."""
        began = time.time()
        try:
            reply = act()
        except ConnectionRefusedError:  # nobody is there: no call was made
            self._ended.wait(0.02)
            return None
        except Unanswered:
            reply = None
        self.calls.append(Call(what, began, time.time(), reply))
        return reply

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads)
        if self._failures:
            raise self._failures[0]

    def of(self, what: str) -> list[Call]:
        return [call for call in list(self.calls) if call.what == what]

    def _run(self, job: Callable[["Load"], None]) -> None:
        try:
            while not self._ended.is_set():
                job(self)
        except BaseException as error:
            self._failures.append(error)


def show_and_scan(app: Peer, terminal: Peer, card_id: str) -> Callable[[Load], None]:
    """The job of a load: fetch a code of a card, check it at a terminal."""

    def job(load: Load) -> None:
        shown = load.call("code", lambda: app.post(f"/v1/cards/{card_id}/codes", {}))
        if shown is not None and shown.status == 201:
            code = shown.body["code"]
            load.call("scan", lambda: terminal.scan(code))

    return job
