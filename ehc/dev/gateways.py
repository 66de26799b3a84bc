"""The demo's accounts of the gateways: a mini-program on the open platform, and a hospital's system on the provincial one."""

import hmac
from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc.access import clients
from ehc.access.apps import By
from ehc.access.models import ClientRow
from ehc.callers import Scope
from ehc.clock import Clock
from ehc.crypto.sealed import Sealer
from ehc.db import UnitOfWork
from ehc.dev.fuller_rule import tell_all_there
from ehc.gateways import provisioning
from ehc.gateways.accounts import live_secrets, secret_place
from ehc.gateways.kinds import GatewayKind, PlaceKind
from ehc.gateways.models import AccountRow, GatewaySecretRow
from ehc.gateways.secrets import hashed
from ehc.keystore.secret_keys import Secrets

_BY = By("operator")
_SCOPES = frozenset({Scope.CARDS, Scope.CODES, Scope.VERIFY, Scope.BINDINGS})
_OPEN, _PROVINCIAL = GatewayKind.OPEN_PLATFORM, GatewayKind.PROVINCIAL
_APPS = {_OPEN: "示范公众号（开放平台）", _PROVINCIAL: "示范医院信息系统（省级接口）"}
_USER = "demo_his"

HOSPITAL_IDS = {"HG": "30001", "HB": "30002"}
ORG_IDS = {"HG": "630102001", "HB": "630102002"}
APP_CODE = "QH0001"

JSON_PATH = "/rest/auth/HealthCard/HealthOpenPlatform/ISVOpenObj/"
TOKEN_PATH = "/rest/auth/HealthCard/HealthOpenAuth/AuthObj/getAppToken"  # noqa: S105 - an address
WECHAT_PATH = "/demo/wechat/codes"
"""Where the demo's stand-in for WeChat makes `wechatCode`s and `healthCode`s."""
SOAP_PATH = "/healthCard/services/elecHealthCardWebSevice"


def accounts(
    work: UnitOfWork,
    kept: dict[str, Any],
    homes: dict[str, UUID],
    *,
    base_url: str,
    tls_url: str | None,
    clock: Clock,
    secrets: Callable[[Session], Secrets],
) -> dict[str, dict[str, Any]]:
    """What each calls with, made where it is missing. `homes` are the demo's hospitals."""
    with work() as session:
        sealer = secrets(session).sealer
        hospitals = {(PlaceKind.HOSPITAL, code): homes[home] for home, code in HOSPITAL_IDS.items()}
        orgs: dict[tuple[PlaceKind, str], UUID | None] = {
            (PlaceKind.ORG, code): homes[home] for home, code in ORG_IDS.items()
        }
        public = _account(session, _OPEN, None, dict(hospitals), clock=clock)
        hospital = _account(session, _PROVINCIAL, _USER, orgs | {(PlaceKind.APP, APP_CODE): None}, clock=clock)
        tell_all_there(session, homes["HG"], sealer=sealer, clock=clock)
        app_secret = _app_secret(session, public, sealer, clock=clock)
        password = _password(session, hospital, kept.get("provincial", {}).get("userPwd", ""), sealer, clock=clock)
        names = public.name, hospital.name
    return {
        "open_platform": {
            "appId": names[0],
            "appSecret": app_secret,
            "hospitalId": HOSPITAL_IDS["HG"],
            "second_hospitalId": HOSPITAL_IDS["HB"],
            "base_url": base_url,
            "tls_base_url": tls_url,
            "token_url": base_url + TOKEN_PATH,
            "method_url": base_url + JSON_PATH,
            "wechat_stand_in_url": base_url + WECHAT_PATH,
        },
        "provincial": {
            "url": base_url + SOAP_PATH,
            "wsdl": f"{base_url}{SOAP_PATH}?wsdl",
            "tls_url": tls_url + SOAP_PATH if tls_url else None,
            "userName": names[1],
            "userPwd": password,
            "orgId": ORG_IDS["HG"],
            "second_orgId": ORG_IDS["HB"],
            "appCode": APP_CODE,
            "hospital_code": ORG_IDS["HG"],
        },
    }


def _account(
    session: Session,
    kind: GatewayKind,
    name: str | None,
    places: dict[tuple[PlaceKind, str], UUID | None],
    *,
    clock: Clock,
) -> AccountRow:
    now, app = clock.now(), _app(session, _APPS[kind], clock=clock)
    row = session.scalars(select(AccountRow).where(AccountRow.client_id == app, AccountRow.kind == kind)).first()
    if row is None:
        row = provisioning.add(session, kind, app, by=_BY, now=now, name=name)
    held = {(place.kind, place.code) for place in provisioning.places(session, row.id)}
    for (place_kind, code), home in places.items():
        if (place_kind, code) not in held:
            provisioning.add_place(session, row.id, place_kind, code, home, by=_BY, now=now)
    return row


def _app(session: Session, name: str, *, clock: Clock) -> UUID:
    known = session.scalars(select(ClientRow.id).where(ClientRow.name == name, ClientRow.kind == "app")).first()
    if known is not None:
        return known
    made = clients.add_app(session, name=name, scopes=_SCOPES, now=clock.now())
    return clients.named(session, made.client_id).id


def _app_secret(session: Session, row: AccountRow, sealer: Sealer, *, clock: Clock) -> str:
    for held in live_secrets(session, row.id, now=clock.now()):
        return sealer.unseal(held.sealed or b"", secret_place(held.id))
    return provisioning.add_secret(session, row.id, sealer=sealer, by=_BY, now=clock.now()).secret


def _password(session: Session, row: AccountRow, kept: str, sealer: Sealer, *, clock: Clock) -> str:
    """The one that the file still knows, if it counts; else a new one in the place of all others."""
    now, held = clock.now(), live_secrets(session, row.id, now=clock.now())
    if any(_is(secret, kept) for secret in held):
        return kept
    for secret in held:
        provisioning.end_secret(session, row.id, secret.id, by=_BY, now=now)
    return provisioning.add_secret(session, row.id, sealer=sealer, by=_BY, now=now).secret


def _is(secret: GatewaySecretRow, password: str) -> bool:
    return hmac.compare_digest(secret.hash or b"", hashed(password.encode()))
