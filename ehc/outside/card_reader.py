"""A reader of photographed identity cards (身份证识别, OCR). Its wire format is docs/outside-parties.md, section 6."""

import base64
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from ehc.clock import Clock
from ehc.errors import EhcError, Text, Unavailable
from ehc.outside.signed_http import Misshapen, NoAnswer, PartyKey, SignedParty

MAX_IMAGE = 2 * 2**20
"""Largest picture in bytes."""
_TEXTS = ("name", "number", "sex", "nation", "address")
_LONGEST = 200

_AWAY = Text(
    "证件识别服务暂不可用，请稍后重试或手工填写。", "The reader is away. Try again, or type what the card says."
)
_UNREADABLE = Text("未能识别证件，请对正、避光后重拍，或手工填写。", "The card cannot be read. Photograph it again.")


class ReaderAway(Unavailable):
    """The reader did not answer."""

    code = "reader-away"


class Unreadable(EhcError):
    """The reader finds no identity card in the picture."""

    code = "card-unreadable"


@dataclass(frozen=True)
class CardFront:
    """What stands on the front of an identity card, as it was read. It proves nothing. `sex` is 男 or 女."""

    name: str = field(repr=False)
    number: str = field(repr=False)
    sex: str
    nation: str
    """Without 族, as it is printed."""
    birth_date: date = field(repr=False)
    address: str = field(repr=False)


class CardReader(Protocol):
    """Anything that reads identity cards."""

    def read(self, image: bytes) -> CardFront:
        """The front of the card in a picture. Raises `ReaderAway` or `Unreadable`."""
        ...


class HttpCardReader:
    """The reader behind `url`. Threads may share it; ask outside a database transaction, it can take 3 s."""

    def __init__(self, url: str, key: PartyKey | Path, *, clock: Clock) -> None:
        """`key` or its file. Raises `SetupError`."""
        key = PartyKey.from_file(key) if isinstance(key, Path) else key
        self._party = SignedParty("card-reader", url, key, clock=clock)

    def read(self, image: bytes) -> CardFront:
        """The front of the card in a picture. Raises `ReaderAway` or `Unreadable`."""
        question = {"image": base64.b64encode(image).decode()}
        try:
            found = self._party.ask("/v1/card-readings", question, _front)
        except NoAnswer as none:
            raise ReaderAway(_AWAY, retry_after=none.retry_after) from None
        if found is None:
            raise Unreadable(_UNREADABLE)
        return found


def _front(answer: dict[str, Any]) -> CardFront | None:
    if answer.get("result") == "unreadable":
        return None
    told = answer.get("card")
    if answer.get("result") != "read" or not isinstance(told, dict):
        raise Misshapen
    texts = {name: text for name in _TEXTS if isinstance(text := told.get(name), str) and len(text) <= _LONGEST}
    if len(texts) < len(_TEXTS):
        raise Misshapen
    try:
        born = date.fromisoformat(told["birth_date"])
    except (KeyError, TypeError, ValueError):
        raise Misshapen from None
    return CardFront(**texts, birth_date=born)
