"""WeChat's log-in of mini-programs: `GET /sns/jscode2session`. The session key in its answer is dropped unread."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlencode

import orjson

from ehc.errors import EhcError
from ehc.outside import platforms
from ehc.outside.members import member, text
from ehc.outside.platforms import PlatformPerson
from ehc.outside.signed_http import LIMIT, HttpParty, Misshapen, NoAnswer

PATH = "/sns/jscode2session"
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_ERROR = re.compile(r"-?\d{1,10}", re.ASCII)
_ANSWERS = {
    40029: platforms.code_invalid,  # invalid code
    41008: platforms.code_invalid,  # missing code
    42003: platforms.code_invalid,  # code expired
    40163: platforms.code_used,  # code been used
    40226: platforms.blocked,  # code blocked: a risky account
    45011: platforms.busy,  # 100 a minute for each person
    45009: platforms.busy,  # the day's quota
    -1: platforms.busy,  # system error
}


@dataclass(frozen=True)
class WechatApp:
    """A mini-program as WeChat knows it."""

    appid: str
    secret: str = field(repr=False)


class HttpWechat(HttpParty):
    """WeChat at `url`. Threads may share it. Ask outside a database transaction: it can take 3 s."""

    def __init__(self, url: str) -> None:
        """Raises `SetupError` for a URL that may not be used."""
        super().__init__("wechat", url)

    def person(self, app: WechatApp, code: str) -> PlatformPerson:
        """Who a log-in code stands for. Raises the refusals of `ehc/outside/platforms.py`, and `PlatformAway`."""
        asked = {"appid": app.appid, "secret": app.secret, "js_code": code, "grant_type": "authorization_code"}
        try:
            found = self._told(lambda: self._ask(urlencode(asked)))
        except NoAnswer as none:
            raise platforms.away(none.retry_after) from None
        if isinstance(found, EhcError):
            raise found
        return found

    def _ask(self, query: str) -> PlatformPerson | EhcError:
        self._require_no_pause()
        path, headers = f"{self._base}{PATH}?{query}", {"Accept-Encoding": "identity", "User-Agent": "ehc"}
        raw = self._in_time(lambda: self._exchange(path, headers, None, "GET"))
        if raw.status != 200:
            raise NoAnswer("status")
        if len(raw.body) > LIMIT:
            raise NoAnswer("too-large")
        try:
            told = orjson.loads(raw.body)  # whatever its content type: WeChat says text/plain
        except orjson.JSONDecodeError:
            raise Misshapen from None
        return _read(told)


def _read(told: object) -> PlatformPerson | EhcError:
    error = member(told, "errcode")
    if error not in (None, 0, "0"):
        # a number, or, as some of its documents have it, digits in a text
        if isinstance(error, bool) or not isinstance(error, int | str) or not _ERROR.fullmatch(str(error)):
            raise Misshapen
        return _ANSWERS.get(int(error), platforms.refused)()
    union = member(told, "unionid")
    return PlatformPerson(text(told, "openid", _ID), text(told, "unionid", _ID) if union else None)
