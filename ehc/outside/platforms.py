"""What the platforms of mini-programs have in common: whom they tell of, and how they refuse (docs/sessions.md)."""

from dataclasses import dataclass
from enum import StrEnum

from ehc.errors import EhcError, Text, Unavailable

BUSY_SECONDS = 5


class Platform(StrEnum):
    """Where a log-in comes from. `sms` is no platform of anybody's: the phone itself stands for the person."""

    WECHAT = "wechat"
    ALIPAY = "alipay"
    SMS = "sms"


@dataclass(frozen=True)
class PlatformPerson:
    """Somebody as a platform knows them: the id within one mini-program, and the one across those of a company."""

    external_id: str
    union_id: str | None = None


class LoginCodeInvalid(EhcError):
    """The platform does not know this log-in code, or it is too old."""

    code = "login-code-invalid"


class LoginCodeUsed(EhcError):
    """The platform has taken this log-in code before."""

    code = "login-code-used"


class LoginBlocked(EhcError):
    """The platform lets this person not log in."""

    code = "login-blocked"


class PlatformBusy(Unavailable):
    """The platform limits how often it is asked, or is busy."""

    code = "platform-busy"


class PlatformAway(Unavailable):
    """The platform did not answer. It may have used the code up."""

    code = "platform-away"


class PlatformRefused(EhcError):
    """The platform refuses the app, not the person: appid, secret, key or source address are not what it expects."""

    code = "platform-refused"


def code_invalid() -> LoginCodeInvalid:
    """The answer for a code that leads nowhere."""
    return LoginCodeInvalid(
        Text("登录凭证无效或已过期，请在小程序中重新登录。", "The log-in code is not valid. Get a new one.")
    )


def code_used() -> LoginCodeUsed:
    """The answer for a code that came before."""
    return LoginCodeUsed(
        Text("登录凭证已使用过，请在小程序中重新登录。", "The log-in code was used before. Get a new one.")
    )


def blocked() -> LoginBlocked:
    """The answer for somebody whom the platform holds back."""
    return LoginBlocked(
        Text(
            "平台判定该账号存在风险，暂不能登录；请改用短信登录。",
            "The platform holds this account back. Log in by SMS.",
        )
    )


def busy() -> PlatformBusy:
    """The answer while the platform takes no more questions."""
    return PlatformBusy(
        Text("平台繁忙，请稍后重新登录。", "The platform is busy. Log in again shortly."), retry_after=BUSY_SECONDS
    )


def away(retry_after: int) -> PlatformAway:
    """The answer for a platform that is silent, or whose answer cannot be believed."""
    return PlatformAway(
        Text(
            "登录平台暂不可用，请稍后用新的登录凭证重试。",
            "The platform is away. Try again shortly, with a new log-in code.",
        ),
        retry_after=retry_after,
    )


def refused() -> PlatformRefused:
    """The answer where the app's own standing with the platform is at fault."""
    return PlatformRefused(
        Text(
            "平台拒绝了本应用的凭据，请运维核对 appid、密钥和 IP 白名单。",
            "The platform refuses this app's credentials. Have the operators check appid, secret and its address list.",
        )
    )
