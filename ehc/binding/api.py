"""`GET /v1/cards/{card_id}/bindings`: all that is bound to a card and that the caller may see, in one answer."""

from typing import Any
from uuid import UUID

from flask import Blueprint, Response
from marshmallow import Schema, fields
from sqlalchemy.orm import Session

from ehc.binding import bank_accounts, patient_ids, plastic
from ehc.binding.bank_schemas import BankAccountOut, account_out
from ehc.binding.deps import BindingDeps
from ehc.binding.patient_api import seen_by
from ehc.binding.patient_schemas import PatientIdOut, patient_id_out
from ehc.binding.plastic_schemas import PlasticCardOut, plastic_out
from ehc.callers import ClientKind, Reach, Scope
from ehc.web.answers import Answer
from ehc.web.auth import bearer, caller
from ehc.web.openapi import operation


class BindingsOut(Schema):
    """What is bound to a card, of each kind the oldest first."""

    plastic_cards = fields.List(fields.Nested(PlasticCardOut), required=True)
    patient_ids = fields.List(fields.Nested(PatientIdOut), required=True)
    bank_accounts = fields.List(fields.Nested(BankAccountOut), required=True)


def bindings_blueprint(deps: BindingDeps) -> Blueprint:
    """The overview, for apps of the holder and for terminals."""
    bp = Blueprint("bindings", __name__, url_prefix="/v1")
    bp.before_request(bearer(deps.authenticate, Scope.BINDINGS, Scope.VERIFY))

    @bp.get("/cards/<uuid:card_id>/bindings")
    @operation(
        "What is bound to a card",
        answers={200: BindingsOut},
        scope=Scope.BINDINGS,
        resident=Reach.FAMILY,
        problems=(404,),
    )
    def get_bindings(card_id: UUID) -> Response:
        """An app of the holder sees everything, masked; a terminal what is its institution's own, and no bank account."""
        with deps.work() as session:
            found = _found(session, deps, card_id)
        return Answer(found).response()

    return bp


def _found(session: Session, deps: BindingDeps, card_id: UUID) -> dict[str, Any]:
    who, now, sealer = caller(), deps.clock.now(), deps.secrets().sealer
    card, _ = seen_by(session, card_id, who, deps)
    own = who.kind is ClientKind.TERMINAL
    if own:
        plastics = plastic.bound_at_institution(session, card, caller=who, verification_id=None, now=now)
    else:
        plastics = plastic.bound_to(session, card)
    numbers = patient_ids.live_of(session, card, institution_id=who.institution_id)
    accounts = [] if own else bank_accounts.listed(session, card)
    whose = {row.institution_id for row in plastics if row.institution_id} | {row.institution_id for row in numbers}
    names = deps.institution_names(session, whose) if whose else {}
    return {
        "plastic_cards": [plastic_out(row, names, sealer=sealer, now=now) for row in plastics],
        "patient_ids": [patient_id_out(row, names, sealer=sealer, own=own) for row in numbers],
        "bank_accounts": [account_out(row, deps.bank_bins) for row in accounts],
    }
