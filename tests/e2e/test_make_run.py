"""`make run` as a person at a terminal sees it, in a copy of the project whose folder has a space and Chinese in its name."""

import json
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from ehc.access import clients
from ehc.callers import Scope
from ehc.clock import SystemClock
from ehc.dev.granian import free_port
from tests.e2e.processes import alive, family, touching
from tests.e2e.sites import HOST, allowed, eventually
from tests.support.imports import csv_bytes, row

ROOT = Path(__file__).resolve().parents[2]
ADMINISTRATORS = ("admin", "security_admin", "second_security_admin", "audit_admin")
GATEWAYS = ("open_platform", "provincial")
KEYS = {"base_url", "app", "terminal", "second_terminal", "institution", "log_in", *GATEWAYS, *ADMINISTRATORS}
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

pytestmark = [
    pytest.mark.xdist_group("heavy"),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout"),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc"),
]


@dataclass
class Demo:
    """`python -m ehc.dev` in a folder: what it printed, and how it ended."""

    folder: Path
    port: int
    command: list[str] = field(default_factory=lambda: [sys.executable])
    account: dict[str, Any] = field(default_factory=dict)
    printed: str = ""

    def start(self, *, seconds: float = 90) -> None:
        """Start and wait until it serves, or ends."""
        env = {
            name: value for name, value in os.environ.items() if not name.startswith(("EHC_", "PYTEST", "PROMETHEUS"))
        }
        env |= {"PYTHONPATH": str(self.folder), "EHC_BIND": f"{HOST}:{self.port}", "PYTHONUNBUFFERED": "1"}
        env |= {"PWD": str(self.folder), "HOME": str(self.folder)}
        self.printed = ""
        self.process = subprocess.Popen(
            [*self.command, "-m", "ehc.dev"], cwd=self.folder, env=env, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **self.account,
        )  # fmt: skip
        watch = threading.Timer(seconds, self.process.kill)
        watch.start()
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line
            if "Ctrl-C" in line:
                break
        watch.cancel()

    def interrupt(self) -> int:
        """Ctrl-C, as a terminal sends it; the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.end()

    def end(self) -> int:
        assert self.process.stdout is not None
        self.printed += self.process.stdout.read()
        self.process.stdout.close()
        return self.process.wait(30)

    def kill(self) -> None:
        """SIGKILL for the main process alone."""
        self.process.kill()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def written(self) -> dict[str, Any]:
        found = json.loads((self.folder / "var" / "demo.json").read_text(encoding="utf-8"))
        assert isinstance(found, dict)
        return found

    @property
    def card(self) -> str:
        """The id of the card in the table."""
        assert self.table, self.printed
        return str(UUID.findall(self.table[0])[0])

    @property
    def table(self) -> list[str]:
        return [line for line in self.printed.splitlines() if re.match(r"  [|│] ", line)]


def copy_of_the_project(folder: Path) -> Path:
    listed = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """The copy. After the last test nothing that came from it still runs."""
    with tempfile.TemporaryDirectory(prefix="a clone 电子健康卡 ", ignore_cleanup_errors=True) as place:
        yield copy_of_the_project(Path(place))
        for pid in touching(Path(place)):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def first(folder: Path) -> Iterator[Demo]:
    """The very first run, while it serves."""
    demo = Demo(folder, free_port())
    demo.start()
    yield demo
    if demo.process.poll() is None:
        demo.interrupt()


def served(demo: Demo, path: str) -> tuple[int, str]:
    with urllib.request.urlopen(f"http://{HOST}:{demo.port}{path}", timeout=10) as answer:
        return answer.status, answer.read().decode()


def test_the_first_run_shows_a_card_accepted_once_and_refused_once_and_serves_the_documentation(first: Demo) -> None:
    assert first.process.poll() is None, first.printed
    assert len(first.table) == 3
    assert "accepted" in first.table[1]
    assert "already-used" in first.table[2]
    assert "█" in first.printed or "▀" in first.printed
    status, page = served(first, "/docs")
    assert status == 200
    assert "/v1/verifications" in page


def test_the_first_run_writes_credentials_for_its_owner_alone(first: Demo) -> None:
    assert set(first.written) >= KEYS
    assert first.written["base_url"] == f"http://{HOST}:{first.port}"
    assert set(first.written["app"]) == {"client_id", "client_secret"}
    for role in ("terminal", "second_terminal"):
        assert set(first.written[role]) == {"client_id", "client_secret", "terminal_code"}
    assert set(first.written["institution"]) == {"code", "name"}
    file = first.folder / "var" / "demo.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    printed_and_logged = first.printed + (first.folder / "var" / "ehc.log").read_text(encoding="utf-8")
    assert first.written["app"]["client_secret"] not in printed_and_logged


def worker_of(demo: Demo) -> int:
    """The process that runs background jobs; 0 if there is none."""
    for pid in family(demo.process.pid):
        if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"\0worker\0"):
            return pid
    return 0


def test_jobs_are_done_by_a_worker_of_its_own(first: Demo) -> None:
    """An import, which the service itself only puts into the queue."""
    worker = worker_of(first)
    assert worker, first.printed
    told = Path(f"/proc/{worker}/environ").read_bytes().decode().split("\0")
    database_url = next(line.partition("=")[2] for line in told if line.startswith("EHC_DATABASE_URL="))
    engine = create_engine(database_url, poolclass=NullPool)
    with Session(engine) as session, session.begin():
        scopes = frozenset({Scope.BATCH, Scope.CARDS})
        made = clients.add_app(session, name="批量导入方", scopes=scopes, now=SystemClock().now())
    form = {"grant_type": "client_credentials", "client_id": made.client_id, "client_secret": made.client_secret}
    token = asked(first, "/oauth/token", urlencode(form).encode())["access_token"]
    sent = asked(first, "/v1/imports", csv_bytes([row(1)]), token=token, kind="text/csv")
    run = f"/v1/imports/{sent['import_id']}"
    assert eventually(lambda: asked(first, run, token=token)["state"] == "done", seconds=allowed(20), every=0.5)
    assert asked(first, run, token=token)["made"] == 1
    assert worker_of(first) == worker


def asked(
    demo: Demo,
    path: str,
    body: bytes | None = None,
    *,
    token: str = "",
    kind: str = "application/x-www-form-urlencoded",
) -> dict[str, Any]:
    """The JSON in an answer to a GET, or to a POST of a body."""
    headers = {"Content-Type": kind} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(f"http://{HOST}:{demo.port}{path}", body, headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        found = json.load(answer)
    assert isinstance(found, dict)
    return found


def test_a_second_one_beside_it_or_on_its_port_is_told_so_in_one_sentence(first: Demo) -> None:
    sentences = {
        first.port: f"{HOST}:{first.port} cannot be used (Address already in use); stop what listens there",
        free_port(): f"already in use by process {first.process.pid}; stop that one first",
    }
    for port, sentence in sentences.items():
        other = Demo(first.folder, port)
        other.start()
        assert other.end() == 1
        assert sentence in other.printed
        assert "Traceback" not in other.printed
        assert len(other.printed.strip().splitlines()) <= 3
    assert served(first, "/readyz")[0] == 200  # the first one did not suffer


def lasting(written: dict[str, Any]) -> dict[str, Any]:
    """The demo's credentials without the addresses of the simulators, which take any free port at each start."""
    appids = {name: told for name, told in written["log_in"].items() if name.endswith("_appid")}
    return written | {"log_in": appids}


