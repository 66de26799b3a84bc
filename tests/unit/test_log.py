"""Logs: one JSON object a line, exceptions by kind and place, never by their text or by values."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from ehc import log

SECRET = "王小明 110105199003070017"
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """The lines that were written since `configure`, at level INFO."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    monkeypatch.setattr(log, "sys", SimpleNamespace(stderr=stream))
    log.configure("INFO")

    def told() -> list[dict[str, Any]]:
        log.flush()
        raw: bytes = stream.buffer.getvalue()
        assert SECRET not in raw.decode()
        assert raw.decode().isprintable() or raw.endswith(b"\n")
        return [json.loads(line) for line in raw.splitlines()]

    yield told
    monkeypatch.undo()
    log.configure("WARNING")


def logger() -> Any:
    """A logger that nobody used before."""
    return structlog.get_logger("test")


def fail() -> None:
    held = SECRET
    raise ValueError(held)


def test_an_event_is_one_line_with_its_facts(lines: Lines) -> None:
    logger().info("scan refused", outcome="expired", number=7)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "scan refused", "level": "info", "outcome": "expired", "number": 7}


def test_a_fact_that_is_not_json_is_written_as_text(lines: Lines) -> None:
    logger().info("x", kind=ValueError)
    assert lines()[0]["kind"] == "<class 'ValueError'>"


def test_a_line_break_within_a_fact_stays_within_its_line(lines: Lines) -> None:
    logger().info("x", fact='a\n{"event":"forged"}')
    assert [line["event"] for line in lines()] == ["x"]


def test_what_is_below_the_level_is_not_written(lines: Lines) -> None:
    logger().debug("quiet")
    logger().warning("loud")
    assert [line["event"] for line in lines()] == ["loud"]


def test_an_exception_is_told_by_kind_and_place_without_its_text(lines: Lines) -> None:
    try:
        fail()
    except ValueError:
        logger().error("failed", exc_info=sys.exc_info())
    (line,) = lines()
    assert line["error"] == "ValueError"
    assert line["trace"][-1].endswith(" fail")
    assert "test_log.py:" in line["trace"][-1]


def test_an_exception_with_a_cause_tells_neither_text(lines: Lines) -> None:
    try:
        try:
            fail()
        except ValueError as error:
            raise KeyError(SECRET) from error
    except KeyError:
        logger().error("failed", exc_info=sys.exc_info())
    assert lines()[0]["error"] == "KeyError"


@pytest.mark.parametrize("info", [True, None, False, (None, None, None)], ids=repr)
def test_another_form_of_exc_info_writes_no_text(lines: Lines, info: Any) -> None:
    try:
        fail()
    except ValueError:
        logger().error("failed", exc_info=info)
    assert [line["event"] for line in lines()] == ["failed"]


def test_a_library_is_told_by_name_and_place_without_its_text(lines: Lines) -> None:
    logging.getLogger("some.library").warning("could not insert %s", SECRET)
    (line,) = lines()
    assert (line["event"], line["logger"], line["level"]) == ("library", "some.library", "warning")
    assert line["place"].startswith("test_log:")


def test_an_exception_of_a_library_is_told_without_its_text(lines: Lines) -> None:
    try:
        fail()
    except ValueError:
        logging.getLogger("some.library").exception("failed: %s", SECRET)
    assert lines()[0]["level"] == "error"


def test_a_library_is_not_heard_below_a_warning(lines: Lines) -> None:
    logging.getLogger("some.library").info(SECRET)
    assert lines() == []


def test_a_level_that_is_not_there_is_refused() -> None:
    with pytest.raises(KeyError):
        log.configure("LOUD")
