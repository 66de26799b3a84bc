"""The SIMULATED log-ins of WeChat and Alipay: codes that each stand for one person, once, for five minutes.

They answer as the platforms do: WeChat 200 and `errcode` in text/plain, Alipay 200 and a member with its signature.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from secrets import token_urlsafe
from threading import Lock
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from ehc.dev.simulators.mini_programs import ALIPAY_APPID, WECHAT_APPID, MiniProgram
from ehc.outside.alipay import ANSWER, ERROR, METHOD, is_signed, sign, signed_text

MODES = {
    "normal": "answers",
    "down": "closes the connection without reading the question",
    "slow": "answers after `seconds`",
    "lost-answer": "does what was asked, then closes the connection without an answer",
    "wrong-signature": "signs with another key (Alipay; WeChat signs nothing)",
    "garbage": "answers what is no JSON",
    "http-500": "answers 500 and does nothing",
    "invalid-code": "knows no code: WeChat 40029",
    "used-code": "has seen every code: WeChat 40163",
    "busy": "is busy: WeChat -1",
    "rate-limit": "is asked too often: WeChat 45011",
    "blocked": "holds the person back: WeChat 40226",
    "bad-secret": "refuses the app: WeChat 40125",
}

SECONDS = 300
_WECHAT = {
    "invalid-code": (40029, "invalid code, rid: 0000"),
    "used-code": (40163, "code been used, rid: 0000"),
    "busy": (-1, "system error"),
    "rate-limit": (45011, "api minute-quota reach limit mustslower retry next minute"),
    "blocked": (40226, "code blocked"),
    "bad-secret": (40125, "invalid appsecret, rid: 0000"),
    "bad-appid": (40013, "invalid appid, rid: 0000"),
}
_ALIPAY = {
    "invalid-code": ("40002", "isv.code-invalid"),
    "used-code": ("40002", "isv.code-is-old"),
    "busy": ("20000", "isp.unknow-error"),
    "rate-limit": ("40005", "isv.app-call-limited"),
    "blocked": ("40006", "isv.insufficient-user-permissions"),
    "bad-secret": ("40002", "isv.invalid-signature"),
    "bad-appid": ("40002", "isv.invalid-app-id"),
}


@dataclass
class Code:
    """A log-in code: for whom, until when, and whether it was taken."""

    told: dict[str, str]
    until: float
    used: bool = False


class Codes:
    """The codes of one platform. Threads share it."""

    def __init__(self) -> None:
        self._lock, self._codes = Lock(), dict[str, Code]()

    def clear(self) -> None:
        """Forget every code."""
        with self._lock:
            self._codes.clear()

    def new(self, told: Mapping[str, str]) -> str:
        """A code for somebody, as the platform's app on their phone gives one."""
        code = token_urlsafe(24)
        with self._lock:
            self._codes[code] = Code(dict(told), time.time() + SECONDS)
        return code

    def take(self, code: str) -> dict[str, str] | str:
        """Whom a code stands for, once; else what is wrong with it."""
        with self._lock:
            found = self._codes.get(code)
            if found is None or found.until <= time.time():
                return "invalid-code"
            if found.used:
                return "used-code"
            found.used = True
            return found.told


class Wechat:
    """`GET /sns/jscode2session`."""

    path = "/sns/jscode2session"

    def __init__(self, mini_program: MiniProgram) -> None:
        self._secret, self.codes = mini_program.wechat_secret, Codes()

    def code(self, told: dict[str, Any]) -> dict[str, Any]:
        """A code for a person, by any name; the same name has the same openid, and the unionid that is given."""
        person = str(told["person"])
        known = {"openid": f"oSIM_{person}", "session_key": "U0lNVUxBVEVEIFNFU1NJT04="}
        return {"code": self.codes.new(known | ({"unionid": str(told["unionid"])} if "unionid" in told else {}))}

    def answer(self, asked: Mapping[str, str], mode: str) -> bytes:
        """What WeChat says."""
        wrong = mode if mode in _WECHAT else self._wrong(asked)
        found = wrong or self.codes.take(asked.get("js_code", ""))
        if isinstance(found, str):
            number, message = _WECHAT[found]
            return json.dumps({"errcode": number, "errmsg": message}).encode()
        return b"\x00garbage" if mode == "garbage" else json.dumps(found).encode()

    def _wrong(self, asked: Mapping[str, str]) -> str | None:
        if asked.get("appid") != WECHAT_APPID:
            return "bad-appid"
        right = asked.get("secret") == self._secret and asked.get("grant_type") == "authorization_code"
        return None if right else "bad-secret"


class Alipay:
    """`POST /gateway.do` of `alipay.system.oauth.token`."""

    path = "/gateway.do"

    def __init__(self, mini_program: MiniProgram) -> None:
        self._keys, self.codes = mini_program, Codes()

    def code(self, told: dict[str, Any]) -> dict[str, Any]:
        """A code for a person, by any name; `open_id` true: as for mini-programs that no longer get user ids."""
        person = str(told["person"])
        known = {"open_id": f"open-sim-{person}"} if told.get("open_id") else {"user_id": f"2088sim{person}"}
        return {"code": self.codes.new(known)}

    def answer(self, asked: Mapping[str, str], mode: str) -> bytes:
        """What Alipay says, signed, save to an app that it does not know."""
        wrong = mode if mode in _ALIPAY else self._wrong(asked)
        found = wrong or self.codes.take(asked.get("code", ""))
        if isinstance(found, str):
            code, sub_code = _ALIPAY[found]
            member, told = ERROR, {"code": code, "msg": "SIMULATED", "sub_code": sub_code, "sub_msg": "模拟器"}
        else:
            member, told = ANSWER, {"access_token": "simulated", **found}
        if mode == "garbage":
            return b"\x00garbage"
        said = json.dumps(told, ensure_ascii=False)
        if found == "bad-appid":
            return f'{{"{member}":{said}}}'.encode()
        # made where it is asked for: at the start it would cost every start
        key = generate_private_key(65537, 2048) if mode == "wrong-signature" else self._keys.platform_key
        return f'{{"{member}":{said},"sign":"{sign(key, said.encode())}"}}'.encode()

    def _wrong(self, asked: Mapping[str, str]) -> str | None:
        if asked.get("app_id") != ALIPAY_APPID:
            return "bad-appid"
        form = asked.get("method") == METHOD and asked.get("sign_type") == "RSA2" and asked.get("charset") == "utf-8"
        signed = is_signed(self._keys.own_key.public_key(), signed_text(asked), asked.get("sign", ""))
        return None if form and signed else "bad-secret"
