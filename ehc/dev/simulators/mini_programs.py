"""The one mini-program that the simulated platforms know: what its owner was given, and the keys of either side.

Made once, in the simulators' folder. Appids begin as no real one does, and a service that is no demo refuses them.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from ehc.outside.alipay import read_private_key

FILE = "mini-program.json"
WECHAT_APPID, ALIPAY_APPID = "wxsimulated0000001", "9999000000000001"


@dataclass(frozen=True)
class MiniProgram:
    """What both sides know of it: the platform that answers, and, in `credentials`, whoever sets the app up."""

    wechat_secret: str
    own_key: RSAPrivateKey
    """The mini-program's, which signs questions to Alipay."""
    platform_key: RSAPrivateKey
    """The simulated Alipay's, which signs answers."""

    @classmethod
    def kept(cls, folder: Path) -> "MiniProgram":
        """That of a folder, made if there is none."""
        file = folder / FILE
        if not file.exists():
            told = {"wechat_secret": token_hex(16)}
            told |= {name: _private(generate_private_key(65537, 2048)) for name in ("own_key", "platform_key")}
            draft = file.with_suffix(".new")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
                json.dump(told, out)
            draft.replace(file)
        told = json.loads(file.read_text(encoding="ascii"))
        return cls(told["wechat_secret"], read_private_key(told["own_key"]), read_private_key(told["platform_key"]))

    @property
    def credentials(self) -> dict[str, dict[str, str]]:
        """The bodies of `PUT /v1/admin/apps/{id}/platforms/…`, by platform."""
        public = self.platform_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        alipay = {"private_key": _private(self.own_key), "platform_key": public.decode()}
        return {
            "wechat": {"appid": WECHAT_APPID, "secret": self.wechat_secret},
            "alipay": {"appid": ALIPAY_APPID, **alipay},
        }


def _private(key: RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
