"""Random bytes in small pieces, drawn from the operating system in larger ones.

Each draw from the system lets go of the interpreter, and with many threads waiting a thread pays two switches to get it
back. The bytes are the system's own, each given out once; a forked child starts with an empty store.
"""

import os
from threading import local

_DRAW = 1024


class _Store(local):
    def __init__(self) -> None:
        self.bytes = b""
        self.at = 0


_store = _Store()


def random_bytes(count: int) -> bytes:
    """`count` random bytes, good for keys. Raises `ValueError` for more than 1,024 at once."""
    if count > _DRAW:
        raise ValueError("too many random bytes at once")
    if count > len(_store.bytes) - _store.at:
        _store.bytes, _store.at = os.urandom(_DRAW), 0
    _store.at += count
    return _store.bytes[_store.at - count : _store.at]


def _forget() -> None:
    _store.bytes, _store.at = b"", 0


os.register_at_fork(after_in_child=_forget)
