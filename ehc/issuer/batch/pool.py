"""Several worker processes at once. This process only cuts the file and counts: the pieces go to whoever is free."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Any

from ehc.errors import EhcError, Text
from ehc.files.pieces import BadFile, Piece
from ehc.issuer.batch.writing import Counts

_COMMAND = [sys.executable, "-m", "ehc.issuer.batch.worker"]
_PATIENCE = 30.0
"""Seconds in which a piece that is under way must be finished after Ctrl-C."""


class ImportStopped(EhcError):
    """A worker failed. What was written stays; the same command does the rest."""

    code = "import-stopped"


@dataclass
class Used:
    """What the workers took together: the sum of their peaks of memory in bytes, processor time in seconds."""

    peaks: dict[int, float] = field(default_factory=dict)
    cpu: dict[int, float] = field(default_factory=dict)


@dataclass
class _Shared:
    """What the threads that mind the workers share."""

    pieces: Iterator[Piece]
    lock: Lock = field(default_factory=Lock)
    stop: Event = field(default_factory=Event)
    workers: list["subprocess.Popen[str]"] = field(default_factory=list)
    answers: SimpleQueue[Any] = field(default_factory=SimpleQueue)

    def next(self) -> Piece | None:
        with self.lock:
            return None if self.stop.is_set() else next(self.pieces, None)

    def kill(self) -> None:
        """End the workers at once; what they have in hand is not there at all then."""
        for worker in self.workers:
            worker.kill()


def write_pieces(
    pieces: Iterator[Piece], *, workers: int, order: dict[str, Any], tell: Callable[[int, Counts], None]
) -> Used:
    """Have all pieces written; `tell(bytes, counts)` is called for each, in this thread.

    Raises `ImportStopped`, `BadFile` where the file has changed, or what cutting raised. On Ctrl-C the pieces that are under
    way are finished first; on another, or after half a minute, they are given up.
    """
    shared, used = _Shared(pieces), Used()
    threads = [Thread(target=_mind, args=(number, order, shared)) for number in range(workers)]
    for thread in threads:
        thread.start()
    failure: BaseException | None = None
    left, deadline = workers, float("inf")
    while left:
        try:
            answer = shared.answers.get(timeout=min(max(deadline - time.monotonic(), 0.0), 3600))
        except Empty:
            if time.monotonic() >= deadline:
                shared.kill()
                deadline = float("inf")
            continue
        except KeyboardInterrupt as interrupt:
            deadline = time.monotonic() + (0 if shared.stop.is_set() else _PATIENCE)
            shared.stop.set()
            failure = interrupt
            continue
        if answer is None:
            left -= 1
        elif isinstance(answer, BaseException):
            shared.stop.set()
            failure = failure or answer
        else:
            number, size, told = answer
            used.peaks[number], used.cpu[number] = told["peak"], told["cpu"]
            tell(size, Counts(*(told[name] for name in Counts._fields)))
    if failure is not None:
        raise failure
    return used


def _mind(number: int, order: dict[str, Any], shared: _Shared) -> None:
    """One worker's thread: gives it piece after piece. `None` among the answers says that the thread is through."""
    try:
        with subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:  # noqa: S603 - ours
            shared.workers.append(worker)
            _send(worker, order)
            while (piece := shared.next()) is not None:
                facts = {"number": piece.number, "begins": piece.begins, "first_line": piece.first_line}
                _send(worker, facts | {"size": len(piece.data), "digest": piece.digest.hex()})
                shared.answers.put((number, len(piece.data), _answer(worker)))
    except BaseException as error:
        shared.answers.put(error)
    finally:
        shared.answers.put(None)


def _send(worker: "subprocess.Popen[str]", told: dict[str, Any]) -> None:
    if worker.stdin is None:
        raise _stopped("")
    try:
        worker.stdin.write(json.dumps(told) + "\n")
        worker.stdin.flush()
    except BrokenPipeError:
        _answer(worker)  # it has said why
        raise _stopped("") from None


def _answer(worker: "subprocess.Popen[str]") -> dict[str, Any]:
    line = worker.stdout.readline() if worker.stdout else ""
    told: dict[str, Any] = json.loads(line) if line else {"failed": ""}
    if told.get("changed"):
        raise file_changed()
    if "failed" in told:
        raise _stopped(told["failed"], database=told.get("database", False))
    return told


def file_changed() -> BadFile:
    """What is said of a file that does not hold any more what was hashed."""
    return BadFile(
        Text(
            "导入期间文件被修改，请确认文件完整后重新导入。",
            "The file changed while it was imported. See that it is whole, then import it again.",
        )
    )


def _stopped(kind: str, *, database: bool = False) -> ImportStopped:
    zh, en = ("数据库出错", "the database failed") if database else ("工作进程意外结束", "a worker ended")
    what = f" ({kind})" if kind else ""
    return ImportStopped(
        Text(
            f"导入中断：{zh}{what}。已写入的部分保留，请再次运行同一命令继续。",
            f"Stopped: {en}{what}. What was written stays; run the same command again to go on.",
        )
    )
