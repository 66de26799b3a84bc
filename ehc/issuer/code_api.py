"""`/v1/cards/{id}/codes`, `/print`, and `/v1/temporary-cards`."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, request
from sqlalchemy.orm import Session
from werkzeug.exceptions import MethodNotAllowed

from ehc.callers import Reach, Scope
from ehc.cards import store as cards
from ehc.cards.models import CardRow
from ehc.clock import local_day
from ehc.codes.images import Picture, draw_png, draw_svg
from ehc.core.tables import channel, sex
from ehc.errors import EhcError, InvalidValue, Text
from ehc.issuer import accounts, codes, printing, prints, temporary
from ehc.issuer.accounts import Account
from ehc.issuer.api import account_answer, etag
from ehc.issuer.code_schemas import CodeIn, CodeOut, JoinIn, PrintQuery, TemporaryIn, TemporaryOut, code_out
from ehc.issuer.codes import Code
from ehc.issuer.deps import IssuerDeps
from ehc.issuer.metrics import CODES
from ehc.issuer.national_codes import ShownAt
from ehc.issuer.printing import Layout, draw_pdf
from ehc.issuer.schemas import CardOut, card_out
from ehc.issuer.temporary import Arrival
from ehc.keystore import signing_keys
from ehc.keystore.signing_keys import DatedSigner, signer_at
from ehc.web import parsing
from ehc.web.answers import Answer
from ehc.web.auth import bearer, caller
from ehc.web.openapi import operation

STATUSES: dict[type[EhcError], int] = {
    cards.CardNotActive: 409,
    codes.TooManyCodes: 429,
    prints.StaticNotAllowed: 409,
    printing.NotDrawable: 500,
    signing_keys.NoActiveKey: 503,
    signing_keys.NoSuchKey: 404,
}

_CODE, _PRINT, _TEMPORARY, _JOIN = CodeIn(), PrintQuery(), TemporaryIn(), JoinIn()


def codes_blueprint(deps: IssuerDeps) -> Blueprint:
    """Codes, for apps with the scope `codes`."""
    bp = Blueprint("codes", __name__, url_prefix="/v1/cards")
    bp.before_request(bearer(deps.authenticate, Scope.CODES, sandbox=True))

    @bp.post("/<uuid:card_id>/codes")
    @operation(
        "Issue a code",
        body=CodeIn,
        answers={201: CodeOut},
        scope=Scope.CODES,
        resident=Reach.FAMILY,
        idempotent=True,
        problems=(404, 409, 422, 429),
    )
    def post_code(card_id: UUID) -> Response:
        """A national dynamic code replaces the one before after 5 s; a signed static one stops the one before at once."""
        wanted = parsing.body(_CODE)

        def issue(within: Session | None = None) -> Answer:
            code = _issue(deps, card_id, wanted, within)
            picture = _draw(code.text, wanted["image"], wanted["size"]) if "image" in wanted else None
            CODES.inc()
            return Answer(code_out(code, picture), 201)

        return deps.once.run(issue) if deps.once.asked() else issue().response()

    @bp.get("/<uuid:card_id>/print")
    @operation(
        "Print a card with its static code (PDF)",
        query=PrintQuery,
        answers={200: "application/pdf"},
        scope=Scope.CODES,
        problems=(404, 409, 422, 429),
    )
    def get_print(card_id: UUID) -> Response:
        """Each call makes a new code and stops the one printed before, at once. There is no HEAD of it."""
        if request.method == "HEAD":  # Flask routes it here, and the sheet that it stops nobody would see
            raise MethodNotAllowed(["GET", "OPTIONS"])
        layout = Layout(parsing.query(_PRINT)["layout"])
        response = Response(_print(deps, card_id, layout), mimetype="application/pdf")
        response.headers["Cache-Control"] = "no-store"
        response.headers["Content-Disposition"] = f'inline; filename="ehc-{layout}.pdf"'
        return response

    return bp


def temporary_blueprint(deps: IssuerDeps) -> Blueprint:
    """Temporary cards, for apps with the scope `cards`: a hospital's own system, as a rule."""
    bp = Blueprint("temporary", __name__, url_prefix="/v1/temporary-cards")
    bp.before_request(bearer(deps.authenticate, Scope.CARDS, sandbox=True))

    @bp.post("")
    @operation(
        "Make a card for a patient whom nobody can name",
        body=TemporaryIn,
        answers={201: TemporaryOut},
        scope=Scope.CARDS,
        idempotent=True,
        problems=(422,),
    )
    def post_temporary_card() -> Response:
        """Unverified wherever it is shown, and over by itself after some days (`expires_at`). Its code opens no records."""
        wanted = parsing.body(_TEMPORARY)
        arrival = Arrival(wanted["name"], sex(wanted["sex"]) or "0", wanted["visit_at"], wanted.get("age"))

        def act(session: Session) -> Answer:
            now = deps.clock.now()
            card, person, code = temporary.register(
                session, arrival, caller=caller(), registry=deps.registry(), now=now
            )
            account = Account(card, person, None, None)
            out = card_out(account, today=local_day(now)) | {"code": code}
            return Answer(out, 201, etag(account) | {"Location": f"/v1/cards/{card.id}"})

        return deps.once.run(act)

    @bp.post("/<uuid:card_id>/join")
    @operation(
        "Let a formal card go on with a temporary card's history",
        body=JoinIn,
        answers={200: CardOut},
        scope=Scope.CARDS,
        idempotent=True,
        problems=(404, 409, 422),
    )
    def post_join(card_id: UUID) -> Response:
        """Answers the formal card. The temporary one is cancelled, its code too; needs a grant for both.

        One that has expired is joined too, by the app that made it.
        """
        wanted = parsing.body(_JOIN)

        def act(session: Session) -> Answer:
            card = temporary.join(
                session,
                card_id,
                wanted["card_id"],
                reason=wanted["reason"],
                caller=caller(),
                registry=deps.registry(),
                now=deps.clock.now(),
            )
            return account_answer(session, deps, card)

        return deps.once.run(act)

    return bp


