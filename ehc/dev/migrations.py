"""Do the migrations give the tables that the models describe, and can they be undone?"""

import os
from pathlib import Path

import flask_migrate

from ehc.app import database
from ehc.commands.db import migrating
from ehc.dev.servers import environment, running
from ehc.settings import Settings


def check_migrations(folder: Path) -> None:
    """Migrate a scratch database up, down and up, then compare. Exits with code 1 and the differences, if there are any."""
    with running(folder / "check", durable=False) as servers:
        env = environment(servers, folder / "check")
        with migrating(Settings.from_env(dict(os.environ) | env)).app_context():
            flask_migrate.upgrade()
            flask_migrate.downgrade(revision="base")
            flask_migrate.upgrade()
            flask_migrate.check()
            database.engine.dispose()
