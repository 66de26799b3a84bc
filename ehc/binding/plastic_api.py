"""`…/bindings/plastic-cards`: a terminal binds, replaces, reports lost and found; a holder's app reports lost and unbinds."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from ehc.binding import plastic
from ehc.binding.deps import BindingDeps
from ehc.binding.patient_api import seen_by
from ehc.binding.plastic import Desk
from ehc.binding.plastic_moves import PlasticConflict, Shown
from ehc.binding.plastic_schemas import (
    FoundIn,
    LossIn,
    PlasticCardIn,
    PlasticCardOut,
    PlasticCardsOut,
    PlasticQuery,
    ReplacementIn,
    holder_of,
    plastic_out,
)
from ehc.callers import ClientKind, Reach, Scope
from ehc.cards.models import CardRow
from ehc.cards.plastic_models import PlasticCardRow
from ehc.core.plastic_kinds import plastic_kinds
from ehc.errors import EhcError, InvalidValue, Text
from ehc.web import parsing
from ehc.web.answers import Answer
from ehc.web.auth import bearer, caller
from ehc.web.openapi import operation

STATUSES: dict[type[EhcError], int] = {PlasticConflict: 409}

_BIND, _REPLACE, _LOSS, _FOUND, _QUERY = PlasticCardIn(), ReplacementIn(), LossIn(), FoundIn(), PlasticQuery()
_ROOT = "/cards/<uuid:card_id>/bindings/plastic-cards"
_ONE = f"{_ROOT}/<uuid:binding_id>"


@dataclass(frozen=True)
class PlasticDeps:
    """What plastic cards need besides."""

    base: BindingDeps
    loss_days: int
    """How long a loss that was reported by app counts."""


def plastic_terminal_blueprint(deps: PlasticDeps) -> Blueprint:
    """What is done where the plastic card is in a reader, and its holder was just checked."""
    bp = Blueprint("plastic_terminals", __name__, url_prefix="/v1")
    bp.before_request(bearer(deps.base.authenticate, Scope.VERIFY))
    _add_binding(bp, deps)
    _add_finding(bp, deps)
    return bp


def plastic_holder_blueprint(deps: PlasticDeps) -> Blueprint:
    """What a holder does by app."""
    bp = Blueprint("plastic_holders", __name__, url_prefix="/v1")
    bp.before_request(bearer(deps.base.authenticate, Scope.BINDINGS))

    @bp.post(f"{_ONE}/withdraw-loss")
    @operation(
        "Take back a report of loss",
        answers={200: PlasticCardOut},
        scope=Scope.BINDINGS,
        resident=Reach.OWN,
        idempotent=True,
        problems=(404, 409),
    )
    def post_loss_withdrawal(card_id: UUID, binding_id: UUID) -> Response:
        """Of one made by app, before it ends by itself. Takes no body."""
        return deps.base.once.run(lambda session: _moved(session, deps, card_id, binding_id, plastic.withdraw_loss))

    return bp


def plastic_shared_blueprint(deps: PlasticDeps) -> Blueprint:
    """What both do, each in its own way."""
    bp = Blueprint("plastic_cards", __name__, url_prefix="/v1")
    bp.before_request(bearer(deps.base.authenticate, Scope.BINDINGS, Scope.VERIFY))

    @bp.get(_ROOT)
    @operation(
        "The plastic cards of a card",
        query=PlasticQuery,
        answers={200: PlasticCardsOut},
        scope=Scope.BINDINGS,
        resident=Reach.FAMILY,
        problems=(404, 409, 422),
    )
    def get_plastic_cards(card_id: UUID) -> Response:
        """An app of the holder sees all of them; a terminal those that its institution numbers, and more with a check."""
        asked, who, now = parsing.query(_QUERY), caller(), deps.base.clock.now()
        if asked["past"] and who.kind is ClientKind.TERMINAL:
            raise InvalidValue.at(
                "/past", "unknown-member", Text("仅应用使用，请删去。", "For apps only. Leave it out.")
            )
        with deps.base.work() as session:
            card, _ = seen_by(session, card_id, who, deps.base)
            if who.kind is ClientKind.TERMINAL:
                check = asked["verification_id"]
                rows = plastic.bound_at_institution(session, card, caller=who, verification_id=check, now=now)
            else:
                rows = plastic.history_of(session, card) if asked["past"] else plastic.bound_to(session, card)
            names = deps.base.institution_names(session, {row.institution_id for row in rows if row.institution_id})
        sealer = deps.base.secrets().sealer
        return Answer({"items": [plastic_out(row, names, sealer=sealer, now=now) for row in rows]}).response()

    @bp.post(f"{_ONE}/report-loss")
    @operation(
        "Report a plastic card lost",
        body=LossIn,
        answers={200: PlasticCardOut},
        scope=Scope.BINDINGS,
        resident=Reach.GUARDIAN,
        idempotent=True,
        problems=(404, 409, 422),
    )
    def post_plastic_loss(card_id: UUID, binding_id: UUID) -> Response:
        """By app it ends by itself (`until`); at a terminal, with `verification_id`, it lasts until the card is found."""
        wanted = parsing.body(_LOSS)
        reason = wanted["reason"]
        check = _check_of(wanted.get("verification_id"))

        def report(session: Session, card: CardRow, binding: UUID, *, shown: Shown) -> PlasticCardRow:
            return plastic.report_loss(session, card, binding, reason=reason, days=deps.loss_days, shown=shown)

        def act(session: Session) -> Answer:
            if check is None:
                return _moved(session, deps, card_id, binding_id, report)
            row = plastic.confirm_loss(session, card_id, binding_id, reason=reason, desk=_desk(deps, check))
            return _answer(session, deps, row)

        return deps.base.once.run(act)

    @bp.delete(_ONE)
    @operation(
        "Unbind a plastic card",
        answers={200: PlasticCardOut},
        scope=Scope.BINDINGS,
        resident=Reach.OWN,
        problems=(404, 409),
    )
    def delete_plastic_card(card_id: UUID, binding_id: UUID) -> Response:
        """By the holder's app, or by a terminal whose institution numbers it. Twice is once; it may be bound again.

        A card reported lost at a terminal is found first.
        """
        whose = caller().institution_id if caller().kind is ClientKind.TERMINAL else None
        unbind = partial(plastic.unbind, institution_id=whose)
        with deps.base.work() as session:
            answer = _moved(session, deps, card_id, binding_id, unbind)
        return answer.response()

    return bp


def _add_binding(bp: Blueprint, deps: PlasticDeps) -> None:
    @bp.post(_ROOT)
    @operation(
        "Bind a plastic card",
        body=PlasticCardIn,
        answers={201: PlasticCardOut, 200: PlasticCardOut},
        scope=Scope.VERIFY,
        idempotent=True,
        problems=(404, 409, 422),
    )
    def post_plastic_card(card_id: UUID) -> Response:
        """The number as the reader returns it; the holder's code was accepted here just now. The same again answers 200."""
        wanted = parsing.body(_BIND)
        kind = plastic_kinds()[wanted["kind"]]
        number = plastic.read_number(kind, wanted["card_number"])

        def act(session: Session) -> Answer:
            desk = _desk(deps, wanted["verification_id"])
            row, new = plastic.bind(session, card_id, kind, number, holder_of(wanted), desk=desk)
            return _answer(session, deps, row, 201 if new else 200)

        return deps.base.once.run(act)

    @bp.post(f"{_ONE}/replace")
    @operation(
        "Replace a plastic card",
        body=ReplacementIn,
        answers={201: PlasticCardOut, 200: PlasticCardOut},
        scope=Scope.VERIFY,
        idempotent=True,
        problems=(404, 409, 422),
    )
    def post_plastic_replacement(card_id: UUID, binding_id: UUID) -> Response:
        """By another of its kind, which is answered with; the one before is on the blacklist for ever."""
        wanted = parsing.body(_REPLACE)

        def act(session: Session) -> Answer:
            desk, number, holder = _desk(deps, wanted["verification_id"]), wanted["card_number"], holder_of(wanted)
            row, new = plastic.replace(session, card_id, binding_id, number, holder, desk=desk)
            return _answer(session, deps, row, 201 if new else 200)

        return deps.base.once.run(act)


