"""Reading a body of bounded size, whatever its content type says and however it is sent."""

from collections.abc import Iterator
from ctypes import CDLL
from threading import BoundedSemaphore

from flask import g, request
from werkzeug.exceptions import RequestEntityTooLarge

PIECE = 64 * 1024
PATIENCE = 16 * 1024 * 1024
"""So many bytes beyond the limit are read and dropped: many clients look for an answer only when they have sent it all."""

LARGE = 256 * 1024
"""Bodies above this are worked on a few at a time: read, decoded and parsed, one is many times its size for a moment."""
AT_A_TIME = 4
_ROOM = BoundedSemaphore(AT_A_TIME)
_M_MMAP_THRESHOLD = -3
"""As `malloc.h` has it. To set it ends that glibc raises it by itself, up to 32 MiB."""


class TooLarge(Exception):
    """The body has more bytes than the interface takes. Nothing of it is kept."""


def read_body(limit: int) -> bytes:
    """The request's body, as it came. Holds no more than `limit` bytes of it and one piece. Raises `TooLarge`.

    To be called before anything else looks at the body: once a form is parsed, nothing is left of it. After a large one the
    request has to `let_go`. Whoever sends slowly keeps nobody from room: it is taken when all is here.
    """
    request.max_content_length = limit + PATIENCE  # a chunked body is cut there without a word
    whole, size = bytearray(), 0  # one block, which grows in place and goes as a whole
    for piece in _pieces():
        size += len(piece)
        if size <= limit:
            whole += piece
        else:
            whole.clear()
    if size > limit:
        raise TooLarge
    if size > LARGE:
        _ROOM.acquire()
        g.large_body = True
    return bytes(whole)


def let_go(_: BaseException | None = None) -> None:
    """Make room for the next large body: when a request ends, however it ends."""
    if g.pop("large_body", False):
        _ROOM.release()


def give_back_memory() -> None:
    """Have large blocks given back to the system when they are freed. For the whole process; to be called as it starts.

    glibc keeps blocks of a size that was freed before, for each thread: a burst of large bodies would cost a worker hundreds of
    megabytes for good. Other C libraries have no such setting, nor need of it.
    """
    mallopt = getattr(CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE // 2)


def _pieces() -> Iterator[bytes]:
    try:
        while piece := request.stream.read(PIECE):
            yield piece
    except RequestEntityTooLarge:  # it says so itself
        raise TooLarge from None
