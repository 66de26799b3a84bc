"""What commands share: the settings of the environment, a transaction, and errors as one line instead of a trace."""

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import click
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.pool import NullPool

from ehc import audit
from ehc.clock import Clock, SystemClock
from ehc.crypto.wrapping import KekError, KeyEncryptingKey
from ehc.db import UnitOfWork, engine_options, unit_of_work
from ehc.errors import EhcError
from ehc.keystore import audit_keys
from ehc.outside.signed_http import SetupError
from ehc.settings import Settings, SettingsError


class Group(click.Group):
    """A group whose commands fail with a sentence and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what goes wrong on purpose becomes a message."""
        try:
            return super().invoke(ctx)
        except EhcError as error:
            raise click.ClickException(f"{error.detail.zh} {error.detail.en}") from None
        except (KekError, SettingsError, SetupError, LookupError) as error:
            raise click.ClickException(str(error)) from None
        except IntegrityError:
            raise click.ClickException(
                "已存在同名或同代码的记录。 There is one with this name or code already."
            ) from None
        except ProgrammingError as error:
            if not isinstance(error.orig, InsufficientPrivilege):
                raise
            raise click.ClickException(
                "此数据库角色无权执行，请改用表的属主角色。 This database role may not do that. Use the owner of the tables."
            ) from None
        except OperationalError:
            raise click.ClickException("数据库无法连接。 The database cannot be reached.") from None


@dataclass
class Deployment:
    """The deployment that the environment names."""

    clock: Clock = field(default_factory=SystemClock)

    @cached_property
    def settings(self) -> Settings:
        """The settings in `EHC_…` variables."""
        return Settings.from_env(os.environ)

    @cached_property
    def kek(self) -> KeyEncryptingKey:
        """The key-encrypting key."""
        return self.settings.key_encrypting_key()

    @cached_property
    def work(self) -> UnitOfWork:
        """Transactions on the deployment's database."""
        options = engine_options(pool_size=1, application="ehc-cli")
        one_at_a_time = {name: value for name, value in options.items() if not name.startswith(("pool_", "max_"))}
        engine = create_engine(self.settings.database_url, poolclass=NullPool, **one_at_a_time)
        linked = audit.hashing(self.settings.audit_hash, lambda session: audit_keys.newest(session, self.kek))
        return unit_of_work(engine, info=linked)


deployment = click.make_pass_decorator(Deployment, ensure=True)
