"""The gateways, joined: what each is handed, and their routes."""

from collections.abc import Iterator
from dataclasses import dataclass

from flask import Blueprint

from ehc.edge import issuer, verify
from ehc.edge.parts import Parts
from ehc.errors import EhcError
from ehc.gateways import limits, provisioning
from ehc.gateways.accounts import Accounts
from ehc.gateways.calls import Calls
from ehc.gateways.limits import Door
from ehc.gateways.open_platform.api import open_platform_blueprint
from ehc.gateways.open_platform.deps import OpenPlatformDeps
from ehc.gateways.open_platform.tokens import Tokens
from ehc.parties import card_reader

STATUSES: dict[type[EhcError], int] = {
    provisioning.NoSuchAccount: 404,
    provisioning.NoSuchPlace: 404,
    provisioning.NameTaken: 409,
    provisioning.PlaceTaken: 409,
    provisioning.WrongAccountState: 409,
    limits.Refused: 403,
}


@dataclass(frozen=True)
class Gateways:
    """What both gateways share in one worker."""

    parts: Parts
    accounts: Accounts
    calls: Calls
    door: Door


def blueprints(parts: Parts) -> Iterator[Blueprint]:
    """Every blueprint of the gateways."""
    shared = Gateways(
        parts,
        Accounts(parts.work, parts.keys.sealer, parts.clock),
        Calls(parts.work, parts.clock),
        Door(parts.gate),
    )
    yield from _open_platform(shared)
    yield from _provincial(shared)


def _open_platform(shared: Gateways) -> Iterator[Blueprint]:
    """健康卡开放平台 (JSON)."""
    parts, room = shared.parts, verify.deps_of(shared.parts)
    deps = OpenPlatformDeps(
        work=parts.work,
        clock=parts.clock,
        accounts=shared.accounts,
        calls=shared.calls,
        door=shared.door,
        tokens=Tokens(parts.work, parts.clock),
        issuer=issuer.deps_of(parts),
        secrets=parts.keys.of_caller,
        tools=room.tools,
        settle=room.journal.settle,
        reader=card_reader(parts.settings, parts.clock),
        demo=parts.settings.demo,
    )
    yield open_platform_blueprint(deps)


def _provincial(shared: Gateways) -> Iterator[Blueprint]:
    """省级平台接口 (SOAP)."""
    yield from ()
