"""The servers that the demo, the tests and the benchmarks stand on: those of the environment, or embedded ones."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ehc.crypto.wrapping import KeyEncryptingKey
from ehc.dev.postgres import EmbeddedPostgres
from ehc.dev.redis import EmbeddedRedis


@dataclass(frozen=True)
class Servers:
    """Where PostgreSQL is, and Redis, if there is one. The objects are None for servers of the environment."""

    database_url: str
    redis_url: str | None
    postgres: EmbeddedPostgres | None = None
    redis: EmbeddedRedis | None = None


@contextmanager
def running(folder: Path, *, durable: bool = True) -> Iterator[Servers]:
    """Servers for as long as the block runs; embedded ones keep their data in `folder`."""
    given = os.environ.get("EHC_DATABASE_URL"), os.environ.get("EHC_REDIS_URL")
    postgres = None if given[0] else EmbeddedPostgres(folder / "postgres", durable=durable)
    redis = None if given[1] else EmbeddedRedis(folder / "redis")
    try:
        database_url = given[0] or (postgres.start() if postgres else "")
        redis_url = given[1] or (redis.start() if redis else None)
        yield Servers(database_url, redis_url, postgres, redis)
    finally:
        if redis is not None:
            redis.stop()
        if postgres is not None:
            postgres.stop()


def environment(servers: Servers, folder: Path) -> dict[str, str]:
    """The service's settings on these servers, with a demo key-encrypting key in `folder`."""
    kek = folder.resolve() / "demo-kek"
    if "EHC_KEK_FILE" not in os.environ and not kek.exists():
        KeyEncryptingKey.make_file(kek, demo=True)
    return {
        "EHC_DATABASE_URL": servers.database_url,
        "EHC_REDIS_URL": servers.redis_url or "",
        "EHC_KEK_FILE": os.environ.get("EHC_KEK_FILE", str(kek)),
        "EHC_DEMO": "1",
    }
