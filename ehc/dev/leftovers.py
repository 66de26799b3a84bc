"""Servers of an earlier run that outlived their owner, found by a mark on their command line.

Not by the pid that a server once wrote down: after a crash or a reboot that number may be any other program's.
"""

import hashlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from ehc.dev.process import DevServerError


def mark_for(data_dir: Path) -> str:
    """A short name for a data folder: ASCII, fit for a command line, a process title and a socket's path."""
    return "ehc-" + hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]


@dataclass(frozen=True)
class Leftovers:
    """The servers called `names` that serve `data_dir`, run by one of `uids`."""

    data_dir: Path
    names: tuple[str, ...]
    uids: frozenset[int]

    def stop(self, gentle: Signals, *, seconds: float = 15) -> None:
        """Stop them in order, then by force. Raises `DevServerError` when one cannot be stopped."""
        if not self._end(gentle, seconds):
            self.kill()

    def kill(self) -> None:
        """SIGKILL for all of them. Raises `DevServerError` when one survives that."""
        if not self._end(Signals.SIGKILL, 5):
            raise DevServerError(f"an earlier server of {self.data_dir} cannot be stopped: {sorted(self.find())}")

    def find(self) -> dict[int, str]:
        """Their pids, each with the program or title it runs under."""
        mark, folder = mark_for(self.data_dir), str(self.data_dir)
        program = re.compile(rf"(?:.*/)?(?:{'|'.join(map(re.escape, self.names))})(?:$|[: ])")
        return {
            pid: words[0]
            for pid, uid, words in _processes()
            if uid in self.uids and program.match(words[0]) and (folder in words or any(mark in word for word in words))
        }

    def _end(self, number: Signals, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        told: set[int] = set()
        while found := self.find():
            if time.monotonic() > deadline:
                return False
            for pid, title in found.items():
                # what PostgreSQL titles "postgres: …" is a helper: it ends by itself after its server, and to the
                # helpers SIGINT means other things
                if pid not in told and (number == Signals.SIGKILL or not title.startswith("postgres: ")):
                    _send(pid, number)
                    told.add(pid)
            time.sleep(0.02)
        return True


def _send(pid: int, number: Signals) -> None:
    try:
        os.kill(pid, number)
        os.kill(pid, Signals.SIGCONT)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise DevServerError(f"process {pid} is an earlier server of this folder, run by another user") from error


def _processes() -> Iterator[tuple[int, int, list[str]]]:
    """Every process: pid, user and command line, in words where the system keeps them apart."""
    if not Path("/proc/self/cmdline").exists():
        command = ["/bin/ps", "-axww", "-o", "pid=,uid=,command="]
        for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
            pid, uid, words = line.split(None, 2)
            yield int(pid), int(uid), [words]
        return
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                user, raw = entry.stat().st_uid, (entry / "cmdline").read_bytes()
            except OSError:  # it has just ended
                continue
            if raw:
                yield int(entry.name), user, os.fsdecode(raw.rstrip(b"\0")).split("\0")
