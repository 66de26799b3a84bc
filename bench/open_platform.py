"""The open platform under load: an account on an app of its own, and calls signed as the vendor's SDKs sign them."""

import json
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import select

from bench import load
from bench.ground import Ground
from ehc.access import clients
from ehc.access.apps import By
from ehc.access.models import ClientRow, InstitutionRow
from ehc.callers import Scope
from ehc.dev.region import HOSPITALS
from ehc.gateways import provisioning
from ehc.gateways.kinds import GatewayKind, PlaceKind
from ehc.gateways.open_platform import signing
from ehc.gateways.open_platform.envelope import Request
from ehc.gateways.open_platform.tokens import Tokens
from ehc.keystore import secret_keys

_PATH = "/rest/auth/HealthCard/HealthOpenPlatform/ISVOpenObj/verifyQRCode"
_HOSPITAL = "30001"


@dataclass(frozen=True)
class Known:
    """What a client calls with."""

    secret: str
    token: str


def account(ground: Ground) -> Known:
    """An account made for this run, and a token of it."""
    place, by = ground.place, By("operator:bench")
    now = place.clock.now()
    with place.work() as session:
        sealer = secret_keys.load(session, place.kek).sealer
        app = clients.add_app(session, name="bench", scopes=frozenset({Scope.VERIFY}), now=now)
        app_id = session.scalars(select(ClientRow.id).where(ClientRow.client_id == app.client_id)).one()
        home = session.scalars(select(InstitutionRow.id).where(InstitutionRow.code == HOSPITALS["HA"][0])).one()
        row = provisioning.add(session, GatewayKind.OPEN_PLATFORM, app_id, by=by, now=now)
        made = provisioning.add_secret(session, row.id, sealer=sealer, by=by, now=now)
        provisioning.add_place(session, row.id, PlaceKind.HOSPITAL, _HOSPITAL, home, by=by, now=now)
    return Known(made.secret, Tokens(place.work, place.clock).issue(row.id))


def check(known: Known, code: str, *, at: int) -> bytes:
    """A call of verifyQRCode."""
    common = {"appToken": known.token, "requestId": uuid4().hex.upper(), "hospitalId": _HOSPITAL}
    common |= {"timestamp": str(at), "channelNum": "0"}
    req = {"qrCodeText": code, "medicalStep": "010101", "channelCode": "0100", "terminalId": "T1"}
    text = signing.canonical(Request(common, req))
    sent = {"commonIn": {**common, "sign": signing.sign(text, known.secret.encode())}, "req": req}
    return load.request("POST", _PATH, json.dumps(sent).encode())
