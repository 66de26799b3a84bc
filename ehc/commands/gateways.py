"""`ehc gateways …`: accounts of the JSON and SOAP interfaces, and why a call of one of them failed."""

from datetime import datetime, timedelta
from uuid import UUID

import click
from sqlalchemy.orm import Session

from ehc.access import clients
from ehc.access.apps import By
from ehc.access.models import InstitutionRow
from ehc.callers import Branch
from ehc.clock import CHINA_TIME
from ehc.commands.context import Deployment, deployment
from ehc.gateways import provisioning, reading
from ehc.gateways.accounts import live_secrets
from ehc.gateways.calls import KEPT, NOBODY
from ehc.gateways.kinds import GatewayKind, PlaceKind
from ehc.gateways.models import AccountRow, FailureRow
from ehc.gateways.reading import Seen
from ehc.keystore import secret_keys

_BY = click.option("--by", "person", required=True, help="Who does it, for the audit log: a staff number.")
_REASON = click.option("--reason", required=True)
_ACCOUNT = click.argument("account")
_ALL = 1000
_STRANGERS = "strangers"
_ANSWERED = frozenset({"errMsg", "desc", "fault", "problem", "signed"})
"""What a trace has of the answer; the rest are members of the call."""


@click.group()
def gateways() -> None:
    """接入网关 · accounts of the open platform (JSON) and of the provincial interface (SOAP).

    ACCOUNT is an appId, a userName, or the id of the account.
    """


@gateways.command()
@click.argument("kind", type=click.Choice([str(kind) for kind in GatewayKind]))
@click.argument("client_id")
@click.option("--name", help="The userName, or an appId that is in use already; one is made up if none is given.")
@click.option("--strict", is_flag=True, help="Provincial: refuse calls with both orgId and appCode.")
@click.option("--replay", is_flag=True, help="Open platform: let a signature count once.")
@click.option("--window", type=click.IntRange(30, 3600), default=300, show_default=True, help="Seconds; open platform.")
@_BY
@deployment
def add(
    place: Deployment,
    *,
    kind: str,
    client_id: str,
    name: str | None,
    strict: bool,
    replay: bool,
    window: int,
    person: str,
) -> None:
    """Add an account on the app CLIENT_ID, with a secret, which is printed once."""
    settings = {"strict": strict, "replay": replay, "window_seconds": window}
    with place.work() as session:
        app, now, by = clients.named(session, client_id), place.clock.now(), _by(person)
        row = provisioning.add(session, GatewayKind(kind), app.id, by=by, now=now, name=name, settings=settings)
        secret = _new_secret(place, session, row, None, person)
        told = row.kind, row.name
    _tell(*told, secret)


@gateways.command("list")
@click.option("--kind", type=click.Choice([str(kind) for kind in GatewayKind]))
@deployment
def list_accounts(place: Deployment, kind: str | None) -> None:
    """List the accounts, the newest first: name, kind, state, last call, app."""
    with place.work() as session:
        found, _ = reading.listed(session, Branch(), kind=kind, limit=_ALL)
        for one in found:
            click.echo(_line(one))


@gateways.command()
@_ACCOUNT
@deployment
def show(place: Deployment, account: str) -> None:
    """Show an account, its codes and its secrets."""
    with place.work() as session:
        row = provisioning.named(session, account)
        click.echo(_line(reading.seen(session, Branch(), row.id)))
        click.echo(f"id      {row.id}")
        click.echo(f"set     strict={row.strict} replay={row.replay} window={row.window_seconds} s")
        for one in provisioning.places(session, row.id):
            home = session.get(InstitutionRow, one.institution_id) if one.institution_id else None
            click.echo(
                f"place   {one.kind:8} {one.code:24} {f'{home.code} {home.name} ({home.state})' if home else '-'}"
            )
        for secret in live_secrets(session, row.id, now=place.clock.now()):
            click.echo(f"secret  {secret.id} since {_time(secret.created_at)} until {_time(secret.ends_at)}")


@gateways.command()
@_ACCOUNT
@click.option("--strict/--lenient", default=None, help="Provincial: calls with both orgId and appCode.")
@click.option("--replay/--repeats", default=None, help="Open platform: whether a signature counts once.")
@click.option("--window", type=click.IntRange(30, 3600), help="Open platform: seconds that a timestamp may be off.")
@_BY
@deployment
def change(
    place: Deployment, *, account: str, strict: bool | None, replay: bool | None, window: int | None, person: str
) -> None:
    """Change the settings of an account; what is left out stays."""
    given = {"strict": strict, "replay": replay, "window_seconds": window}
    wanted = {name: value for name, value in given.items() if value is not None}
    with place.work() as session:
        row = provisioning.named(session, account)
        provisioning.change(session, row.id, wanted, by=_by(person), now=place.clock.now())


@gateways.command()
@_ACCOUNT
@_REASON
@_BY
@deployment
def suspend(place: Deployment, account: str, reason: str, person: str) -> None:
    """Refuse every call of the account, within ten seconds."""
    with place.work() as session:
        row = provisioning.named(session, account)
        provisioning.suspend(session, row.id, reason=reason, by=_by(person), now=place.clock.now())


@gateways.command()
@_ACCOUNT
@_REASON
@_BY
@deployment
def resume(place: Deployment, account: str, reason: str, person: str) -> None:
    """Let a suspended account go on."""
    with place.work() as session:
        row = provisioning.named(session, account)
        provisioning.resume(session, row.id, reason=reason, by=_by(person), now=place.clock.now())


