"""A server that lives and dies with the process that started it.

The server is a direct child in a session of its own, so that Ctrl-C in the terminal reaches this process, which stops
the server in order. A watcher, a shell that waits for the end of a pipe, stops it when this process is gone without
having done so. A pipe, not PR_SET_PDEATHSIG: that one is Linux only, also fires when merely the starting thread ends,
and is set from a `preexec_fn`, which is not safe in a process with threads.
"""

import fcntl
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import IO

_LOG_LIMIT = 4 * 1024 * 1024
_WATCH = 'read -r _; kill -s "$1" "$2"; kill -s CONT "$2"'
# two seconds later at most, what it started goes too: a worker of granian may outlive its parent, and keep the port
_WATCH_GROUP = _WATCH + '; n=20; while kill -0 "$2" && [ $((n -= 1)) -gt 0 ]; do sleep 0.1; done; kill -s KILL -- "-$2"'


class DevServerError(RuntimeError):
    """An embedded server cannot be started or stopped. The text is one for the developer at the terminal."""


@dataclass(frozen=True)
class Account:
    """Who a server runs as: a user and group, or ourselves (None), and a command that switches to it."""

    uid: int
    gid: int
    switch: bool = False
    prefix: tuple[str, ...] = ()


def ourselves() -> Account:
    """The account this process runs as."""
    return Account(os.geteuid(), os.getegid())


class ServerProcess:
    """A running child and its watcher. Raises `DevServerError` where the program cannot be started at all."""

    def __init__(
        self, command: Sequence[str], log: IO[bytes], *, farewell: Signals, account: Account, env: Mapping[str, str],
        group: bool = False,
    ) -> None:  # fmt: skip
        """`farewell` is the signal that the watcher sends when this process has died, at last SIGKILL to the `group`."""
        try:
            self._child = subprocess.Popen(
                [*account.prefix, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=dict(env),
                start_new_session=True, user=account.uid if account.switch else None,
                group=account.gid if account.switch else None, extra_groups=[] if account.switch else None,
            )  # fmt: skip
        except OSError as error:
            raise DevServerError(f"{command[0]} cannot be run: {error.strerror}") from error
        self.account = account
        self.pid = self._child.pid
        self._watcher = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH_GROUP if group else _WATCH, "ehc-watch", farewell.name.removeprefix("SIG"), str(self.pid)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
            start_new_session=True,
        )  # fmt: skip

    def running(self) -> bool:
        """Whether the server is still there."""
        return self.wait(0) is None

    def wait(self, seconds: float) -> int | None:
        """The exit status, or None when it still runs after so many seconds."""
        try:
            status = self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._dismiss_watcher()
        return status

    def signal(self, number: Signals) -> None:
        """Send a signal to the server, if it still runs."""
        self._child.send_signal(number)

    def stop(self, steps: Iterable[tuple[Signals, float]]) -> None:
        """Send each signal in turn, giving it so many seconds to work. Raises `DevServerError` when none did."""
        for number, seconds in steps:
            self.signal(number)
            self.signal(Signals.SIGCONT)  # a paused server would not hear it
            if self.wait(seconds) is not None:
                return
        raise DevServerError(f"process {self.pid} cannot be stopped")

    def _dismiss_watcher(self) -> None:
        # at once, before the system can give the dead server's pid to another program
        if self._watcher.stdin is not None and not self._watcher.stdin.closed:
            self._watcher.kill()
            self._watcher.wait()
            self._watcher.stdin.close()


class OwnerLock:
    """One owner per data folder: an `flock` that the system itself lets go when the owner dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self) -> None:
        """Raises `DevServerError` while another owner lives."""
        file = _open_for_folder_owner(self._path, os.O_RDWR)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(file, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(file)
            data = self._path.with_suffix("")
            raise DevServerError(f"{data} is already in use by process {owner}; stop that one first") from None
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        self._file = file

    def release(self) -> None:
        """Let the next owner in. The file stays: removing it would let two owners hold two files of one name."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def open_log(path: Path) -> IO[bytes]:
    """The log, open for appending, emptied first when it has grown above a few megabytes."""
    file = os.fdopen(_open_for_folder_owner(path, os.O_WRONLY | os.O_APPEND), "ab")
    if os.fstat(file.fileno()).st_size > _LOG_LIMIT:
        file.truncate(0)
    return file


def tail_of(path: Path, *, since: int, lines: int = 15) -> str:
    """The last lines that the log gained after the position `since`."""
    with path.open("rb") as file:
        file.seek(since)
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])


def server_environment() -> dict[str, str]:
    """Ours without what PostgreSQL's programs would read from it, and with messages in English."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def _open_for_folder_owner(path: Path, flags: int) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    if os.geteuid() == 0:
        # a developer who once ran this with sudo can later run it without
        folder = path.parent.stat()
        os.fchown(file, folder.st_uid, folder.st_gid)
    return file
