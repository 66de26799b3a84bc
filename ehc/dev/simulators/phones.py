"""The simulated SMS gateway: what it was given to deliver is kept for reading, and reaches no phone."""

from collections import OrderedDict
from threading import Lock
from typing import Any

KEEP = 1_000
"""Messages kept, the newest."""

DEAD_END = "0000"
"""Numbers that end so cannot receive messages."""


class Phones:
    """Threads share it. One message for each message id, the first that came under it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.clear()

    def clear(self) -> None:
        """Forget every message."""
        with self._lock:
            self._messages: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def accept(self, message: dict[str, Any]) -> dict[str, Any]:
        """The answer to a message. Raises `KeyError` or `TypeError` for what is not one."""
        kept = {name: message[name] for name in ("message_id", "phone", "template", "values")}
        if kept["phone"].endswith(DEAD_END):
            return {"result": "refused"}
        with self._lock:
            self._messages.setdefault(kept["message_id"], kept)
            while len(self._messages) > KEEP:
                self._messages.popitem(last=False)
        return {"result": "accepted"}

    def messages(self) -> list[dict[str, Any]]:
        """The messages, the newest first."""
        with self._lock:
            return list(reversed(self._messages.values()))
