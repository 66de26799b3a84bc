"""The provincial interface under load: an account on an app of its own, and calls as a hospital's system sends them."""

from html import escape
from uuid import uuid4

from sqlalchemy import select

from bench.ground import Ground
from ehc.access import clients
from ehc.access.apps import By
from ehc.access.models import ClientRow, InstitutionRow
from ehc.callers import Scope
from ehc.dev.region import HOSPITALS
from ehc.gateways import provisioning
from ehc.gateways.kinds import GatewayKind, PlaceKind
from ehc.keystore import secret_keys

PATH = "/healthCard/services/elecHealthCardWebSevice"
CONTENT_TYPE = "text/xml; charset=utf-8"
_ORG = "630102001"


def account(ground: Ground) -> tuple[str, str]:
    """The name and the password of an account made for this run."""
    place, by = ground.place, By("operator:bench")
    now = place.clock.now()
    with place.work() as session:
        sealer = secret_keys.load(session, place.kek).sealer
        app = clients.add_app(session, name="bench", scopes=frozenset({Scope.VERIFY}), now=now)
        app_id = session.scalars(select(ClientRow.id).where(ClientRow.client_id == app.client_id)).one()
        home = session.scalars(select(InstitutionRow.id).where(InstitutionRow.code == HOSPITALS["HA"][0])).one()
        row = provisioning.add(session, GatewayKind.PROVINCIAL, app_id, by=by, now=now)
        made = provisioning.add_secret(session, row.id, sealer=sealer, by=by, now=now)
        provisioning.add_place(session, row.id, PlaceKind.ORG, _ORG, home, by=by, now=now)
        return row.name, made.secret


def check(known: tuple[str, str], code: str) -> bytes:
    """A call of E0003, as JAX-WS writes it."""
    head = {
        "msgGuid": uuid4().hex,
        "msgType": "1",
        "bussinessCode": "RHC_E0003",
        "msgCreateTime": "2026-11-2118:51:23",
        "orgId": _ORG,
        "appCode": "",
        "userName": known[0],
        "userPwd": known[1],
        "stdVerCode": "1.0",
    }
    where = {"qr_code": code, "channel_code": "01", "medstep_code": "010101"}
    arguments = "".join(
        f"<{name}>{escape(_request(fields))}</{name}>" for name, fields in (("arg0", head), ("arg1", where))
    )
    return (
        '<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body>'
        f'<ns2:RHCMessageServer xmlns:ns2="http://webservice.ehc.cdxt.com/">{arguments}</ns2:RHCMessageServer>'
        "</S:Body></S:Envelope>"
    ).encode()


def _request(fields: dict[str, str]) -> str:
    return f"<request>{''.join(f'<{name}>{value}</{name}>' for name, value in fields.items())}</request>"
