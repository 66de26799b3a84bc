"""Whether a worker can serve: what `/readyz` tells."""

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from ehc.clock import Clock, local_day
from ehc.crypto.wrapping import KekError
from ehc.db import UnitOfWork
from ehc.edge.keys import Keys
from ehc.errors import EhcError
from ehc.keystore import signing_keys
from ehc.redis_link import RedisLink
from ehc.verify.partitions import missing_partitions


def readiness(work: UnitOfWork, keys: Keys, redis: RedisLink, clock: Clock) -> dict[str, bool | None]:
    """Whether each thing that serving needs is there; None for Redis where none is configured."""
    shared = redis.answers()
    checks: dict[str, bool | None] = {"database": False, "keys": False, "partitions": False, "redis": shared}
    checks["limits"] = shared  # without Redis each worker counts for itself
    try:
        with work() as session:
            session.execute(text("SELECT 1"))
            checks["database"] = True
            checks["partitions"] = not missing_partitions(session, today=local_day(clock.now()))
        signing_keys.signer_at(keys.code_signers.get(), clock.now())
        keys.secrets.get()
        checks["keys"] = True
    except (SQLAlchemyError, EhcError, KekError, LookupError):
        pass
    return checks
