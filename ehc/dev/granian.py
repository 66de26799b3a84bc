"""Granian as a child process, as production runs it: `granian --interface wsgi wsgi:app`."""

import os
import random
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from signal import Signals

from ehc.dev.process import DevServerError, ServerProcess, open_log, ourselves, tail_of
from ehc.dev.tls import TlsFiles

_STEPS = ((Signals.SIGTERM, 10.0), (Signals.SIGKILL, 5.0))


class Granian:
    """One server on `host:port`, its log in a file. `app` is `module:name`, found from `folder`."""

    def __init__(
        self,
        env: dict[str, str],
        *,
        port: int,
        log: Path,
        host: str = "127.0.0.1",
        app: str = "wsgi:app",
        workers: int = 1,
        threads: int = 32,
        ready: str = "/readyz",
        folder: Path | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        self._tls = tls
        self._env, self.host, self.port, self.log, self._app = env, host, port, log, app
        self._workers, self._threads, self._ready = workers, threads, ready
        self._folder = folder or Path(__file__).parent.parent.parent
        self._process: ServerProcess | None = None

    @property
    def url(self) -> str:
        """The base URL."""
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """The pid of the parent; its workers are its children."""
        if self._process is None:
            raise DevServerError("the server is not started")
        return self._process.pid

    def start(self, *, seconds: float = 30) -> str:
        """Start and wait until it is ready; the base URL. Raises `DevServerError`, also when the port is in use."""
        require_free(self.host, self.port)
        with open_log(self.log) as log:
            since = log.seek(0, os.SEEK_END)
            env = dict(os.environ) | self._env | {"PYTHONPATH": str(self._folder)}
            self._process = ServerProcess(
                self._command(), log, farewell=Signals.SIGTERM, account=ourselves(), env=env, group=True
            )
        deadline = time.monotonic() + seconds
        while not self._answers():
            if self._process.wait(0.05) is not None or time.monotonic() > deadline:
                self.stop()
                raise DevServerError(
                    f"the server did not become ready; {self.log} says:\n{tail_of(self.log, since=since)}"
                )
        return self.url

    def stop(self) -> None:
        """Stop in order: requests that are under way are answered."""
        if self._process is not None:
            try:
                self._process.stop(_STEPS)
            finally:
                with suppress(ProcessLookupError):  # its group: now and then a worker outlives its parent
                    os.killpg(self._process.pid, Signals.SIGKILL)
                self._process = None

    def signal(self, number: Signals) -> None:
        """Send a signal to the parent process."""
        if self._process is not None:
            self._process.signal(number)

    def wait(self, seconds: float) -> int | None:
        """The exit status, or None while it runs."""
        return self._process.wait(seconds) if self._process is not None else None

    def _command(self) -> list[str]:
        options = {
            "--interface": "wsgi",
            "--host": self.host,
            "--port": str(self.port),
            "--http": "1",
            "--workers": str(self._workers),
            "--blocking-threads": str(self._threads),
            "--log-level": "warning",
        }
        if self._tls is not None:
            # TLS 1.2 too: what runs on Java 8 often has nothing newer
            options |= {"--ssl-certificate": str(self._tls.certificate), "--ssl-keyfile": str(self._tls.key)}
            options["--ssl-protocol-min"] = "tls1.2"
        return [
            sys.executable,
            "-m",
            "granian",
            *(part for option in options.items() for part in option),
            "--no-ws",
            self._app,
        ]

    def _answers(self) -> bool:
        trust = ssl.create_default_context(cafile=str(self._tls.authority)) if self._tls else None
        try:
            with urllib.request.urlopen(self.url + self._ready, timeout=2, context=trust) as answer:  # noqa: S310 - ours
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def require_free(host: str, port: int, *, patience: float = 4.0, name: str = "EHC_BIND") -> None:
    """Raises `DevServerError` where something listens still after `patience` seconds: a server that just ended may."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    deadline = time.monotonic() + patience
    while True:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if time.monotonic() > deadline:
                    raise DevServerError(
                        f"{host}:{port} cannot be used ({error.strerror}); stop what listens there, "
                        f"or choose another: {name}={host}:{port + 1} make run"
                    ) from None
            else:
                return
        time.sleep(0.1)


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on now.

    Below the ports that systems give to callers: one of those, asked for while nobody listens, could answer itself.
    """
    while True:
        port = random.randrange(12_000, 32_000)  # noqa: S311 - any free one will do
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
