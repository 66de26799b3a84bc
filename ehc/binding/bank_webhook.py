"""`POST /v1/bank-notices`: what a bank tells by itself, signed by the key it shares with us (docs/bank-gateway.md).

A notice that comes twice is answered as the first time, so a request that is played back does nothing: no nonce is kept.
"""

from collections.abc import Callable
from dataclasses import dataclass

import orjson
from flask import Blueprint, Response, request
from marshmallow import Schema, fields

from ehc.binding import bank_notices
from ehc.clock import Clock
from ehc.db import UnitOfWork
from ehc.errors import InvalidValue, Text
from ehc.outside.bank_gateway import NoticeKind
from ehc.outside.bank_http import read_notice
from ehc.outside.signed_http import Misshapen, PartyKey, answer_headers, request_signed
from ehc.web.answers import json_response
from ehc.web.fields import choice, token, whole
from ehc.web.openapi import operation
from ehc.web.problems import HttpProblem


class BankNoticeIn(Schema):
    """What a bank tells of an account that is bound."""

    notice_id = token(64, about="The bank's own; one notice is taken once.")
    what = choice(list(NoticeKind), required=True, about="What happened.")
    start_request = fields.UUID(required=True, metadata={"description": "The start of the binding."})
    happened_at = fields.AwareDateTime(required=True)
    single_limit = whole(0, 10**12, about="With `limits`: fen (分) a payment.", allow_none=True)
    day_limit = whole(0, 10**12, about="With `limits`: fen (分) a day.", allow_none=True)


class TakenOut(Schema):
    """The notice is kept; it need not be sent again."""

    result = fields.String(required=True)
    notice_id = fields.String(required=True)


@dataclass(frozen=True)
class WebhookDeps:
    """Transactions, a clock, and the bank's key: None where no bank is configured, and nobody is let in."""

    work: UnitOfWork
    clock: Clock
    key: PartyKey | None


def bank_notices_blueprint(deps: WebhookDeps) -> Blueprint:
    """Notices of the bank."""
    bp = Blueprint("bank_notices", __name__, url_prefix="/v1/bank-notices")
    bp.before_request(_bank_alone(deps))

    @bp.post("")
    @operation("A notice of the bank", body=BankNoticeIn, answers={200: TakenOut}, scope=None, problems=(401, 422))
    def post_notice() -> Response:
        """Not for apps and terminals: signed by the bank (docs/bank-gateway.md).

        Applied, or known already: 200, signed. Anything else: send it again; it is in the file of the day too.
        """
        now, key = deps.clock.now(), deps.key
        try:
            notice = read_notice(orjson.loads(request.get_data()), now=now)
        except (Misshapen, orjson.JSONDecodeError):
            detail = Text("通知格式有误，请对照 docs/bank-gateway.md。", "Not a notice. See docs/bank-gateway.md.")
            raise InvalidValue(detail) from None
        with deps.work() as session:
            bank_notices.take(session, notice, source="webhook", now=now)
        body = orjson.dumps({"result": "taken", "notice_id": notice.notice_id})
        if key is None:
            raise _unsigned()
        nonce = request.headers.get("X-Ehc-Nonce", "")
        return json_response(body, 200, answer_headers(request.path, nonce, body, key=key, now=int(now.timestamp())))

    return bp


def _bank_alone(deps: WebhookDeps) -> Callable[[], None]:
    def check() -> None:
        key, now = deps.key, int(deps.clock.now().timestamp())
        body = request.get_data(cache=True)
        if key is None or not request_signed(request.path, dict(request.headers), body, key=key, now=now):
            raise _unsigned()

    return check


def _unsigned() -> HttpProblem:
    detail = Text(
        "签名无效：请按 docs/outside-parties.md 第 3 节签名，并校准时钟。",
        "Not signed by the bank's key, or not fresh. See docs/outside-parties.md, section 3, and check the clock.",
    )
    return HttpProblem(401, "bank-signature", detail)
