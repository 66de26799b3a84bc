"""Accounts of the gateways, for tests: on an app of the service, with codes of its two hospitals."""

from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import select

from ehc.access.apps import By
from ehc.access.models import ClientRow, InstitutionRow
from ehc.callers import Scope
from ehc.gateways import provisioning
from ehc.gateways.kinds import GatewayKind, PlaceKind
from ehc.keystore import secret_keys
from tests.support.service import Api, Service

TESTER = By("operator:test")


@dataclass(frozen=True)
class TestAccount:
    """An account and what its holder was told."""

    __test__ = False

    id: UUID
    kind: GatewayKind
    name: str
    secret: str
    app_id: UUID


def app_row_id(service: Service, api: Api) -> UUID:
    """The id of an app's row."""
    with service.session() as session:
        client_id = api.credentials.client_id
        return session.scalars(select(ClientRow.id).where(ClientRow.client_id == client_id)).one()


def institution_id(service: Service, code: str = "H1") -> UUID:
    """The id of a hospital of the service, which has `H1` and `H2`."""
    with service.session() as session:
        return session.scalars(select(InstitutionRow.id).where(InstitutionRow.code == code)).one()


def allow(service: Service, api: Api, *scopes: Scope) -> None:
    """Give an app exactly these scopes."""
    with service.session() as session:
        row = session.scalars(select(ClientRow).where(ClientRow.client_id == api.credentials.client_id)).one()
        row.scopes = sorted(scopes)


def account(
    service: Service,
    kind: GatewayKind,
    *,
    api: Api | None = None,
    name: str | None = None,
    places: dict[tuple[str, str], str | None],
    **settings: object,
) -> TestAccount:
    """An account on an app (`service.app`); `places` are kind and outside code → code of one of the service's hospitals."""
    app_id = app_row_id(service, api or service.app)
    now = service.clock.now()
    homes = {code: institution_id(service, code) for code in places.values() if code is not None}
    with service.session() as session:
        sealer = secret_keys.load(session, service.settings.key_encrypting_key()).sealer
        row = provisioning.add(session, kind, app_id, by=TESTER, now=now, name=name, settings=settings)
        made = provisioning.add_secret(session, row.id, sealer=sealer, by=TESTER, now=now)
        for (place, code), home in places.items():
            where = homes[home] if home is not None else None
            provisioning.add_place(session, row.id, PlaceKind(place), code, where, by=TESTER, now=now)
        return TestAccount(row.id, kind, row.name, made.secret, app_id)


def with_secret(known: TestAccount, secret: str) -> TestAccount:
    """The same account with another secret."""
    return replace(known, secret=secret)