def _issue(deps: IssuerDeps, card_id: UUID, wanted: Mapping[str, Any], within: Session | None) -> Code:
    """The code that is wanted: a part of the transaction `within`, else durable on return."""
    if wanted["kind"] == "dynamic":
        if wanted["format"] == "signed":
            return deps.desk.issue(card_id, caller().id)  # writes nothing
        where = ShownAt(channel(wanted.get("channel", "")), wanted.get("device"))
        return deps.national_desk.issue(card_id, caller().id, where, within=within)
    deps.desk.admit(card_id, caller().id)
    with nullcontext(within) if within is not None else deps.work() as session:
        if wanted["format"] == "national":
            secrets, now = deps.registry().secrets, deps.clock.now()
            return prints.national(session, card_id, caller=caller(), secrets=secrets, now=now)
        return _static(session, deps, card_id)


def _static(session: Session, deps: IssuerDeps, card_id: UUID) -> Code:
    for signers in (deps.print_signers.get, lambda: deps.print_signers.refresh(at_most_every=0)):
        made = _made(deps, prints.printable(session, card_id, caller().id, at=deps.clock.now()), signers())
        if _kept(session, deps, card_id, made, "code"):
            return made.code
        session.expire_all()
    raise cards.wrong_state()


def _print(deps: IssuerDeps, card_id: UUID, layout: Layout) -> bytes:
    """A sheet, drawn while nothing is locked, since that may take seconds. What it says counts if it is still true then."""
    deps.desk.admit(card_id, caller().id)
    for signers in (deps.print_signers.get, lambda: deps.print_signers.refresh(at_most_every=0)):
        with deps.work() as session:
            card = prints.printable(session, card_id, caller().id, at=deps.clock.now())
            account = accounts.account_of(session, card, secrets=deps.registry().secrets)
        made = _made(deps, card, signers())
        drawn = draw_pdf(prints.sheet(account, made.code, issuer=deps.issuer_name, now=deps.clock.now()), layout)
        with deps.work() as session:
            if _kept(session, deps, card_id, made, layout):
                return drawn
    raise cards.wrong_state()


def _made(deps: IssuerDeps, card: CardRow, signers: tuple[DatedSigner, ...]) -> prints.Made:
    now = deps.clock.now()
    return prints.make(card, signer=signer_at(signers, now), cti_key=deps.cti_key(), days=deps.print_days, now=now)


def _kept(session: Session, deps: IssuerDeps, card_id: UUID, made: prints.Made, layout: str) -> bool:
    secrets, now = deps.registry().secrets, deps.clock.now()
    return prints.keep(session, card_id, made, caller=caller(), layout=layout, secrets=secrets, now=now)


def _draw(text: str, image: str, size: int) -> Picture:
    try:
        return draw_svg(text, size=size) if image == "svg" else draw_png(text, size=size)
    except ValueError:
        message = Text("图片尺寸太小，画不下该二维码。", "The picture is too small for this code.")
        raise InvalidValue.at("/size", "range", message) from None
