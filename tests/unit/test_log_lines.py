"""Log lines in batches: none lost, none out of order, warnings at once."""

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from ehc.log_lines import LogLines


def test_information_is_written_soon_and_in_order() -> None:
    stream = io.BytesIO()
    lines = LogLines(stream)
    for number in range(100):
        lines.info(b"%d" % number)
    assert stream.getvalue() == b""
    _wait_for_the_writer()
    assert stream.getvalue().split() == [b"%d" % number for number in range(100)]


def test_a_warning_is_written_at_once_with_all_before_it() -> None:
    stream = io.BytesIO()
    lines = LogLines(stream)
    lines.info(b"first")
    lines.warning(b"second")
    assert stream.getvalue() == b"first\nsecond\n"
    _wait_for_the_writer()


def test_no_line_of_many_threads_is_lost_or_mixed() -> None:
    stream = io.BytesIO()
    lines = LogLines(stream)

    def write(who: int) -> None:
        for number in range(200):
            (lines.error if number % 50 == 0 else lines.info)(b"%d.%d" % (who, number))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(16)))
    _wait_for_the_writer()
    written = stream.getvalue().split()
    assert sorted(written) == sorted(b"%d.%d" % (who, number) for who in range(16) for number in range(200))


def _wait_for_the_writer() -> None:
    deadline = time.monotonic() + 5
    while any(thread.name == "log" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
