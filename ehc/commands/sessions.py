"""`ehc sessions …` and `ehc apps set-wechat …`: residents' log-in. What the staff do under `/v1/admin`, at the machine."""

from pathlib import Path
from uuid import UUID

import click

from ehc.access import apps as access
from ehc.access import clients
from ehc.cards import store as cards
from ehc.commands.apps import apps
from ehc.commands.context import Deployment, deployment
from ehc.keystore import platforms, secret_keys
from ehc.keystore.platforms import AlipayCredentials, Credentials, WechatCredentials
from ehc.outside.platforms import Platform
from ehc.sessions import ending

_BY = click.option("--by", "person", required=True, help="Who does it, for the audit log: a staff number.")
_REASON = click.option("--reason", required=True)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def sessions() -> None:
    """居民会话 · sessions of residents."""


@sessions.command("list")
@click.argument("card_id", type=click.UUID)
@deployment
def list_sessions(place: Deployment, card_id: UUID) -> None:
    """Where a card's holder is logged in."""
    with place.work() as session:
        for seen in ending.of_card(session, cards.by_id(session, card_id), now=place.clock.now()):
            click.echo(f"{seen.row.id} {seen.platform:8} app {seen.client_id} {seen.row.created_at:%Y-%m-%d %H:%M}")


@sessions.command("end")
@click.argument("card_id", type=click.UUID)
@_REASON
@_BY
@deployment
def end_sessions(place: Deployment, card_id: UUID, reason: str, person: str) -> None:
    """End every session of a card's holder, in every app, and the links behind them."""
    with place.work() as session:
        card, now = cards.by_id(session, card_id), place.clock.now()
        click.echo(ending.end_of_card(session, card, actor=_actor(person), reason=reason, now=now))


@sessions.command("end-app")
@click.argument("client_id")
@_REASON
@_BY
@deployment
def end_app(place: Deployment, client_id: str, reason: str, person: str) -> None:
    """End every resident's session of an app."""
    with place.work() as session:
        app, now = access.held(session, clients.named(session, client_id).id), place.clock.now()
        click.echo(ending.end_of_app(session, app.id, actor=_actor(person), reason=reason, now=now))


@apps.command("platforms")
@click.argument("client_id")
@deployment
def show_platforms(place: Deployment, client_id: str) -> None:
    """Where an app can log residents in, and how many are logged in. No secret is shown."""
    with place.work() as session:
        app_id = clients.named(session, client_id).id
        counts = ending.count_of_app(session, app_id, now=place.clock.now())
        for row in platforms.of_app(session, app_id):
            click.echo(f"{row.platform:8} {row.appid:20} set {row.set_at:%Y-%m-%d %H:%M}")
        for platform, count in sorted(counts.items()):
            click.echo(f"{platform:8} {count} live sessions")


@apps.command("set-wechat")
@click.argument("client_id")
@click.argument("appid")
@click.argument("secret_file", type=_FILE)
@_BY
@deployment
def set_wechat(place: Deployment, client_id: str, appid: str, secret_file: Path, person: str) -> None:
    """Set with what an app logs residents in at WeChat. The AppSecret is read from a file."""
    _put(place, client_id, WechatCredentials(appid, secret_file.read_text(encoding="ascii").strip()), person)


@apps.command("set-alipay")
@click.argument("client_id")
@click.argument("appid")
@click.argument("private_key_file", type=_FILE)
@click.argument("platform_key_file", type=_FILE)
@_BY
@deployment
def set_alipay(
    place: Deployment, *, client_id: str, appid: str, private_key_file: Path, platform_key_file: Path, person: str
) -> None:
    """Set with what an app logs residents in at Alipay: the app's private key, and Alipay's public one, from files."""
    own, theirs = (file.read_text(encoding="ascii") for file in (private_key_file, platform_key_file))
    _put(place, client_id, AlipayCredentials(appid, own, theirs), person)


@apps.command("remove-platform")
@click.argument("client_id")
@click.argument("platform", type=click.Choice([str(Platform.WECHAT), str(Platform.ALIPAY)]))
@_BY
@deployment
def remove_platform(place: Deployment, client_id: str, platform: str, person: str) -> None:
    """Let an app log nobody in at a platform any more."""
    with place.work() as session:
        app, now = access.held(session, clients.named(session, client_id).id), place.clock.now()
        platforms.remove(session, app.id, Platform(platform), actor=_actor(person), now=now)


def _put(place: Deployment, client_id: str, given: Credentials, person: str) -> None:
    with place.work() as session:
        app = access.held(session, clients.named(session, client_id).id)
        sealer, demo = secret_keys.load(session, place.kek).sealer, place.settings.demo
        platforms.put(session, app.id, given, sealer=sealer, actor=_actor(person), demo=demo, now=place.clock.now())


def _actor(person: str) -> str:
    return f"operator:{person}"
