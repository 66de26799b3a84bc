"""What `make run` does: start the servers, make the demo region, run the main job once, and serve until Ctrl-C."""

import os
import signal
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from ehc.clock import SystemClock
from ehc.commands.context import Deployment
from ehc.commands.db import make_partitions, upgrade_tables
from ehc.commands.keys import init_keys
from ehc.crypto.wrapping import KekError
from ehc.dev import main_job, region
from ehc.dev.client import ApiError
from ehc.dev.granian import Granian, require_free
from ehc.dev.migrations import check_migrations
from ehc.dev.process import DevServerError
from ehc.dev.servers import Servers, environment, running
from ehc.dev.simulators.launcher import Simulators
from ehc.dev.tls import certificate_for
from ehc.dev.worker import WorkerProcess
from ehc.keystore import secret_keys
from ehc.outside.signed_http import SetupError
from ehc.settings import SettingsError

VAR = Path("var")


def run() -> None:
    """The demo, from nothing to serving."""
    began = time.monotonic()
    host, number = _address("EHC_BIND", os.environ.get("EHC_BIND", "127.0.0.1:8000"))
    require_free(host, number)
    VAR.mkdir(exist_ok=True)
    _say("启动 PostgreSQL、Redis、外部系统模拟器 · starting the servers, and the SIMULATORS of outside parties")
    with running(VAR) as servers, _outside_parties() as simulators:
        env = environment(servers, VAR) | (simulators.environment() if simulators is not None else {})
        os.environ.update(env)
        place = Deployment()
        _say("升级数据表、准备密钥和示范数据 · tables, keys, demo region")
        upgrade_tables(place)
        make_partitions(place)
        init_keys(place)
        env |= _metrics(VAR)
        server = Granian(env, host=host, port=number, workers=2, log=VAR / "ehc.log")
        secure = _tls_server(env)
        worker = WorkerProcess(env, log=VAR / "worker.log")
        demo = region.prepare(
            place.work,
            VAR / "demo.json",
            base_url=server.url,
            clock=SystemClock(),
            secrets=lambda session: secret_keys.load(session, place.kek),
            tls_url=secure.url if secure else None,
            simulators=simulators,
        )
        with ExitStack() as stack:
            stack.callback(_say, "已停止 · stopped")
            stack.callback(server.stop)
            stack.callback(worker.stop)
            server.start()
            worker.start()
            if secure is not None:
                stack.callback(secure.stop)
                secure.start()
            _say("办卡、出码、验码 · one card, one code, two scanners\n")
            _table(main_job.run(demo))
            _invite(server.url, servers, time.monotonic() - began)
            if simulators is not None:
                _say(f"短信看这里 · one-time codes arrive at {simulators.url}/simulator/messages")
                _say(f"银行验证码看这里 · the bank's codes are at {simulators.url}/simulator/bank/codes")
                _say("小程序登录凭证见 var/demo.json 的 log_in · where log-in codes come from: log_in in var/demo.json")
            if secure is not None:
                _say(f"HTTPS 入口 · the same over HTTPS at {secure.url}, for who trusts {VAR / 'tls' / 'ca.pem'}")
            _watch(*([server, secure] if secure else [server]), worker=worker)


@contextmanager
def _outside_parties() -> Iterator[Simulators | None]:
    """Simulators of the outside parties, unless the environment names a real one."""
    parties = ("AUTHORITY", "SMS", "BANK", "CARD_READER", "WECHAT", "ALIPAY")
    if {f"EHC_{party}_URL" for party in parties} & os.environ.keys():
        yield None
        return
    simulators = Simulators(VAR / "simulators")
    simulators.start()
    try:
        yield simulators
    finally:
        simulators.stop()


def _watch(*servers: Granian, worker: WorkerProcess) -> None:
    """Returns never: all run until Ctrl-C, or one of them is gone."""
    while True:
        for server in servers:
            if server.wait(1) is not None:
                raise DevServerError(f"the server ended by itself; see {server.log}")
        if worker.wait(0) is not None:
            raise DevServerError(f"the worker ended by itself; see {worker.log}")


def _tls_server(env: dict[str, str]) -> Granian | None:
    """The same service over HTTPS on a second port, where `EHC_TLS_BIND` says one."""
    given = os.environ.get("EHC_TLS_BIND")
    if not given:
        return None
    host, number = _address("EHC_TLS_BIND", given)
    require_free(host, number, name="EHC_TLS_BIND")
    return Granian(env, host=host, port=number, log=VAR / "ehc-tls.log", tls=certificate_for(VAR / "tls", host))


def _address(name: str, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise DevServerError(f"{name} is host:port, for example 127.0.0.1:8001")
    return host.strip("[]") or "127.0.0.1", int(port)


def _metrics(folder: Path) -> dict[str, str]:
    """A clean folder in which the workers share their metrics."""
    shared = folder.resolve() / "metrics"
    shared.mkdir(exist_ok=True)
    for old in shared.glob("*.db"):
        old.unlink()
    return {"PROMETHEUS_MULTIPROC_DIR": str(shared)}


def _table(steps: list[main_job.Step]) -> None:
    """Plain ASCII borders: terminals set for Chinese draw box characters two columns wide."""
    rows = [(step.what, step.result, step.detail) for step in steps]
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    border = "  +" + "+".join("-" * (width + 2) for width in widths) + "+"
    print(border)
    for row in rows:
        cells = (f" {cell}{' ' * (width - _width(cell))} " for cell, width in zip(row, widths, strict=True))
        print("  |" + "|".join(cells) + "|")
    print(border)


def _width(text: str) -> int:
    """Columns of a text on a terminal: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def _invite(url: str, servers: Servers, seconds: float) -> None:
    print(
        f"""
  {url + "/docs":32} 接口文档 API
  {VAR / "demo.json"!s:32} 示范凭据 credentials for trying it
  {VAR / "ehc.log"!s:32} 日志 log
  {VAR / "worker.log"!s:32} 后台任务日志 log of background jobs
  Redis: {"在用 in use" if servers.redis_url else "无（可选） none, and none is needed"}
  {seconds:.1f} s 启动 to start. Ctrl-C 停止 stops everything.
""",
        flush=True,
    )


def _say(text: str) -> None:
    print(f"· {text}", flush=True)


def _interrupted(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run what the command line names; a failure is one sentence."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts background jobs with SIGINT ignored
        signal.signal(number, _interrupted)
    try:
        check_migrations(VAR) if sys.argv[1:] == ["check-migrations"] else run()
    except KeyboardInterrupt:
        return 0
    except (DevServerError, SettingsError, SetupError, KekError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except ApiError as error:
        print(f"\nthe service refused the main job: {error.status} {error.body.get('code')}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
