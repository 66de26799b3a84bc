"""The gateways, joined: what each is handed, and their routes."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain

from flask import Blueprint

from ehc.edge.issuer import issuer_deps
from ehc.edge.parts import Parts
from ehc.edge.verify import verify_deps
from ehc.errors import EhcError
from ehc.gateways import limits, provisioning
from ehc.gateways.accounts import Accounts
from ehc.gateways.admin_api import gateways_blueprint
from ehc.gateways.bodies import give_back_memory, let_go
from ehc.gateways.calls import Calls
from ehc.gateways.limits import Door
from ehc.gateways.open_platform.api import open_platform_blueprint
from ehc.gateways.open_platform.deps import OpenPlatformDeps
from ehc.gateways.open_platform.tokens import Tokens
from ehc.gateways.open_platform.wechat_stand_in import StandInDeps, stand_in_blueprint
from ehc.gateways.provincial_soap import api as provincial_soap_api
from ehc.gateways.provincial_soap.asking import Services
from ehc.gateways.provincial_soap.serving import Desk
from ehc.outside import card_reader as card_readers
from ehc.parties import card_reader
from ehc.web.addresses import caller_origin

STATUSES: dict[type[EhcError], int] = {
    provisioning.NoSuchAccount: 404,
    provisioning.NoSuchPlace: 404,
    provisioning.NameTaken: 409,
    provisioning.PlaceTaken: 409,
    provisioning.WrongAccountState: 409,
    limits.Refused: 403,
    card_readers.ReaderAway: 503,
    card_readers.Unreadable: 422,
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
    give_back_memory()
    yield gateways_blueprint(parts.admin)
    for blueprint in chain(_open_platform(shared), _provincial(shared)):
        blueprint.teardown_request(let_go)
        yield blueprint


def _open_platform(shared: Gateways) -> Iterator[Blueprint]:
    """健康卡开放平台 (JSON)."""
    parts = shared.parts
    issuer, verify = parts.shared(issuer_deps), parts.shared(verify_deps)
    deps = OpenPlatformDeps(
        work=parts.work,
        clock=parts.clock,
        accounts=shared.accounts,
        calls=shared.calls,
        door=shared.door,
        tokens=Tokens(parts.work, parts.clock),
        issuer=issuer,
        secrets=parts.keys.of_caller,
        tools=verify.tools,
        settle=verify.journal.settle,
        reader=card_reader(parts.settings, parts.clock),
        demo=parts.settings.demo,
    )
    yield open_platform_blueprint(deps)
    if parts.settings.demo:
        yield stand_in_blueprint(StandInDeps(parts.work, parts.clock, shared.accounts, parts.keys.secrets.get))


def _provincial(shared: Gateways) -> Iterator[Blueprint]:
    """省级平台接口 (SOAP)."""
    parts = shared.parts
    issuer, verify = parts.shared(issuer_deps), parts.shared(verify_deps)
    services = Services(
        work=parts.work,
        clock=parts.clock,
        registry=issuer.registry,
        desk=issuer.desk,
        national_desk=issuer.national_desk,
        tools=verify.tools,
        settle=verify.journal.settle,
        count_card=shared.door.count_card,
        photo_days=parts.settings.photo_days,
        scenes=parts.settings.provincial_scenes,
    )
    desk = Desk(services, find=shared.accounts.find, admit=shared.door.admit)
    origin = partial(caller_origin, parts.settings.trusted_proxies)
    yield provincial_soap_api.blueprint(provincial_soap_api.ProvincialDeps(desk, shared.calls, origin))
