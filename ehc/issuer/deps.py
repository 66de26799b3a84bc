"""What app.py hands the issuer's blueprints."""

from collections.abc import Callable
from dataclasses import dataclass

from ehc.clock import Clock
from ehc.codes.cti import CtiKey
from ehc.db import UnitOfWork
from ehc.issuer.codes import CodeDesk, Signers
from ehc.issuer.national_codes import NationalDesk
from ehc.issuer.registry import Registry
from ehc.outside.sms_gateway import SmsGateway
from ehc.web.auth import Authenticate
from ehc.web.idempotency import Once


@dataclass(frozen=True)
class IssuerDeps:
    """The room's neighbours: transactions, a clock, keys and rules, the desks that issue codes, the gateway for messages."""

    work: UnitOfWork
    once: Once
    clock: Clock
    registry: Callable[[], Registry]
    desk: CodeDesk
    national_desk: NationalDesk
    print_signers: Signers
    cti_key: Callable[[], CtiKey]
    sms: SmsGateway | None
    print_days: int
    issuer_name: str
    authenticate: Authenticate