@gateways.command("new-secret")
@_ACCOUNT
@click.option("--until", type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z"]), help="When it stops by itself.")
@_BY
@deployment
def new_secret(place: Deployment, account: str, until: datetime | None, person: str) -> None:
    """Add a second appSecret or userPwd, which is printed once. The old one goes on until `end-secret`."""
    if until is not None and until <= place.clock.now():
        raise click.BadParameter("须晚于当前时间。 A time that is still to come.", param_hint="--until")
    with place.work() as session:
        row = provisioning.named(session, account)
        secret = _new_secret(place, session, row, until, person)
        told = row.kind, row.name
    _tell(*told, secret)


@gateways.command("end-secret")
@_ACCOUNT
@click.argument("secret_id", type=click.UUID)
@_BY
@deployment
def end_secret(place: Deployment, account: str, secret_id: UUID, person: str) -> None:
    """End a secret, within ten seconds."""
    with place.work() as session:
        row = provisioning.named(session, account)
        provisioning.end_secret(session, row.id, secret_id, by=_by(person), now=place.clock.now())


@gateways.command("place")
@_ACCOUNT
@click.argument("kind", type=click.Choice([str(kind) for kind in PlaceKind]))
@click.argument("code")
@click.argument("institution_code", required=False)
@_BY
@deployment
def add_place(
    place: Deployment, *, account: str, kind: str, code: str, institution_code: str | None, person: str
) -> None:
    """Let an account call with CODE: a hospitalId or orgId, which means INSTITUTION_CODE; or an appCode."""
    with place.work() as session:
        row = provisioning.named(session, account)
        home = clients.institution(session, institution_code).id if institution_code else None
        provisioning.add_place(session, row.id, PlaceKind(kind), code, home, by=_by(person), now=place.clock.now())


@gateways.command("end-place")
@_ACCOUNT
@click.argument("kind", type=click.Choice([str(kind) for kind in PlaceKind]))
@click.argument("code")
@_BY
@deployment
def end_place(place: Deployment, account: str, kind: str, code: str, person: str) -> None:
    """Take a code from an account, within ten seconds."""
    with place.work() as session:
        row = provisioning.named(session, account)
        found = provisioning.place_named(session, row.id, PlaceKind(kind), code)
        provisioning.end_place(session, row.id, found.id, by=_by(person), now=place.clock.now())


@gateways.command()
@_ACCOUNT
@click.option("--hours", type=click.IntRange(1, 24 * 366), default=24, show_default=True)
@deployment
def usage(place: Deployment, account: str, hours: int) -> None:
    """What an account calls: method, dialect or signature profile, result, calls, average time, last call; error rates.

    ACCOUNT `strangers`: calls by none of the accounts.
    """
    until = place.clock.now() + timedelta(hours=1)
    with place.work() as session:
        found = reading.usage(session, _id(session, account), since=until - timedelta(hours=hours + 1), until=until)
    calls = sum(use.calls for use in found)
    failed = sum(use.calls for use in found if not use.ok)
    for use in found:
        mark = " " if use.ok else "!"
        click.echo(
            f"{mark} {use.method:32} {use.dialect:24} {use.result:>6} {use.calls:>9} "
            f"{use.milliseconds:8.1f} ms  {_time(use.last_at)}"
        )
    for one in reading.by_method(found):
        click.echo(f"= {one.method:32} {one.calls:>9} calls {one.failed / one.calls:7.1%} failed  {_time(one.last_at)}")
    click.echo(f"{calls} calls, {failed} failed" + (f" ({failed / calls:.1%})" if calls else ""))


@gateways.command("log")
@_ACCOUNT
@click.option("--method", help="Only of this method or operation.")
@click.option("--limit", type=click.IntRange(1, KEPT), default=20, show_default=True)
@deployment
def show_log(place: Deployment, account: str, method: str | None, limit: int) -> None:
    """The last failed calls of an account, the newest first; values that could name somebody by their shape.

    ACCOUNT `strangers`: calls by none of the accounts, for example with a wrong appId.
    """
    with place.work() as session:
        for row in reading.failures(session, _id(session, account), method=method, limit=limit):
            for line in _told(row):
                click.echo(line)


def _told(row: FailureRow) -> list[str]:
    head = f"{_time(row.at)} {row.method} [{row.dialect}] → {row.result}  {row.milliseconds:.1f} ms  {row.reference}"
    said_first = sorted(row.trace.items(), key=lambda member: (member[0] not in _ANSWERED, member[0]))
    return [head.rstrip(), *(f"    {name:24} {value}" for name, value in said_first)]


def _new_secret(place: Deployment, session: Session, row: AccountRow, until: datetime | None, person: str) -> str:
    sealer = secret_keys.load(session, place.kek).sealer
    by, now = _by(person), place.clock.now()
    return provisioning.add_secret(session, row.id, sealer=sealer, by=by, now=now, ends_at=until).secret


def _tell(kind: str, name: str, secret: str) -> None:
    names = ("appId", "appSecret") if kind == GatewayKind.OPEN_PLATFORM else ("userName", "userPwd")
    click.echo(f"{names[0]:9} {name}\n{names[1]:9} {secret}")
    click.echo("密钥只显示这一次。 The secret is shown only once.", err=True)


def _id(session: Session, account: str) -> UUID:
    return NOBODY if account == _STRANGERS else provisioning.named(session, account).id


def _by(person: str) -> By:
    return By(f"operator:{person}")


def _line(one: Seen) -> str:
    world = "sandbox" if one.app.sandbox else "real"
    row = one.row
    return (
        f"{row.name:32} {row.kind:13} {row.state:9} {world:7} {_time(one.last_call)} {one.app.client_id} {one.app.name}"
    )


def _time(when: datetime | None) -> str:
    return f"{when.astimezone(CHINA_TIME):%Y-%m-%d %H:%M:%S}" if when is not None else f"{'-':19}"
