"""The shapes of apps' credentials at the platforms, and of residents' sessions as the staff see them."""

from typing import Any

from marshmallow import Schema, fields, validate

from ehc.keystore.platform_models import AppPlatformRow
from ehc.sessions.ending import Seen
from ehc.web.answers import instant
from ehc.web.fields import text

_LONGEST_KEY = 4096


def _key(about: str) -> fields.String:
    """A key as a file has it: lines of base64, with or without the lines around them."""
    shape = validate.Regexp(r"[A-Za-z0-9+/= \r\n-]*\Z", error="characters")
    length = validate.Length(1, _LONGEST_KEY, error="length")
    return fields.String(required=True, validate=[length, shape], metadata={"description": about})


class WechatIn(Schema):
    """What WeChat gave the mini-program."""

    appid = text(1, 32, required=True, about="AppID, wx….")
    secret = text(1, 64, required=True, about="AppSecret. Sealed, and never told again.")


class AlipayIn(Schema):
    """The mini-program's own key, and the one with which Alipay signs answers to it."""

    appid = text(1, 32, required=True, about="APPID, 16 digits.")
    private_key = _key("应用私钥, RSA2, 2048 bits or more; PEM or bare base64. Sealed, and never told again.")
    platform_key = _key("支付宝公钥 (not the app's own public key); PEM or bare base64.")


class PlatformOut(Schema):
    """That an app can log people in at a platform. No secret."""

    platform = fields.String(required=True)
    appid = fields.String(required=True)
    set_at = fields.AwareDateTime(required=True)


class PlatformsOut(Schema):
    """Where an app can log people in, and how many are logged in now."""

    platforms = fields.List(fields.Nested(PlatformOut), required=True)
    sessions = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)


class SeenSessionOut(Schema):
    """A live session that leads to the holder of a card."""

    session_id = fields.UUID(required=True)
    app_id = fields.UUID(required=True)
    platform = fields.String(required=True)
    created_at = fields.AwareDateTime(required=True)
    seen_at = fields.AwareDateTime(required=True)


class SeenSessionsOut(Schema):
    """The live sessions of a card's holder, the newest first, 100 at most."""

    sessions = fields.List(fields.Nested(SeenSessionOut), required=True)


class EndedSessionsOut(Schema):
    """How many sessions were ended."""

    ended = fields.Integer(required=True)


def platform_out(row: AppPlatformRow) -> dict[str, Any]:
    """A `PlatformOut`."""
    return {"platform": row.platform, "appid": row.appid, "set_at": instant(row.set_at)}


def seen_out(seen: Seen) -> dict[str, Any]:
    """A `SeenSessionOut`."""
    return {
        "session_id": str(seen.row.id),
        "app_id": str(seen.client_id),
        "platform": seen.platform,
        "created_at": instant(seen.row.created_at),
        "seen_at": instant(seen.row.seen_at),
    }
