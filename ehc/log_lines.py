"""Lines of a log, written in batches: a write per request costs a busy service a quarter of its rate.

Each write lets go of the interpreter, and with many threads waiting its thread has to queue for it again. Information is
therefore written from a thread of its own, at most a tenth of a second later. A warning or worse is written at once, and
with it everything that was said before.
"""

import time
from collections import deque
from contextlib import suppress
from threading import Lock, Thread
from typing import BinaryIO

_DELAY = 0.1


class LogLines:
    """Takes lines as structlog gives them (bytes without a line end) for one stream."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._waiting: deque[bytes] = deque()
        self._writing, self._starting = Lock(), Lock()
        self._running = False

    def info(self, line: bytes) -> None:
        """Write a line soon."""
        self._waiting.append(line + b"\n")
        if not self._running:
            self._start()

    def warning(self, line: bytes) -> None:
        """Write a line, and all before it, now."""
        self._waiting.append(line + b"\n")
        self.flush()

    debug = msg = log = info
    warn = error = err = critical = fatal = failure = exception = warning

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
            if lines:
                with suppress(ValueError):  # the stream was closed meanwhile: there is nobody left to tell
                    self._stream.write(b"".join(lines))
                    self._stream.flush()

    def _start(self) -> None:
        with self._starting:
            if not self._running:
                self._running = True
                # Not a daemon: a process that ends waits for it, so the last lines are written too.
                Thread(target=self._run, name="log").start()

    def _run(self) -> None:
        while self._waiting:
            time.sleep(_DELAY)
            self.flush()
        self._running = False
        if self._waiting:  # said between the last look and the flag
            self._start()
