"""Reading a body of bounded size, whatever its content type says and however it is sent."""

from collections.abc import Iterator

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

PIECE = 64 * 1024
PATIENCE = 16 * 1024 * 1024
"""So many bytes beyond the limit are read and dropped: many clients look for an answer only when they have sent it all."""


class TooLarge(Exception):
    """The body has more bytes than the interface takes. Nothing of it is kept."""


def read_body(limit: int) -> bytes:
    """The request's body, as it came. Holds no more than `limit` bytes of it and one piece. Raises `TooLarge`.

    To be called before anything else looks at the body: once a form is parsed, nothing is left of it.
    """
    request.max_content_length = limit + PATIENCE  # a chunked body is cut there without a word
    pieces, size = [], 0
    for piece in _pieces():
        size += len(piece)
        if size <= limit:
            pieces.append(piece)
        else:
            pieces.clear()
    if size > limit:
        raise TooLarge
    return b"".join(pieces)


def _pieces() -> Iterator[bytes]:
    try:
        while piece := request.stream.read(PIECE):
            yield piece
    except RequestEntityTooLarge:  # it says so itself
        raise TooLarge from None
