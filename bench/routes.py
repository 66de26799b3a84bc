"""Routes under load, over bare ones on a like server: one worker, 32 threads, 32 connections, in turns."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles

from bench import load, open_platform, provincial
from bench.ground import Card, Ground
from ehc.dev.client import Client
from ehc.dev.granian import Granian, free_port

ROOT = Path(__file__).parent.parent
_WARM = 2
"""Rounds that are not counted."""


@dataclass(frozen=True)
class Shot:
    """One burst of requests: its rate, the time each took, and the share of a core that sending them took."""

    rate: float
    times: list[float]
    sender: float


@dataclass(frozen=True)
class Route:
    """A route and how to make the requests of a burst, just before it."""

    server: Granian
    status: int
    expected: str
    requests: Callable[[], list[bytes]]

    def shoot(self) -> Shot:
        """Send a burst from a process of its own. Raises `RuntimeError` when an answer is not the expected one."""
        command = [sys.executable, "-m", "bench.load", self.server.host, str(self.server.port), str(self.status)]
        sent = subprocess.run(
            [*command, self.expected],
            input=load.frames(self.requests()),
            stdout=subprocess.PIPE,
            check=True,
            cwd=ROOT,
            timeout=120,
        )
        found = json.loads(sent.stdout)
        if found["wrong"]:
            raise RuntimeError(f"{found['wrong']} answers were not as expected, the first: {found['example']}")
        return Shot(len(found["times"]) / found["seconds"], found["times"], found["cpu"] / found["seconds"])


@dataclass(frozen=True)
class Bursts:
    """The counted bursts of one route."""

    shots: list[Shot]

    @property
    def rate(self) -> float:
        """Requests a second, the median of the bursts."""
        return median(shot.rate for shot in self.shots)

    @property
    def sender(self) -> float:
        """The largest share of a core that the load generator took."""
        return max(shot.sender for shot in self.shots)

    def milliseconds(self, percent: int) -> float:
        """A percentile of the times of all requests."""
        times = [each for shot in self.shots for each in shot.times]
        return quantiles(times, n=100)[percent - 1] * 1000

    def over(self, bare: "Bursts") -> list[float]:
        """The ratio of each round."""
        return [ours.rate / theirs.rate for ours, theirs in zip(self.shots, bare.shots, strict=True)]


def in_turns(rounds: int, *routes: Route) -> list[Bursts]:
    """Bursts of each route in turn, so that what else the machine does meets them all."""
    shots: list[list[Shot]] = [[] for _ in routes]
    for turn in range(-_WARM, rounds):
        for route, into in zip(routes, shots, strict=True):
            shot = route.shoot()
            if turn >= 0:
                into.append(shot)
    return [Bursts(each) for each in shots]


class Routes:
    """The routes of the service and the bare ones, both servers running."""

    def __init__(self, ground: Ground, service: Granian, bare: Granian, unguarded: Granian) -> None:
        self._ground, self._service, self._bare, self._unguarded = ground, service, bare, unguarded
        self._terminal, self._app = (self._token(role) for role in ("terminal", "app"))

    def verify(self, cards: list[Card] | None = None) -> Route:
        """`POST /v1/verifications`, each with a fresh code of another card: of these, or of all."""

        def requests() -> list[bytes]:
            codes = self._ground.codes(self._ground.cards if cards is None else cards)
            return [load.request("POST", "/v1/verifications", _scan(code), self._terminal) for code in codes]

        return Route(self._service, 200, '"outcome":"accepted"', requests)

    def verify_unguarded(self) -> Route:
        """The same of a service that asks nobody who they are, whence they call, or how often."""
        return replace(self.verify(), server=self._unguarded)

    def verify_soap(self) -> Route:
        """The same through the provincial interface."""
        known = provincial.account(self._ground)

        def requests() -> list[bytes]:
            codes = self._ground.codes(self._ground.cards)
            bodies = (provincial.check(known, code) for code in codes)
            path, kind = provincial.PATH, provincial.CONTENT_TYPE
            return [load.request("POST", path, body, content_type=kind) for body in bodies]

        return Route(self._service, 200, "3005", requests)

    def verify_json(self) -> Route:
        """The same through the open platform."""
        known = open_platform.account(self._ground)

        def requests() -> list[bytes]:
            at = int(self._ground.place.clock.now().timestamp())
            return [open_platform.check(known, code, at=at) for code in self._ground.codes(self._ground.cards)]

        return Route(self._service, 200, '"resultCode":0', requests)

    def codes(self) -> Route:
        """`POST /v1/cards/{id}/codes`, once for each card."""
        made = [
            load.request("POST", f"/v1/cards/{card.id}/codes", b'{"kind":"dynamic"}', self._app)
            for card in self._ground.cards
        ]
        return Route(self._service, 201, '"code":"691', lambda: made)

    def bare_check(self) -> Route:
        """One signature check, with a body as long as a scan's."""
        return self._bare_route("/check", 200, "accepted", _scan("6" * 283))

    def bare_insert(self) -> Route:
        """One signature check and one row."""
        return self._bare_route("/insert", 200, "accepted", _scan("6" * 283))

    def bare_sign(self) -> Route:
        """One signature."""
        return self._bare_route("/sign", 201, '"code":', b'{"kind":"dynamic"}')

    def worker_mb(self) -> float:
        """Resident memory of the service's worker."""
        listed = subprocess.run(["ps", "-A", "-o", "ppid=,rss="], stdout=subprocess.PIPE, check=True, text=True).stdout
        pairs = (map(int, line.split()) for line in listed.splitlines())
        return max(rss for parent, rss in pairs if parent == self._service.pid) / 1024

    def _bare_route(self, path: str, status: int, expected: str, body: bytes) -> Route:
        made = [load.request("POST", path, body)] * len(self._ground.cards)
        return Route(self._bare, status, expected, lambda: made)

    def _token(self, role: str) -> str:
        client = Client(
            self._service.url, *(self._ground.credentials[role][key] for key in ("client_id", "client_secret"))
        )
        client.get("/healthz")
        return client.token


@contextmanager
def serving(ground: Ground) -> Iterator[Routes]:
    """The service as production runs it, its log in a file and its metrics shared, and beside it the bare app."""
    metrics = ground.folder.resolve() / f"metrics-{time.time_ns()}"
    metrics.mkdir()
    env = ground.env | {"PROMETHEUS_MULTIPROC_DIR": str(metrics)}
    service = Granian(env, port=free_port(), log=ground.folder / "ehc.log", folder=ROOT)
    log = ground.folder / "bare.log"
    bare = Granian(ground.env, port=free_port(), log=log, app="bench.bare:app", ready="/ready", folder=ROOT)
    whose = {"EHC_BENCH_CALLER": ground.credentials["terminal"]["client_id"]}
    log = ground.folder / "unguarded.log"
    unguarded = Granian(
        env | whose, port=free_port(), log=log, app="bench.unguarded:app", ready="/healthz", folder=ROOT
    )
    servers = service, bare, unguarded
    try:
        for server in servers:
            server.start()
        yield Routes(ground, *servers)
    finally:
        for server in servers:
            server.stop()
        for file in metrics.glob("*.db"):
            file.unlink()
        metrics.rmdir()


def _scan(code: str) -> bytes:
    return json.dumps({"code": code, "step": "registration", "channel": "window"}).encode()
