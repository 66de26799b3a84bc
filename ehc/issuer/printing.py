"""Printed cards (打印卡): a static code on paper, with whose it is, for people without a phone (national rules 1.6).

A PDF is drawn in a process of its own (`ehc/issuer/drawing.py`), since the libraries for it take 35 MB that a worker of the
service does not have. It is started by the first sheet, draws one at a time, and ends by itself after a minute without work
or when the worker does. What is printed goes to it through a pipe: never as an argument, never into a file.
"""

import atexit
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date
from enum import StrEnum
from threading import Lock

import orjson

from ehc.errors import Text, Unavailable

LENGTH_BYTES = 8
"""An answer of the drawing process is its length in so many big-endian bytes, then the PDF; length 0 is a refusal."""
IDLE_SECONDS = 60


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

    Raises `ValueError` for a sheet that cannot be drawn (`ehc/issuer/drawing.py`), and `Unavailable`.
    """
    return _PRESS.draw(sheet, layout)


class Press:
    """The drawing process of one worker."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def draw(self, sheet: Printed, layout: Layout) -> bytes:
        """As `draw_pdf`. Starts the process if it is not running; one that ended meanwhile is started again, once."""
        order = orjson.dumps({"layout": layout, "sheet": asdict(sheet)}) + b"\n"
        with self._lock:
            answer = self._ask(order)
            if answer is None:
                answer = self._ask(order)
        if answer is None:
            raise Unavailable(
                Text("打印服务暂不可用，请稍后重试。", "The sheet could not be drawn. Try again shortly."),
                retry_after=5,
            )
        if not answer:
            raise ValueError("this sheet cannot be drawn")
        return answer

    def close(self) -> None:
        """Ends the process, if there is one; the next sheet starts another."""
        with self._lock:
            self._end()

    def _ask(self, order: bytes) -> bytes | None:
        """The answer to an order, or None if the process ended before it was whole."""
        process = self._process = self._process or self._start()
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the drawing process has no pipes")
        try:
            process.stdin.write(order)
            process.stdin.flush()
            length = process.stdout.read(LENGTH_BYTES)
            answer = process.stdout.read(int.from_bytes(length, "big"))
        except BrokenPipeError:
            length, answer = b"", b""
        if len(length) < LENGTH_BYTES or len(answer) < int.from_bytes(length, "big"):
            self._end()
            return None
        return answer

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "ehc.issuer.drawing"]
        # Its complaints are not kept: the text of an exception may hold what was to be printed.
        return subprocess.Popen(  # noqa: S603 - nothing of a request is in the command
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with suppress(BrokenPipeError), process:  # closes the pipes and waits; an order may still lie in one
            pass


_PRESS = Press()
atexit.register(_PRESS.close)
