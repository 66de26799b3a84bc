"""Bodies of gateways: whole, whatever their content type; and never more in memory than the interface takes."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from io import BytesIO
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest
from flask import Flask
from flask.ctx import RequestContext

from ehc.gateways.bodies import AT_A_TIME, LARGE, PATIENCE, PIECE, TooLarge, let_go, read_body

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


def together(size: int, bodies: int, *, seconds: float = 20) -> bool:
    """Whether so many bodies of this size are worked on at one moment, each until its request lets go."""
    all_at_once = Barrier(bodies)

    def work(_: int) -> bool:
        with asked(BytesIO(b"x" * size)):
            read_body(size)
            try:
                all_at_once.wait(seconds)
            except BrokenBarrierError:
                return False
            finally:
                let_go()
        return True

    with ThreadPoolExecutor(bodies) as pool:
        return all(pool.map(work, range(bodies)))


def test_few_large_bodies_are_worked_on_at_a_time_and_any_number_of_small_ones() -> None:
    assert together(LARGE + 1, AT_A_TIME)
    assert not together(LARGE + 1, AT_A_TIME + 1, seconds=0.3)
    assert together(LARGE + 1, AT_A_TIME)  # all have let go
    assert together(LARGE, 4 * AT_A_TIME)
