"""The simulated reader of identity cards: it sees nothing. What a picture shows it was told, or makes up."""

import base64
from collections.abc import Mapping
from hashlib import sha256
from threading import Lock
from typing import Any

from ehc.core.documents import check_character

_MEMBERS = ("name", "number", "sex", "nation", "birth_date", "address")
_NOTHING = b"unreadable"
"""A picture that holds these bytes shows no card, so that this can be tried by hand."""


class Pictures:
    """Threads share it. Pictures are known by their SHA-256; of the others each shows somebody made up."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.clear()

    def clear(self) -> None:
        """Forget what every picture shows."""
        with self._lock:
            self._known: dict[str, dict[str, str]] = {}

    def add(self, told: Mapping[str, Any]) -> None:
        """What a picture shows: `sha256` in hex, and the members of the card. Raises `KeyError` or `TypeError`."""
        card = {name: str(told[name]) for name in _MEMBERS}
        with self._lock:
            self._known[str(told["sha256"]).lower()] = card

    def read(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer to a question. Raises `KeyError`, `TypeError` or `ValueError` for what is not one."""
        image = base64.b64decode(question["image"], validate=True)
        if _NOTHING in image:
            return {"result": "unreadable"}
        digest = sha256(image)
        with self._lock:
            card = self._known.get(digest.hexdigest())
        return {"result": "read", "card": card or _made_up(digest.digest())}


def _made_up(digest: bytes) -> dict[str, str]:
    first = f"11010519900307{int.from_bytes(digest[:4], 'big') % 1000:03}"
    return {
        "name": "模拟人",
        "number": first + check_character(first),
        "sex": "男" if int(first[-1]) % 2 else "女",
        "nation": "汉",
        "birth_date": "1990-03-07",
        "address": "模拟识别的地址，不是真实证件",
    }
