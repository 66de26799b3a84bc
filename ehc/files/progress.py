"""How far an import is: a bar on a terminal, else a line every ten seconds."""

import time
from collections.abc import Callable
from typing import Protocol, TextIO

_BAR = 30
_EVERY_BAR, _EVERY_LINE = 0.2, 10.0


class Teller(Protocol):
    """Who is told how far it is: see `Progress`."""

    def skip(self, size: int) -> None:
        """Bytes that an earlier start has done."""

    def advance(self, size: int, rows: int) -> None:
        """Bytes and rows that are done now."""


class Progress:
    """Tells of bytes done, rows a second and the time that is left. Counts and times only."""

    def __init__(self, total: int, out: TextIO, *, seconds: Callable[[], float] = time.monotonic) -> None:
        self._total, self._out, self._seconds = max(total, 1), out, seconds
        self._bar = out.isatty()
        self._began = self._told = seconds()
        self._done, self._here, self._rows = 0, 0, 0

    def skip(self, size: int) -> None:
        """Bytes that an earlier start has done."""
        self._done += size

    def advance(self, size: int, rows: int) -> None:
        """Bytes and rows that are done now."""
        self._done += size
        self._here += size
        self._rows += rows
        now = self._seconds()
        if now - self._told >= (_EVERY_BAR if self._bar else _EVERY_LINE):
            self._told = now
            self._tell(now)

    def end(self) -> None:
        """The last word: what is drawn gets its line end."""
        if self._bar:
            self._tell(self._seconds())
            self._out.write("\n")
            self._out.flush()

    def line(self, now: float) -> str:
        """What is told at a time."""
        passed = max(now - self._began, 1e-9)
        share = min(self._done / self._total, 1.0)
        left = (self._total - self._done) * passed / self._here if self._here else 0.0
        minutes, seconds = divmod(round(max(left, 0)), 60)
        return f"{share:4.0%}  {self._rows / passed:,.0f} rows/s  {minutes}:{seconds:02} left"

    def _tell(self, now: float) -> None:
        text = self.line(now)
        if self._bar:
            filled = round(_BAR * min(self._done / self._total, 1.0))
            text = f"\r[{'#' * filled}{'.' * (_BAR - filled)}] {text}   "
        self._out.write(text if self._bar else text + "\n")
        self._out.flush()
