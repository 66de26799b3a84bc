"""What the edge hands the open platform, and what every method is handed of a call."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ehc.callers import Caller
from ehc.clock import Clock
from ehc.db import UnitOfWork
from ehc.gateways.accounts import Account, Accounts
from ehc.gateways.calls import Calls
from ehc.gateways.limits import Door
from ehc.gateways.open_platform.members import Members
from ehc.gateways.open_platform.tokens import Tokens
from ehc.issuer.deps import IssuerDeps
from ehc.keystore.secret_keys import Secrets
from ehc.outside.card_reader import CardReader
from ehc.verify.journal import Settle
from ehc.verify.service import Tools


@dataclass(frozen=True)
class OpenPlatformDeps:
    """The parts of one worker. `demo`: whether a stand-in for WeChat's side is served beside it."""

    work: UnitOfWork
    clock: Clock
    accounts: Accounts
    calls: Calls
    door: Door
    tokens: Tokens
    issuer: IssuerDeps
    secrets: Callable[[], Secrets]
    """The symmetric keys of the caller's world."""
    tools: Tools
    settle: Settle
    reader: CardReader | None
    demo: bool


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was found authentic: who calls, at which institution, and under which id of its own."""

    deps: OpenPlatformDeps
    account: Account
    caller: Caller
    request_id: str


Method = Callable[[Call, Members], dict[str, Any]]
"""Carries a call out; the members of `rsp`. Raises `Refusal` or an `EhcError`. Durable on return."""
