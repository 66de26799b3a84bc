"""A whole deployment for a test: a database with clients in it, and server processes that serve it."""

import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from ehc.access import clients
from ehc.access.clients import Credentials
from ehc.callers import Scope
from ehc.clock import SystemClock
from ehc.commands.context import Deployment
from ehc.commands.db import make_partitions, upgrade_tables
from ehc.commands.keys import init_keys
from ehc.dev.granian import Granian, free_port
from ehc.dev.postgres import EmbeddedPostgres
from ehc.settings import Settings
from tests.e2e.peers import Peer, Unanswered, Wires
from tests.e2e.processes import alive, family, send

HOST = "127.0.0.1"
MANY = {"EHC_CODES_PER_MINUTE": "1000000"}
"""No limit that a test would meet."""


def own_database(postgres: EmbeddedPostgres) -> str:
    """A database with all tables and keys on a PostgreSQL of the test's own; its URL."""
    engine = create_engine(postgres.url("postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE ehc"))
    prepare_database(postgres.url("ehc"))
    return postgres.url("ehc")


def eventually(condition: Callable[[], bool], *, seconds: float = 10, every: float = 0.05) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def allowed(seconds: float) -> float:
    """A limit of time for a machine of one's own; longer by as much as this one has other work to do."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def prepare_database(database_url: str) -> None:
    """All tables and keys, on a PostgreSQL of the test's own."""
    place = Deployment()
    place.settings = Settings.from_env(dict(os.environ) | {"EHC_DATABASE_URL": database_url})
    upgrade_tables(place)
    make_partitions(place)
    init_keys(place)


@dataclass
class Site:
    """The servers, and who may call them: an app, a terminal in each of two institutions."""

    database_url: str
    folder: Path
    engine: Engine
    credentials: dict[str, Credentials]
    servers: list[Granian] = field(default_factory=list)
    peers: dict[str, Peer] = field(default_factory=dict)
    wires: Wires = field(default_factory=Wires)

    @classmethod
    def found(cls, database_url: str, folder: Path, *, terminals: int = 2) -> "Site":
        """A site without servers yet."""
        engine = create_engine(database_url, poolclass=NullPool)
        with Session(engine) as session, session.begin():
            return cls(database_url, folder, engine, _clients(session, terminals))

    def launch(self, *, workers: int = 1, threads: int = 32, ready: str = "/readyz", **env: str) -> Granian:
        """One more server process group, answering."""
        number = len(self.servers)
        metrics = self.folder / f"metrics-{number}"
        metrics.mkdir()
        given = {"EHC_DATABASE_URL": self.database_url, "PROMETHEUS_MULTIPROC_DIR": str(metrics), **MANY, **env}
        log = self.folder / f"server-{number}.log"
        server = Granian(given, port=free_port(), log=log, workers=workers, threads=threads, ready=ready)
        server.start()
        self.servers.append(server)
        return server

    def peer(self, role: str, server: int = 0) -> Peer:
        """A client with a token, at one of the servers. The client logs in once, wherever it calls."""
        port = self.servers[server].port
        if role not in self.peers:
            self.peers[role] = Peer(HOST, port, self.credentials[role], self.wires).log_in()
        return self.peers[role].at(port)

    def rows(self, sql: str, **values: Any) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(sql), values))

    def count(self, table: str) -> int:
        (row,) = self.rows(f"SELECT count(*) FROM {table}")
        return int(row[0])

    def log_text(self) -> str:
        return "".join(server.log.read_text(encoding="utf-8") for server in self.servers)

    def close(self) -> None:
        with ExitStack() as stack:
            for server in self.servers:
                stack.callback(server.stop)
        self.wires.close()
        self.engine.dispose()


def kill_at_once(server: Granian) -> None:
    """SIGKILL for the parent and its workers, as a power cut of that machine would. The port is free afterwards."""
    pids = family(server.pid)
    send(pids, Signals.SIGKILL)
    server.wait(10)
    assert eventually(lambda: not any(map(alive, pids)) and _is_free(server.port), every=0.005)


def _is_free(port: int) -> bool:
    """Whether nobody listens: the threads of a killed process end a moment after it."""
    with socket.socket() as probe, suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        return True
    return False


def healthy(peer: Peer) -> bool:
    """Whether the service answers as if nothing had happened."""
    try:
        return peer.get("/healthz").status == 200
    except Unanswered:
        return False


def _clients(session: Session, terminals: int) -> dict[str, Credentials]:
    now = SystemClock().now()
    owners = [clients.add_institution(session, code=f"H{n}", name=f"第 {n} 医院", now=now) for n in (1, 2)]
    made = {
        "app": clients.add_app(session, name="小程序", scopes=frozenset({Scope.CARDS, Scope.CODES}), now=now),
    }
    for n in range(terminals):
        made[f"terminal-{n}"] = clients.add_terminal(
            session, name=f"窗口 {n}", terminal_code=f"T{n}", owner=owners[n % 2], now=now
        )
    return made
