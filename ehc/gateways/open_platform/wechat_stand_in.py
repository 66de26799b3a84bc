"""STAND-IN for WeChat's side (微信侧替身), in the demo alone: makes the codes that WeChat's pages would make.

Nobody is a user of WeChat here and nobody is asked for consent: whoever can reach the demo gets codes for its synthetic
people. The platform's own pages (open-platform JSON 3) are the model of the addresses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from flask import Blueprint, Response, redirect, request
from markupsafe import Markup, escape
from marshmallow import Schema, fields, validate
from sqlalchemy import select
from werkzeug.wrappers import Response as AnyResponse

from ehc.cards.models import CardRow
from ehc.clock import Clock
from ehc.db import UnitOfWork
from ehc.errors import InvalidValue, Text
from ehc.gateways.accounts import Account, Accounts
from ehc.gateways.kinds import GatewayKind
from ehc.gateways.open_platform import one_time
from ehc.gateways.open_platform.one_time import LIFE, OneTime
from ehc.issuer.accounts import account_of
from ehc.keystore.secret_keys import Secrets
from ehc.web import parsing
from ehc.web.answers import Answer
from ehc.web.auth import anyone

PREFIX = "/demo/wechat"
_TITLE = "演示替身：微信侧 · STAND-IN for WeChat's side"
_LOCAL = frozenset({"localhost"})


@dataclass(frozen=True)
class StandInDeps:
    """Transactions, a clock, keys, and the accounts that codes are made for."""

    work: UnitOfWork
    clock: Clock
    accounts: Accounts
    secrets: Callable[[], Secrets]


class CodeIn(Schema):
    """Which code is wanted. A `healthCode` is of one card, known by its id and its holder's document number."""

    app_id = fields.String(required=True, validate=validate.Length(1, 64), data_key="appId")
    kind = fields.String(required=True, validate=validate.OneOf(["wechatCode", "healthCode"]))
    ehc_id = fields.String(validate=validate.Length(1, 64), data_key="healthCardId")
    id_number = fields.String(validate=validate.Length(1, 64), data_key="idNumber")


_CODE = CodeIn()


def stand_in_blueprint(deps: StandInDeps) -> Blueprint:
    """The demo's own: the edge serves it nowhere else."""
    bp = Blueprint("wechat_stand_in", __name__, url_prefix=PREFIX)
    bp.before_request(anyone)

    @bp.get("/")
    def get_page() -> Response:
        return _page(
            "只在演示环境提供，不核验任何人。Makes codes for anybody, in the demo alone.",
            f'POST {PREFIX}/codes {{"appId", "kind": "wechatCode"}}',
            f'POST {PREFIX}/codes {{"appId", "kind": "healthCode", "healthCardId", "idNumber"}}',
            f"GET {PREFIX}/open/getUserCode?appId=…&redirect_uri=http://127.0.0.1…",
            f"GET {PREFIX}/open/takeMsCard?order_id=…&redirect_uri=http://127.0.0.1…",
        )

    @bp.post("/codes")
    def post_code() -> Response:
        """A code, as the mini-program's plug-in would hand it to the app."""
        wanted = parsing.body(_CODE)
        code = _code(deps, wanted)
        told = {wanted["kind"]: code, "expires_in": int(LIFE.total_seconds())}
        return Answer(told, 201).response()

    @bp.get("/open/getUserCode")
    def get_user_code() -> AnyResponse:
        """Back to the app's page with a `wechatCode`."""
        code = _code(deps, {"app_id": request.args.get("appId", ""), "kind": "wechatCode"})
        return _back("wechatCode", code) or _page("微信身份码 wechatCode", code)

    @bp.get("/open/takeMsCard")
    def get_wallet() -> AnyResponse:
        """Takes an order: there is no wallet, so nothing is put into one."""
        with deps.work() as session:
            order, now = request.args.get("order_id", ""), deps.clock.now()
            row = one_time.find(session, OneTime.WALLET, order, now=now)
            if row is None:
                raise _wrong("/order_id", "该订单无效或已使用。", "This order is not valid, or was taken already.")
            one_time.spend(session, row, now=now)
        return _back("result", "taken") or _page("订单已受理；演示中没有卡包。", "Taken. There is no wallet here.")

    return bp


def _code(deps: StandInDeps, wanted: dict[str, Any]) -> str:
    account = deps.accounts.find(GatewayKind.OPEN_PLATFORM, wanted["app_id"])
    if account is None:
        raise _wrong("/appId", "没有这个 appId。", "There is no such appId.")
    with deps.work() as session:
        if wanted["kind"] == "wechatCode":
            return one_time.issue(session, OneTime.WECHAT, account.id, now=deps.clock.now())
    return _health_code(deps, account, wanted)


def _health_code(deps: StandInDeps, account: Account, wanted: dict[str, Any]) -> str:
    all_keys = deps.secrets()
    secrets = all_keys.of_sandbox() if account.caller.sandbox else all_keys
    index = secrets.blind_index.of("ehc-id", wanted.get("ehc_id", "").upper())
    with deps.work() as session:
        card = session.scalars(select(CardRow).where(CardRow.ehc_id_index == index)).one_or_none()
        document = account_of(session, card, secrets=secrets).person.document if card is not None else None
        if card is None or document is None or document.number != wanted.get("id_number", "").upper():
            raise _wrong(
                "/healthCardId", "没有这张卡，或证件号不符。", "There is no such card, or not of this document."
            )
        return one_time.issue(session, OneTime.HEALTH, account.id, card_serial=card.serial, now=deps.clock.now())


def _back(name: str, value: str) -> AnyResponse | None:
    """To `redirect_uri` with a value; None without one. Only to this machine: the demo sends nobody anywhere else."""
    given = request.args.get("redirect_uri", "")
    if not given:
        return None
    parts = urlsplit(given)
    if parts.scheme not in {"http", "https"} or not _is_local(parts.hostname or ""):
        raise _wrong("/redirect_uri", "演示只能跳回本机页面。", "The demo goes back to pages of this machine only.")
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), (name, value)])
    return redirect(urlunsplit(parts._replace(query=query)), 303)


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in _LOCAL


def _page(*lines: str) -> Response:
    told = Markup("").join(Markup("<p>{}</p>").format(line) for line in lines)
    html = Markup('<!doctype html><html lang="zh"><meta charset="utf-8"><title>{0}</title><h1>{0}</h1>{1}</html>')
    return Response(html.format(escape(_TITLE), told), mimetype="text/html")


def _wrong(pointer: str, zh: str, en: str) -> InvalidValue:
    return InvalidValue.at(pointer, "invalid", Text(zh, en))
