"""What every operation is handed: who asks, what for, and the services of the rooms."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from ehc.callers import Caller
from ehc.cards.models import CardRow
from ehc.clock import Clock
from ehc.db import UnitOfWork
from ehc.gateways.accounts import Account
from ehc.gateways.provincial_soap.messages import Node
from ehc.issuer.codes import CodeDesk
from ehc.issuer.national_codes import NationalDesk
from ehc.issuer.registry import Registry
from ehc.keystore.secret_keys import Secrets
from ehc.verify.journal import Settle
from ehc.verify.service import Tools


@dataclass(frozen=True)
class Services:
    """The rooms' services, as the edge joins them."""

    work: UnitOfWork
    clock: Clock
    registry: Callable[[], Registry]
    desk: CodeDesk
    national_desk: NationalDesk
    tools: Tools
    settle: Settle
    count_card: Callable[[Caller, UUID], None]
    """Counts a call against the limit of one card. Raises `Refused`."""
    photo_days: int
    scenes: bool
    """Whether a static code counts for treatment alone, and a dynamic one for payment (provincial SOAP 4.3)."""


@dataclass(frozen=True)
class Asked:
    """A call of somebody authentic, its fields read: what is empty is not there."""

    account: Account
    caller: Caller
    fields: Mapping[str, str]
    reference: str
    """`msgGuid`, as far as it may be kept."""
    services: Services

    @property
    def now(self) -> datetime:
        """The time of the service."""
        return self.services.clock.now()

    @property
    def secrets(self) -> Secrets:
        """The keys of the caller's world."""
        return self.services.registry().secrets

    def text(self, name: str) -> str:
        """A field, "" where it is empty."""
        return self.fields.get(name, "")

    def count(self, card: CardRow) -> None:
        """Count the call against the limit of a card. Raises `Refused`."""
        self.services.count_card(self.caller, card.id)

    def may_tell(self, step: str = "other") -> frozenset[str]:
        """The words of the fields that the table of disclosure lets the caller be told at a step."""
        return self.services.tools.rules().told(self.caller.institution_id, step, self.now)


class Told(NamedTuple):
    """How an operation ended well: the code of the table, what stands behind `resultCode`, words behind the table's."""

    code: str
    parts: Node = ()
    detail: str = ""


Operation = Callable[[Asked], Told]
"""Does what was asked; durable on return. Raises `Failed`, or what the rooms raise."""
