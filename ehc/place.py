"""What a background task works with: transactions, a clock, the settings, the keys. `ehc/worker.py` hands it over."""

from functools import cached_property

from sqlalchemy import Engine, create_engine

from ehc import audit
from ehc.clock import Clock, SystemClock
from ehc.crypto.wrapping import KeyEncryptingKey
from ehc.db import bound_waits, engine_options, unit_of_work
from ehc.keystore import secret_keys
from ehc.keystore.refreshed import Refreshed
from ehc.keystore.secret_keys import Secrets
from ehc.settings import Settings

APPLICATION = "ehc-worker"
"""What the database's list of connections calls a worker."""

_PATIENT = "-c statement_timeout=0 -c idle_in_transaction_session_timeout=10min"


class Place:
    """Where the tasks of one worker run. Opens no connection and no key file before one is asked for.

    `work` makes transactions in which a statement has 5.5 s, as in the service; `patient_work` is for tasks of many
    minutes: a statement takes what it takes, and a transaction may rest for ten minutes. A lock is waited for 5 s in both.
    `connections` is how many tasks may hold one of each at the same time.
    """

    def __init__(self, settings: Settings, *, clock: Clock | None = None, connections: int = 4) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.engine = create_engine(
            settings.database_url, **engine_options(pool_size=connections, application=APPLICATION)
        )
        bound_waits(self.engine)
        self.patient_engine = _patient_engine(settings.database_url, connections)
        linked = audit.hashing(settings.audit_hash, lambda session: secret_keys.audit_keys(session, self.kek)[0])
        self.work = unit_of_work(self.engine, info=linked)
        self.patient_work = unit_of_work(self.patient_engine, info=linked)
        self._secrets = Refreshed(self._load_secrets, every=300)

    @cached_property
    def kek(self) -> KeyEncryptingKey:
        """The key-encrypting key. Raises `KekError` or `SettingsError`."""
        return self.settings.key_encrypting_key()

    def secrets(self) -> Secrets:
        """The symmetric keys, at most five minutes old. Raises `KekError`, `SettingsError` or `LookupError`."""
        return self._secrets.get()

    def close(self) -> None:
        """Close the connections that rest."""
        self.engine.dispose()
        self.patient_engine.dispose()

    def _load_secrets(self) -> Secrets:
        with self.work() as session:
            return secret_keys.load(session, self.kek)


def _patient_engine(url: str, connections: int) -> Engine:
    options = engine_options(pool_size=connections, application=APPLICATION)
    options["connect_args"]["options"] += f" {_PATIENT}"  # the later of two settings of one name counts
    return create_engine(url, **options)
