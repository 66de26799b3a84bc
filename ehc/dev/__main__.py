"""What `make run` does: start the servers, make the demo region, run the main job once, and serve until Ctrl-C."""

import os
import signal
import sys
import time
import unicodedata
from pathlib import Path
from types import FrameType

from ehc.clock import SystemClock
from ehc.commands.context import Deployment
from ehc.commands.db import make_partitions, upgrade_tables
from ehc.commands.keys import init_keys
from ehc.crypto.wrapping import KekError, KeyEncryptingKey
from ehc.dev import main_job, region
from ehc.dev.client import ApiError
from ehc.dev.granian import Granian, require_free
from ehc.dev.process import DevServerError
from ehc.dev.servers import Servers, running
from ehc.settings import SettingsError

VAR = Path("var")


def run() -> None:
    """The demo, from nothing to serving."""
    began = time.monotonic()
    host, _, port = os.environ.get("EHC_BIND", "127.0.0.1:8000").rpartition(":")
    host, number = host.strip("[]") or "127.0.0.1", int(port)
    require_free(host, number)
    VAR.mkdir(exist_ok=True)
    _say("启动 PostgreSQL、Redis · starting the servers")
    with running(VAR) as servers:
        env = environment(servers, VAR)
        os.environ.update(env)
        place = Deployment()
        _say("升级数据表、准备密钥和示范数据 · tables, keys, demo region")
        upgrade_tables(place)
        make_partitions(place)
        init_keys(place)
        server = Granian(env | _metrics(VAR), host=host, port=number, workers=2, log=VAR / "ehc.log")
        demo = region.prepare(place.work, VAR / "demo.json", base_url=server.url, clock=SystemClock())
        try:
            server.start()
            _say("办卡、出码、验码 · one card, one code, two scanners\n")
            _table(main_job.run(demo))
            _invite(server.url, servers, time.monotonic() - began)
            while server.wait(3600) is None:
                pass
            raise DevServerError(f"the server ended by itself; see {VAR / 'ehc.log'}")
        finally:
            server.stop()
            _say("已停止 · stopped")


def check_migrations() -> None:
    """Fail if migrations and models differ, or if the migrations cannot be undone."""
    import flask_migrate

    from ehc.app import create_app

    with running(VAR / "check", durable=False) as servers:
        os.environ.update(environment(servers, VAR / "check"))
        with create_app(Deployment().settings).app_context():
            flask_migrate.downgrade(revision="base")
            flask_migrate.upgrade()
            flask_migrate.check()


def environment(servers: Servers, folder: Path) -> dict[str, str]:
    """The service's settings on these servers, with a demo key-encrypting key in `folder`."""
    kek = folder.resolve() / "demo-kek"
    if "EHC_KEK_FILE" not in os.environ and not kek.exists():
        KeyEncryptingKey.make_file(kek, demo=True)
    return {
        "EHC_DATABASE_URL": servers.database_url,
        "EHC_REDIS_URL": servers.redis_url or "",
        "EHC_KEK_FILE": os.environ.get("EHC_KEK_FILE", str(kek)),
        "EHC_DEMO": "1",
    }


def _metrics(folder: Path) -> dict[str, str]:
    """A clean folder in which the workers share their metrics."""
    shared = folder.resolve() / "metrics"
    shared.mkdir(exist_ok=True)
    for old in shared.glob("*.db"):
        old.unlink()
    return {"PROMETHEUS_MULTIPROC_DIR": str(shared)}


def _table(steps: list[main_job.Step]) -> None:
    widths = [max(_width(getattr(step, name)) for step in steps) for name in ("what", "result", "detail")]
    print("  ┌" + "┬".join("─" * (width + 2) for width in widths) + "┐")
    for step in steps:
        cells = (step.what, step.result, step.detail)
        print("  │" + "│".join(f" {cell}{' ' * (width - _width(cell))} " for cell, width in zip(cells, widths, strict=True)) + "│")
    print("  └" + "┴".join("─" * (width + 2) for width in widths) + "┘")


def _width(text: str) -> int:
    """Columns of a text on a terminal: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def _invite(url: str, servers: Servers, seconds: float) -> None:
    print(f"""
  {url}/docs     接口文档 API
  {VAR / "demo.json"}                 示范凭据 credentials for trying it
  {VAR / "ehc.log"}                   日志 log
  Redis: {"在用 in use" if servers.redis_url else "无（可选） none, and none is needed"}
  {seconds:.1f} s 启动 to start. Ctrl-C 停止 stops everything.
""", flush=True)


def _say(text: str) -> None:
    print(f"· {text}", flush=True)


def _interrupted(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run what the command line names; a failure is one sentence."""
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        check_migrations() if sys.argv[1:] == ["check-migrations"] else run()
    except KeyboardInterrupt:
        return 0
    except (DevServerError, SettingsError, KekError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except ApiError as error:
        print(f"\nthe service refused the main job: {error.status} {error.body.get('code')}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
