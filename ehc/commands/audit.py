"""`ehc audit …`: the audit log, for the audit administrator."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import click

from ehc import audit as log
from ehc.clock import CHINA_TIME
from ehc.commands.context import Deployment, deployment
from ehc.keystore import audit_keys

_TOLD = 100
"""How many findings are printed; the rest are counted."""
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class _Moment(click.ParamType[datetime]):
    """A date or time in ISO 8601; China time where it names no offset."""

    name = "time"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The instant."""
        try:
            told = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        except ValueError:
            self.fail("应为 ISO 8601 日期或时间。 A date or time is written as in ISO 8601.", param, ctx)
        return told if told.tzinfo else told.replace(tzinfo=CHINA_TIME)


class _Kept(click.ParamType[log.Made]):
    """A tie as `ehc audit tie` printed it: its number, a colon, 64 hex digits."""

    name = "tie"

    def convert(self, value: str | log.Made, param: click.Parameter | None, ctx: click.Context | None) -> log.Made:
        """The tie."""
        if isinstance(value, log.Made):
            return value
        number, _, digits = value.partition(":")
        if not (number.isdecimal() and len(digits) == 64 and set(digits) <= set("0123456789abcdef")):
            self.fail(
                "应为 ehc audit tie 输出的“编号:哈希”。 It is NUMBER:HASH, as `ehc audit tie` printed it.", param, ctx
            )
        return log.Made(int(number), bytes.fromhex(digits))


@click.group()
def audit() -> None:
    """审计 · the audit log."""


@audit.command()
@click.option("--tie", "kept", type=_Kept(), help="A tie whose hash was kept elsewhere: it must still be there.")
@deployment
def verify(place: Deployment, kept: log.Made | None) -> None:
    """Follow every chain and every tie; fail if a row was changed, added, moved or taken out, and say which.

    Warns on standard error when ties have stopped: that is no harm done, but from then on harm could be hidden.
    """
    told: list[log.Finding] = []
    count = 0
    with place.work() as session:
        log.still(session)
        keys = audit_keys.checking(session, place.kek)
        length = log.length(session)
        with click.progressbar(length=length, label="核对 · following the chains", file=sys.stderr) as bar:
            method = place.settings.audit_hash
            for finding in log.verify(session, keys, method=method, kept=kept, progress=bar.update):
                count += 1
                told += [finding] if count <= _TOLD else []
        untied = log.untied_since(session, now=place.clock.now())
    if untied is not None:
        day = f"{untied.astimezone(CHINA_TIME):%Y-%m-%d %H:%M}"
        click.echo(
            f"警告：{day} 以来的记录未被系结，请检查后台任务（ehc worker）或运行 ehc audit tie。"
            f" Warning: no tie holds the acts since {day}. Is a worker running? `ehc audit tie` makes one.",
            err=True,
        )
    for finding in told:
        said = finding.said()
        click.echo(f"{said.zh} {said.en}")
    if count:
        raise click.ClickException(f"审计日志已被改动：{count} 处。 The audit log was tampered with: {count} findings.")
    click.echo(f"审计链完整（{length} 行）。 The audit log is whole ({length} rows).")


@audit.command()
@deployment
def tie(place: Deployment) -> None:
    """Tie the chains together and sign. Keep what is printed outside the database: `ehc audit verify --tie` asks for it."""
    with place.work() as session:
        made = audit_keys.tie(session, place.kek, now=place.clock.now())
    if made is None:
        click.echo("自上次系结以来无新记录。 No act came since the last tie.")
    else:
        click.echo(f"{made.seq}:{made.hash.hex()}")


@audit.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--since", type=_Moment(), default=_BEGINNING, help="From this date or time on; from the beginning.")
@click.option("--until", type=_Moment(), help="Up to, not including, this date or time; up to now.")
@deployment
def export(place: Deployment, path: Path, since: datetime, until: datetime | None) -> None:
    """Write acts as lines of JSON to a new file that only its owner can read. The export is itself an act in the log."""
    now = place.clock.now()
    end = until or now
    facts = {"since": since.astimezone(UTC).isoformat(), "until": end.astimezone(UTC).isoformat()}
    with _new_file(path) as file:
        with place.work() as session:
            log.record(session, "audit.exported", actor="operator", subject="audit", at=now, facts=facts)
        with place.work() as session:
            count = 0
            for line in log.lines(session, since=since, until=end):
                file.write(line)
                count += 1
    click.echo(f"已导出 {count} 行。 {count} rows.")


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """A file that was not there, mode 0600; taken away again if what fills it fails."""
    try:
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise click.ClickException("该文件已存在，不会覆盖。 The file exists and is not overwritten.") from None
    except OSError as error:
        raise click.ClickException(f"无法写入该文件。 The file cannot be written: {error.strerror}.") from None
    try:
        with os.fdopen(made, "w", encoding="utf-8") as file:
            yield file
    except BaseException:
        path.unlink()
        raise