def test_ctrl_c_stops_everything_and_the_next_start_finds_all_as_it_was(first: Demo) -> None:
    card, credentials = first.card, first.written
    children = family(first.process.pid)[1:]
    assert len(children) > 5
    assert worker_of(first) in children
    assert first.interrupt() == 0
    assert "Traceback" not in first.printed
    assert not any(map(alive, children))
    assert touching(first.folder) == {}
    again = Demo(first.folder, first.port)
    try:
        again.start()
        assert lasting(again.written) == lasting(credentials)
        assert again.card == card
        assert "accepted" in again.table[1]
        again.kill()  # and after a crash of the main process:
        last = Demo(first.folder, first.port)
        last.start()
        assert last.process.poll() is None, last.printed
        assert (last.card, lasting(last.written)) == (card, lasting(credentials))
        assert last.interrupt() == 0
    finally:
        if again.process.poll() is None:
            again.interrupt()
    assert eventually(lambda: touching(first.folder) == {})


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_an_ordinary_user_can_run_it_too() -> None:
    nobody = pwd.getpwnam("nobody")
    command, account = _interpreter_for(nobody)
    with tempfile.TemporaryDirectory(prefix="普通 用户 ") as place:
        folder = copy_of_the_project(Path(place))
        for path in (folder, *folder.rglob("*")):
            os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
        demo = Demo(folder, free_port(), command, account)
        demo.start()
        try:
            assert demo.process.poll() is None, demo.printed
            assert "already-used" in demo.printed
            assert {Path(f"/proc/{pid}").stat().st_uid for pid in family(demo.process.pid)} == {nobody.pw_uid}
            assert (folder / "var" / "demo.json").stat().st_uid == nobody.pw_uid
        finally:
            ended = demo.interrupt() if demo.process.poll() is None else demo.end()
        assert ended == 0
        assert touching(folder) == {}


def _interpreter_for(user: pwd.struct_passwd) -> tuple[list[str], dict[str, Any]]:
    """How this user runs our interpreter: as it is, or past the closed folder of another's home, with no other right."""
    account = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    passing = [
        "setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--securebits=+no_setuid_fixup",
        "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--",
    ]  # fmt: skip
    ways: list[tuple[list[str], dict[str, Any]]] = [([sys.executable], account), ([*passing, sys.executable], {})]
    for command, who in ways:
        with suppress(OSError):
            if (
                subprocess.run(
                    [*command, "-c", "import flask"], check=False, cwd="/", stderr=subprocess.DEVNULL, **who
                ).returncode
                == 0
            ):
                return command, who
    pytest.skip("our interpreter is closed to other users")
