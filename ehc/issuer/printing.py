"""Printed cards (打印卡): a static code on paper, with whose it is, for people without a phone (national rules 1.6).

A PDF is drawn in a process of its own (`ehc/issuer/drawing.py`), since the libraries for it take 35 MB that a worker of the
service does not have. It is started by the first sheet, draws one at a time, and ends by itself after a minute without work
or when the worker does. What is printed goes to it through a pipe: never as an argument, never into a file. It is given no
secret, and it has a few seconds: one that hangs is ended, and whoever asked is told to come again.
"""

import atexit
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date
from enum import StrEnum
from threading import Lock

import orjson
import structlog

from ehc.errors import EhcError, Text, Unavailable

log = structlog.get_logger(__name__)

LENGTH_BYTES = 8
"""An answer of the drawing process is its length in so many big-endian bytes, then the PDF, or else the kind of exception
that stopped it."""
PDF = b"%PDF-"
IDLE_SECONDS = 60
PATIENCE = 10.0
"""How long a sheet waits for its turn, and how long for its answer. Drawing takes 0.2 s, and a second for the first one."""

_TOLD = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")
"""What the drawing process is told of our environment: where Python is, and neither the database nor a key."""

_AWAY = Text("打印服务暂不可用，请稍后重试。", "The sheet could not be drawn. Try again shortly.")


class NotDrawable(EhcError):
    """This sheet cannot be drawn, today or tomorrow."""

    code = "sheet-not-drawable"


class Layout(StrEnum):
    """What is printed on: a sheet with a card to cut out, a plastic card (ID-1), or a label."""

    A4 = "a4"
    CARD = "card"
    STICKER = "sticker"


@dataclass(frozen=True, slots=True)
class Printed:
    """What one sheet says. `code` is decimal digits; `id_type` and `level` are their codes; `id_number` is masked on it."""

    code: str
    name: str
    id_type: str
    id_number: str
    level: str
    issuer: str
    reference: str
    printed_on: date
    valid_until: date


def draw_pdf(sheet: Printed, layout: Layout) -> bytes:
    """One page as PDF, in some 0.2 s, the first time in a second. The same sheet gives the same bytes.

    Raises `NotDrawable` (`ehc/issuer/drawing.py` says what is) or `Unavailable`. Hold no lock meanwhile.
    """
    return _PRESS.draw(sheet, layout)


class Press:
    """The drawing process of one worker."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._lock, self._patience = Lock(), patience
        self._process: subprocess.Popen[bytes] | None = None

    def draw(self, sheet: Printed, layout: Layout) -> bytes:
        """As `draw_pdf`. Starts the process if it is not running; one that ended meanwhile is started again, once."""
        order = orjson.dumps({"layout": layout, "sheet": asdict(sheet)}) + b"\n"
        if not self._lock.acquire(timeout=self._patience):
            raise Unavailable(_AWAY, retry_after=5)
        try:
            until = time.monotonic() + self._patience
            answer = self._ask(order, until) or self._ask(order, until)
        finally:
            self._lock.release()
        if answer is None:
            raise Unavailable(_AWAY, retry_after=5)
        if not answer.startswith(PDF):
            log.error("sheet not drawn", error=answer.decode("ascii", "replace"), layout=layout)
            raise NotDrawable(
                Text("该卡无法打印，请联系运维人员。", "This card cannot be printed. Tell the operators.")
            )
        return answer

    def close(self) -> None:
        """Ends the process, if there is one; the next sheet starts another."""
        with self._lock:
            self._end()

    def _ask(self, order: bytes, until: float) -> bytes | None:
        """The answer to an order, or None if the process ended before it was whole. Raises `Unavailable` after `until`."""
        process = self._process = self._process or self._start()
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the drawing process has no pipes")
        try:
            process.stdin.write(order)
            length = _heard(process.stdout.fileno(), LENGTH_BYTES, until)
            answer = length and _heard(process.stdout.fileno(), int.from_bytes(length, "big"), until)
        except BrokenPipeError:
            answer = None
        except BaseException:  # an answer that is still to come must not be the next caller's
            self._end()
            raise
        if answer is None:
            self._end()
        return answer

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "ehc.issuer.drawing"]
        # Its complaints are not kept: the text of an exception may hold what was to be printed.
        return subprocess.Popen(  # noqa: S603 - nothing of a request is in the command
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _TOLD if name in os.environ},
        )

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with suppress(BrokenPipeError), process:  # closes the pipes and waits; an order may still lie in one
            pass


def _heard(pipe: int, count: int, until: float) -> bytes | None:
    """So many bytes from a pipe, or None if it ended before. Raises `Unavailable` when they are not there in time."""
    heard, poll = bytearray(), select.poll()  # not select(): a worker may have more than 1,024 descriptors
    poll.register(pipe, select.POLLIN)
    while len(heard) < count:
        if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
            raise Unavailable(_AWAY, retry_after=5)
        part = os.read(pipe, count - len(heard))
        if not part:
            return None
        heard += part
    return bytes(heard)


_PRESS = Press()
atexit.register(_PRESS.close)
