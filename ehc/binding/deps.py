"""What app.py hands the blueprints of bindings."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy.orm import Session

from ehc.clock import Clock
from ehc.crypto.signer import SoftwareSigner
from ehc.db import UnitOfWork
from ehc.keystore.secret_keys import Secrets
from ehc.web.auth import Authenticate
from ehc.web.idempotency import Once


@dataclass(frozen=True)
class BindingDeps:
    """Transactions, a clock, keys, and how a caller is known. `list_signer` signs the blacklist."""

    work: UnitOfWork
    once: Once
    clock: Clock
    secrets: Callable[[], Secrets]
    list_signer: Callable[[], SoftwareSigner]
    institution_names: Callable[[Session, set[UUID]], dict[UUID, str]]
    authenticate: Authenticate
    bank_bins: Path | None = None
    """The operator's own table of issuer numbers."""
