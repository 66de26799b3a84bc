"""Processes of this machine, as /proc tells of them."""

import os
from contextlib import suppress
from pathlib import Path
from signal import Signals

PROC = Path("/proc")


def family(pid: int) -> list[int]:
    """A process and everything that descends from it, the oldest first."""
    parents = {other: int(told[1]) for other in everyone() if (told := _stat(other))}
    found = [pid]
    for one in found:
        found += [other for other, parent in parents.items() if parent == one]
    return found


def everyone() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def alive(pid: int) -> bool:
    """Whether a process still runs; one that ended and was not yet asked about does not."""
    told = _stat(pid)
    return bool(told) and told[0] != "Z"


def send(pids: list[int], number: Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def resident_bytes(pid: int) -> int:
    """The memory that a process holds now."""
    return int((PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def touching(folder: Path) -> dict[int, str]:
    """Every living process that has the folder in its command line, its environment, its place or an open file."""
    wanted = os.fsencode(folder)
    return {pid: what for pid in everyone() if pid != os.getpid() and alive(pid) and (what := _how(pid, wanted))}


def _how(pid: int, wanted: bytes) -> str:
    place = PROC / str(pid)
    with suppress(OSError):
        for name in ("cmdline", "environ"):
            if wanted in (place / name).read_bytes():
                return f"{name} of {(place / 'cmdline').read_bytes()[:80]!r}"
        for link in (place / "cwd", *(place / "fd").iterdir()):
            with suppress(OSError):
                if wanted in os.fsencode(os.readlink(link)):
                    return f"{link.name} of {(place / 'cmdline').read_bytes()[:80]!r}"
    return ""


def _stat(pid: int) -> list[str]:
    """The state, the parent and what follows; nothing for a process that is gone."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
