"""What an app logs people in with at a platform: set by staff, sealed, and never shown again. Nothing here commits."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import orjson
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ehc import audit
from ehc.crypto.sealed import Sealer
from ehc.errors import EhcError, InvalidValue, Text
from ehc.keystore.platform_models import AppPlatformRow
from ehc.outside.alipay import AlipayApp, read_private_key, read_public_key
from ehc.outside.platforms import Platform
from ehc.outside.wechat import WechatApp

SIMULATED = {Platform.WECHAT: "wxsimulated", Platform.ALIPAY: "9999"}
"""How the appids begin that our simulators know. Production refuses them."""
_APPIDS = {Platform.WECHAT: re.compile(r"wx[0-9a-z]{16}"), Platform.ALIPAY: re.compile(r"[0-9]{16}", re.ASCII)}
_SECRET = re.compile(r"[0-9A-Za-z]{16,64}", re.ASCII)


MASKED = "***"
"""What the audit log tells of a secret: that there was one."""


class PlatformNotSet(EhcError):
    """The app has no credentials for this platform."""

    code = "platform-not-configured"


@dataclass(frozen=True)
class WechatCredentials:
    """What WeChat gave a mini-program."""

    appid: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class AlipayCredentials:
    """What Alipay gave a mini-program, and the key it made itself; keys as PEM or bare base64."""

    appid: str
    private_key: str = field(repr=False)
    platform_key: str = field(repr=False)


Credentials = WechatCredentials | AlipayCredentials


def put(
    session: Session,
    app_id: UUID,
    given: Credentials,
    *,
    sealer: Sealer,
    actor: str,
    demo: bool,
    now: datetime,
) -> AppPlatformRow:
    """Set an app's credentials at a platform, whatever they were. The caller holds the app. Raises `InvalidValue`."""
    platform = Platform.WECHAT if isinstance(given, WechatCredentials) else Platform.ALIPAY
    _require_form(platform, given, demo=demo)
    held = session.get(AppPlatformRow, (app_id, platform), populate_existing=True)
    before = {"appid": held.appid, "secret": MASKED} if held else None
    sealed = sealer.seal(orjson.dumps(_secret(given)).decode(), _place(app_id, platform))
    told = {"appid": given.appid, "secret": sealed, "set_at": now}
    row = insert(AppPlatformRow).values(client_id=app_id, platform=platform, **told)
    session.execute(row.on_conflict_do_update(index_elements=["client_id", "platform"], set_=told))
    after = {"appid": given.appid, "secret": MASKED}
    facts = {"platform": platform, "before": before, "after": after}
    audit.record(session, "app.platform-set", actor=actor, subject=str(app_id), at=now, facts=facts)
    return session.get_one(AppPlatformRow, (app_id, platform), populate_existing=True)


def remove(session: Session, app_id: UUID, platform: Platform, *, actor: str, now: datetime) -> None:
    """Forget an app's credentials at a platform. Raises `PlatformNotSet`."""
    mine = AppPlatformRow.client_id == app_id, AppPlatformRow.platform == platform
    gone = session.execute(delete(AppPlatformRow).where(*mine).returning(AppPlatformRow.appid)).one_or_none()
    if gone is None:
        raise not_set()
    before = {"appid": gone.appid, "secret": MASKED}
    facts = {"platform": platform, "before": before, "after": None}
    audit.record(session, "app.platform-removed", actor=actor, subject=str(app_id), at=now, facts=facts)


def of_app(session: Session, app_id: UUID) -> list[AppPlatformRow]:
    """What is set for an app, without a secret being opened."""
    wanted = select(AppPlatformRow).where(AppPlatformRow.client_id == app_id)
    return list(session.scalars(wanted.order_by(AppPlatformRow.platform)))


def wechat_app(session: Session, app_id: UUID, *, sealer: Sealer, demo: bool) -> WechatApp:
    """The app as WeChat knows it. Raises `PlatformNotSet`."""
    row, secret = _opened(session, app_id, Platform.WECHAT, sealer, demo=demo)
    return WechatApp(row.appid, secret["secret"])


def alipay_app(session: Session, app_id: UUID, *, sealer: Sealer, demo: bool) -> AlipayApp:
    """The app as Alipay knows it. Raises `PlatformNotSet`."""
    row, secret = _opened(session, app_id, Platform.ALIPAY, sealer, demo=demo)
    return AlipayApp(row.appid, read_private_key(secret["private_key"]), read_public_key(secret["platform_key"]))


def not_set() -> PlatformNotSet:
    """The answer for an app that has nothing to log in with there."""
    return PlatformNotSet(
        Text(
            "本应用未配置该登录平台，请联系运维。", "This app has no credentials for this platform. Ask the operators."
        )
    )


def _require_form(platform: Platform, given: Credentials, *, demo: bool) -> None:
    if not _APPIDS[platform].fullmatch(given.appid):
        raise InvalidValue.at("/appid", "appid-form", Text("appid 格式不正确。", "This is not the form of an appid."))
    if given.appid.startswith(SIMULATED[platform]) and not demo:
        message = Text("这是模拟器的 appid，不能用于正式环境。", "This appid is a simulator's. Use the platform's own.")
        raise InvalidValue.at("/appid", "appid-simulated", message)
    if isinstance(given, WechatCredentials):
        if not _SECRET.fullmatch(given.secret):
            message = Text("secret 格式不正确。", "This is not the form of a secret.")
            raise InvalidValue.at("/secret", "secret-form", message)
        return
    for name, read in (("private_key", read_private_key), ("platform_key", read_public_key)):
        try:
            read(getattr(given, name))
        except ValueError:
            message = Text(
                "应为 2048 位以上的 RSA 密钥（PEM 或 Base64）。", "An RSA key of 2048 bits or more, PEM or base64."
            )
            raise InvalidValue.at(f"/{name}", "key-form", message) from None


def _secret(given: Credentials) -> dict[str, str]:
    if isinstance(given, WechatCredentials):
        return {"secret": given.secret}
    return {"private_key": given.private_key, "platform_key": given.platform_key}


def _opened(
    session: Session, app_id: UUID, platform: Platform, sealer: Sealer, *, demo: bool
) -> tuple[AppPlatformRow, dict[str, str]]:
    row = session.get(AppPlatformRow, (app_id, platform))
    if row is None or (row.appid.startswith(SIMULATED[platform]) and not demo):
        raise not_set()
    opened: dict[str, str] = orjson.loads(sealer.unseal(row.secret, _place(app_id, platform)))
    return row, opened


def _place(app_id: UUID, platform: Platform) -> str:
    return f"app_platform.secret:{app_id}:{platform}"
