"""Bodies of gateways: whole, whatever their content type; and never more in memory than the interface takes."""

from contextlib import AbstractContextManager
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from flask.ctx import RequestContext

from ehc.gateways.bodies import PATIENCE, PIECE, TooLarge, read_body

LIMIT = 100_000


class Endless:
    """A body without an end, which counts what is taken of it."""

    def __init__(self) -> None:
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        assert 0 <= size <= PIECE
        self.taken += size
        return b"x" * size


def asked(stream: Any, *, kind: str = "text/xml", length: int | None = None) -> AbstractContextManager[RequestContext]:
    """A request with this body, chunked where no length is given."""
    app = Flask("bodies")
    app.config["MAX_CONTENT_LENGTH"] = 1000
    given = {"wsgi.input": stream, "CONTENT_TYPE": kind, "wsgi.input_terminated": True}
    if length is not None:
        given["CONTENT_LENGTH"] = str(length)
    return app.test_request_context("/", method="POST", environ_overrides=given)


@pytest.mark.parametrize(
    "kind", ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/xml", ""]
)
@pytest.mark.parametrize("size", [0, 1, PIECE, LIMIT])
def test_body_comes_whole_whatever_its_type_and_however_it_is_sent(kind: str, size: int) -> None:
    body = b"%" * size
    with asked(BytesIO(body), kind=kind, length=size):
        assert read_body(LIMIT) == body
    with asked(BytesIO(body), kind=kind):
        assert read_body(LIMIT) == body


@pytest.mark.parametrize("size", [LIMIT + 1, LIMIT + PATIENCE, LIMIT + PATIENCE + 1])
@pytest.mark.parametrize("chunked", [True, False])
def test_larger_body_is_refused(size: int, chunked: bool) -> None:
    with asked(BytesIO(b"x" * size), length=None if chunked else size), pytest.raises(TooLarge):
        read_body(LIMIT)


def test_declared_length_far_beyond_is_refused_unread() -> None:
    stream = Endless()
    with asked(stream, length=LIMIT + PATIENCE + 1), pytest.raises(TooLarge):
        read_body(LIMIT)
    assert stream.taken == 0


def test_endless_body_is_given_up() -> None:
    stream = Endless()
    with asked(stream), pytest.raises(TooLarge):
        read_body(LIMIT)
    assert stream.taken <= LIMIT + PATIENCE + PIECE
