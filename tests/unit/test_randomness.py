"""Random bytes: each given out once, to any thread and any child."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from ehc.core.randomness import random_bytes


def test_no_piece_is_given_out_twice_to_many_threads() -> None:
    with ThreadPoolExecutor(16) as pool:
        pieces = [
            piece for drawn in pool.map(lambda _: [random_bytes(8) for _ in range(500)], range(64)) for piece in drawn
        ]
    assert len(set(pieces)) == len(pieces) == 32_000


@pytest.mark.parametrize("count", [0, 1, 16, 1024])
def test_as_many_bytes_as_asked_for(count: int) -> None:
    random_bytes(1000)
    assert len(random_bytes(count)) == count


def test_more_than_a_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="too many"):
        random_bytes(1025)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_gives_out_other_bytes() -> None:
    random_bytes(8)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, random_bytes(16))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 16) != random_bytes(16)
    os.close(reader)
    os.close(writer)
