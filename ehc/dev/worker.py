"""`ehc worker` as a child process, as production runs it."""

import os
import sys
from pathlib import Path
from signal import Signals

from ehc.dev.process import ServerProcess, open_log, ourselves

_STEPS = ((Signals.SIGTERM, 10.0), (Signals.SIGKILL, 5.0))
_COMMAND = "from ehc.commands import main; main()"


class WorkerProcess:
    """One worker, its log in a file. It is not started again when it ends: a demo that goes on without would mislead."""

    def __init__(self, env: dict[str, str], *, log: Path, command: str = _COMMAND) -> None:
        self._env, self.log, self._command = env, log, command
        self._process: ServerProcess | None = None

    def start(self) -> int:
        """Start it; its pid. It takes jobs about a second later. Raises `DevServerError`."""
        folder = Path(__file__).parent.parent.parent
        env = dict(os.environ) | self._env | {"PYTHONPATH": str(folder)}
        with open_log(self.log) as log:
            self._process = ServerProcess(
                [sys.executable, "-c", self._command, "worker"],
                log,
                farewell=Signals.SIGTERM,
                account=ourselves(),
                env=env,
                group=True,
            )
        return self._process.pid

    def signal(self, number: Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None:
            self._process.signal(number)

    def wait(self, seconds: float) -> int | None:
        """The exit status, or None while it runs."""
        return self._process.wait(seconds) if self._process is not None else None

    def stop(self) -> None:
        """Stop in order: jobs that run are finished, unless they take longer than ten seconds."""
        if self._process is not None:
            self._process.stop(_STEPS)
            self._process = None
