"""Loggers of the service, for tests that look at what is logged."""

import sys

import structlog


def forget_loggers() -> None:
    """Module-level loggers keep the stream they first wrote to; a test with a stream of its own needs new ones."""
    for name, module in list(sys.modules.items()):
        logger = getattr(module, "log", None) if name.startswith("ehc.") else None
        if isinstance(logger, structlog._config.BoundLoggerLazyProxy):
            vars(logger).pop("bind", None)
