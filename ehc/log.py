"""Structured logs: one JSON object a line on standard error. Ids and outcomes; never names, numbers, phones or codes."""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any

import orjson
import structlog

from ehc.log_lines import LogLines


def configure(level: str = "INFO") -> None:
    """Send the service's logs, and those of its libraries, to standard error as JSON."""
    global _lines  # noqa: PLW0603 - one process has one standard error
    numeric = logging.getLevelNamesMapping()[level]
    _lines = LogLines(sys.stderr.buffer)
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper("iso"), _places, _render],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=_logger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LibraryFormat())
    logging.basicConfig(level=max(numeric, logging.WARNING), handlers=[handler], force=True)


_lines = LogLines(sys.stderr.buffer)


def flush() -> None:
    """Write now what was said until now."""
    _lines.flush()


def _logger(*_: Any) -> LogLines:
    return _lines


class _LibraryFormat(logging.Formatter):
    """A library's line: which one and how bad. Its text may quote a value, so it is left out."""

    def format(self, record: logging.LogRecord) -> str:
        return orjson.dumps(
            {
                "event": "library",
                "logger": record.name,
                "level": record.levelname.lower(),
                "place": f"{record.module}:{record.lineno}",
            }
        ).decode()


def _places(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """An exception as its kind and the places it came through, without its text and without values."""
    info = event.pop("exc_info", None)
    if isinstance(info, tuple) and info[0] is not None:
        event["error"] = info[0].__name__
        event["trace"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(info[2])]
    return event


def _render(_: Any, __: str, event: MutableMapping[str, Any]) -> bytes:
    return orjson.dumps(event, default=str)
