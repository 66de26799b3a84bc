"""The gateways, joined: what each is handed, and their routes."""

from collections.abc import Iterator
from dataclasses import dataclass

from flask import Blueprint

from ehc.edge.parts import Parts
from ehc.errors import EhcError
from ehc.gateways import limits, provisioning
from ehc.gateways.accounts import Accounts
from ehc.gateways.admin_api import gateways_blueprint
from ehc.gateways.calls import Calls
from ehc.gateways.limits import Door

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
    yield gateways_blueprint(parts.admin, parts.gate.address)
    yield from _open_platform(shared)
    yield from _provincial(shared)


def _open_platform(shared: Gateways) -> Iterator[Blueprint]:
    """健康卡开放平台 (JSON)."""
    yield from ()


def _provincial(shared: Gateways) -> Iterator[Blueprint]:
    """省级平台接口 (SOAP)."""
    yield from ()
