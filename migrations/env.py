"""Runs migrations on the app's engine. Each waits at most five seconds for a lock, so that it cannot stop the service."""

import re
from typing import Any

from alembic import context
from flask import current_app
from sqlalchemy import text

_NOT_OF_THE_MODELS = re.compile(r"verification_(y\d{4}m\d{2}|default)|procrastinate_\w+")


def _ours(_: Any, name: str | None, kind: str, reflected: bool, compared: Any) -> bool:
    """Partitions are made by `ehc db partitions`, and the job queue's tables are Procrastinate's: no model has them."""
    return not (kind == "table" and reflected and compared is None and _NOT_OF_THE_MODELS.fullmatch(name or ""))


def run() -> None:
    database = current_app.extensions["migrate"].db
    with database.engine.connect() as connection:
        connection.connection.driver_connection.silence = None  # a migration takes the time it takes
        connection.execute(text("SET lock_timeout = '5s'"))
        connection.execute(text("SET statement_timeout = 0"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=database.metadata,
            include_object=_ours,
            transaction_per_migration=True,
            compare_type=True,
        )
        with context.begin_transaction():
            context.run_migrations()


run()