def _add_finding(bp: Blueprint, deps: PlasticDeps) -> None:
    @bp.post(f"{_ONE}/found")
    @operation(
        "Have a lost plastic card count again",
        body=FoundIn,
        answers={200: PlasticCardOut},
        scope=Scope.VERIFY,
        idempotent=True,
        problems=(404, 409, 422),
    )
    def post_plastic_find(card_id: UUID, binding_id: UUID) -> Response:
        """Of one reported lost at a terminal, and not replaced."""
        check = parsing.body(_FOUND)["verification_id"]
        return deps.base.once.run(
            lambda session: _answer(session, deps, plastic.find(session, card_id, binding_id, desk=_desk(deps, check)))
        )


def _check_of(given: UUID | None) -> UUID | None:
    """The check that came with a report of loss: a terminal's has one, an app's has none. Raises `InvalidValue`."""
    at_terminal = caller().kind is ClientKind.TERMINAL
    if at_terminal and given is None:
        raise InvalidValue.at("/verification_id", "required", Text("此项必填。", "This member is required."))
    if not at_terminal and given is not None:
        raise InvalidValue.at(
            "/verification_id", "unknown-member", Text("仅终端使用，请删去。", "For terminals only. Leave it out.")
        )
    return given


def _desk(deps: PlasticDeps, check: UUID) -> Desk:
    return Desk(caller(), check, deps.base.secrets(), deps.base.clock.now())


def _moved(
    session: Session, deps: PlasticDeps, card_id: UUID, binding_id: UUID, how: Callable[..., PlasticCardRow]
) -> Answer:
    """The answer to a move by the holder's app. Raises `NoSuchCard`."""
    card, acting = seen_by(session, card_id, caller(), deps.base)
    shown = Shown(acting, deps.base.secrets().sealer, deps.base.clock.now())
    return _answer(session, deps, how(session, card, binding_id, shown=shown))


def _answer(session: Session, deps: PlasticDeps, row: PlasticCardRow, status: int = 200) -> Answer:
    names = deps.base.institution_names(session, {row.institution_id}) if row.institution_id else {}
    sealer, now = deps.base.secrets().sealer, deps.base.clock.now()
    return Answer(plastic_out(row, names, sealer=sealer, now=now), status)
