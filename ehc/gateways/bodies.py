"""Reading a body of bounded size, whatever its content type says and however it is sent."""

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

_PIECE = 64 * 1024


class TooLarge(Exception):
    """The body has more bytes than the interface takes. What was read of it is given up."""


def read_body(limit: int) -> bytes:
    """The request's body, as it came. Holds no more than `limit` bytes of it and one piece. Raises `TooLarge`.

    Before anything else looks at the body: once a form is parsed, nothing is left of it.
    """
    declared = request.content_length
    if declared is not None and declared > limit:
        raise TooLarge
    request.max_content_length = limit + 1  # a chunked body is cut there without a word; the byte more tells
    pieces, size = [], 0
    try:
        while piece := request.stream.read(_PIECE):
            size += len(piece)
            if size > limit:
                raise TooLarge
            pieces.append(piece)
    except RequestEntityTooLarge:
        raise TooLarge from None
    return b"".join(pieces)
