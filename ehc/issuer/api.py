"""`/v1/cards`: registration, states, and codes. Parse, call, render; committed before the answer leaves."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from flask import Blueprint, Response, request
from sqlalchemy.orm import Session

from ehc.callers import Scope
from ehc.cards import store as cards
from ehc.cards.states import CANCEL, RESUME, SUSPEND, Move
from ehc.clock import Clock, local_day
from ehc.db import UnitOfWork
from ehc.errors import EhcError, InvalidValue, Text
from ehc.issuer import accounts, codes
from ehc.issuer.codes import CodeDesk
from ehc.issuer.images import Picture, draw_png, draw_svg
from ehc.issuer.metrics import CODES, REGISTRATIONS
from ehc.issuer.schemas import CardOut, CodeIn, CodeOut, ReasonIn, RegistrationIn, application, card_out, code_out
from ehc.keystore import signing_keys
from ehc.web import parsing
from ehc.web.answers import Answer
from ehc.web.auth import Authenticate, bearer, caller
from ehc.web.idempotency import Once
from ehc.web.openapi import operation

STATUSES: dict[type[EhcError], int] = {
    accounts.IdentityMismatch: 409,
    accounts.CardCancelled: 409,
    cards.NoSuchCard: 404,
    cards.Conflict: 409,
    cards.StaleVersion: 412,
    codes.CardNotActive: 409,
    codes.TooManyCodes: 429,
    signing_keys.NoActiveKey: 503,
    signing_keys.NoSuchKey: 404,
}

_REGISTRATION, _REASON, _CODE = RegistrationIn(), ReasonIn(), CodeIn()


@dataclass(frozen=True)
class IssuerDeps:
    """What app.py hands this room."""

    work: UnitOfWork
    once: Once
    clock: Clock
    registry: Callable[[], accounts.Registry]
    desk: CodeDesk
    authenticate: Authenticate


def cards_blueprint(deps: IssuerDeps) -> Blueprint:
    """Cards, for apps with the scope `cards`."""
    bp = Blueprint("cards", __name__, url_prefix="/v1/cards")
    bp.before_request(bearer(deps.authenticate, Scope.CARDS))

    @bp.post("")
    @operation(
        "Register a person",
        body=RegistrationIn,
        answers={201: CardOut, 200: CardOut},
        scope=Scope.CARDS,
        idempotent=True,
        problems=(409, 422),
    )
    def post_card() -> Response:
        wanted = application(parsing.body(_REGISTRATION))

        def act(session: Session) -> Answer:
            now = deps.clock.now()
            account, new = accounts.register(session, wanted, caller=caller(), registry=deps.registry(), now=now)
            status = 201 if new else 200
            return Answer(card_out(account, today=local_day(now)), status, _etag(account) | _location(account, status))

        response = deps.once.run(act)
        REGISTRATIONS.labels("new" if response.status_code == 201 else "known").inc()
        return response

    @bp.get("/<uuid:card_id>")
    @operation("Read a card", answers={200: CardOut}, scope=Scope.CARDS, problems=(404,))
    def get_card(card_id: UUID) -> Response:
        with deps.work() as session:
            card = cards.granted(session, card_id, caller().id)
            account = accounts.account_of(session, card, secrets=deps.registry().secrets)
        return Answer(card_out(account, today=local_day(deps.clock.now())), headers=_etag(account)).response()

    def add_move(path: str, how: Move, summary: str) -> None:
        @operation(
            summary,
            body=ReasonIn,
            answers={200: CardOut},
            scope=Scope.CARDS,
            idempotent=True,
            conditional=True,
            problems=(404, 409, 412, 422),
        )
        def post_move(card_id: UUID) -> Response:
            reason, version = parsing.body(_REASON)["reason"], _if_match()

            def act(session: Session) -> Answer:
                now = deps.clock.now()
                account = accounts.change_status(
                    session,
                    card_id,
                    how,
                    caller=caller(),
                    reason=reason,
                    secrets=deps.registry().secrets,
                    now=now,
                    version=version,
                )
                return Answer(card_out(account, today=local_day(now)), headers=_etag(account))

            return deps.once.run(act)

        bp.add_url_rule(f"/<uuid:card_id>/{path}", f"post_{path}", post_move, methods=["POST"])

    add_move("suspend", SUSPEND, "Suspend a card")
    add_move("resume", RESUME, "Resume a suspended card")
    add_move("cancel", CANCEL, "Cancel a card for good")
    return bp


def codes_blueprint(deps: IssuerDeps) -> Blueprint:
    """Codes, for apps with the scope `codes`."""
    bp = Blueprint("codes", __name__, url_prefix="/v1/cards")
    bp.before_request(bearer(deps.authenticate, Scope.CODES))

    @bp.post("/<uuid:card_id>/codes")
    @operation(
        "Issue a rotating code",
        body=CodeIn,
        answers={201: CodeOut},
        scope=Scope.CODES,
        idempotent=True,
        problems=(404, 409, 422, 429),
    )
    def post_code(card_id: UUID) -> Response:
        wanted = parsing.body(_CODE)

        def issue(_: Session | None = None) -> Answer:
            code = deps.desk.issue(card_id, caller().id)
            picture = _draw(code.text, wanted["image"], wanted["size"]) if "image" in wanted else None
            CODES.inc()
            return Answer(code_out(code, picture), 201)

        return deps.once.run(issue) if deps.once.asked() else issue().response()

    return bp


def _draw(text: str, image: str, size: int) -> Picture:
    return draw_svg(text, size=size) if image == "svg" else draw_png(text, size=size)


def _etag(account: accounts.Account) -> dict[str, str]:
    return {"ETag": f'"{account.card.version}"'}


def _location(account: accounts.Account, status: int) -> dict[str, str]:
    return {"Location": f"/v1/cards/{account.card.id}"} if status == 201 else {}


def _if_match() -> int | None:
    """The version in `If-Match`, None where the caller does not care. A tag that is not ours matches nothing."""
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return None
    tag = header.strip().strip('"')
    if tag.isascii() and tag.isdigit() and len(tag) < 19:
        return int(tag)
    message = Text("If-Match 应为读取卡时得到的 ETag。", "If-Match takes the ETag that came with the card.")
    raise InvalidValue.at("/If-Match", "etag", message)
