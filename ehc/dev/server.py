"""What the embedded servers have in common: one owner, a start that cleans up after a crash, a stop in order."""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from signal import Signals
from types import TracebackType
from typing import ClassVar, Self

from ehc.dev.leftovers import Leftovers
from ehc.dev.process import Account, DevServerError, OwnerLock, ServerProcess, open_log, server_environment, tail_of


class EmbeddedServer:
    """The base. One object is one server; after `stop` or `kill` it can be started again."""

    title: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]
    farewell: ClassVar[Signals]
    steps: ClassVar[tuple[tuple[Signals, float], ...]]

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.resolve()
        self.log = self.data_dir.with_name(self.data_dir.name + ".log")
        self._lock = OwnerLock(self.data_dir.with_name(self.data_dir.name + ".lock"))
        self._process: ServerProcess | None = None
        self._socket_dir: Path | None = None

    def running(self) -> bool:
        """Whether the server that this object started is still there."""
        return self._process is not None and self._process.running()

    def stop(self) -> None:
        """Stop in order and let the next owner in. Nothing happens when it is not running."""
        if self._process is not None:
            self._process.stop(self.steps)
        if self._socket_dir is not None:
            shutil.rmtree(self._socket_dir, ignore_errors=True)
            self._socket_dir = None
        self._let_go()

    def kill(self) -> None:
        """End the server at once, as a crash would: nothing is flushed, closed or tidied."""
        if self._process is not None:
            self._process.stop([(Signals.SIGKILL, 10)])
            self._leftovers(self._process.account).kill()
        self._let_go()

    def socket_dir(self) -> Path:
        """The private folder with the server's socket. Raises `DevServerError` before the first start."""
        if self._socket_dir is None:
            raise DevServerError(f"{self.title} is not started")
        return self._socket_dir

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> str | None:
        """Start the server; its URL comes back. Raises `DevServerError`."""
        raise NotImplementedError

    def _take(self) -> None:
        if not self.running():  # an own server that has crashed does not hold the lock against us
            self._let_go()
        self._lock.acquire()

    def _let_go(self) -> None:
        self._process = None
        self._lock.release()

    def _leftovers(self, account: Account) -> Leftovers:
        return Leftovers(self.data_dir, self.programs, frozenset({os.geteuid(), account.uid}))

    def _environment(self) -> dict[str, str]:
        """What the server is told of its surroundings."""
        return server_environment()

    def _launch(
        self, command: Sequence[str], account: Account, ready: Callable[[], bool], *, seconds: float = 60
    ) -> None:
        """Start `command` and wait until it is `ready`. Raises `DevServerError` with the end of its log."""
        with open_log(self.log) as log:
            since = log.seek(0, os.SEEK_END)
            process = self._process = ServerProcess(
                command, log, farewell=self.farewell, account=account, env=self._environment()
            )
        deadline = time.monotonic() + seconds
        while not ready():
            status = process.wait(0.02)
            if status is not None or time.monotonic() > deadline:
                reason = f"was not ready after {seconds:.0f} s" if status is None else f"ended with status {status}"
                self.kill()
                raise DevServerError(f"{self.title} {reason}; {self.log} says:\n{tail_of(self.log, since=since)}")
