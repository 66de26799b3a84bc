"""`…/bindings/patient-ids`: an institution binds, changes and ends its own; a holder's app sees all, and may end one."""

from uuid import UUID

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from ehc.binding import patient_ids
from ehc.binding.deps import BindingDeps
from ehc.binding.patient_schemas import (
    EndedBindingOut,
    PatientIdChangeIn,
    PatientIdIn,
    PatientIdOut,
    PatientIdsOut,
    number_of,
    patient_id_out,
)
from ehc.callers import Caller, ClientKind, Reach, Scope
from ehc.cards import store as cards
from ehc.cards.models import CardRow
from ehc.cards.patient_id_models import PatientIdRow
from ehc.cards.states import Party
from ehc.cards.store import Acting
from ehc.errors import EhcError
from ehc.web import parsing
from ehc.web.answers import Answer, instant
from ehc.web.auth import bearer, caller, insufficient
from ehc.web.openapi import operation

STATUSES: dict[type[EhcError], int] = {patient_ids.PatientIdInPlace: 409}

_BIND, _CHANGE = PatientIdIn(), PatientIdChangeIn()


def patient_ids_blueprint(deps: BindingDeps) -> Blueprint:
    """Patient ids, for terminals and for apps of the holder."""
    bp = Blueprint("patient_ids", __name__, url_prefix="/v1")
    bp.before_request(bearer(deps.authenticate, Scope.BINDINGS, Scope.VERIFY))
    _add_binding(bp, deps)
    _add_reading(bp, deps)
    _add_changes(bp, deps)
    return bp


def _add_binding(bp: Blueprint, deps: BindingDeps) -> None:
    @bp.post("/cards/<uuid:card_id>/bindings/patient-ids")
    @operation(
        "Bind a hospital patient id to a card",
        body=PatientIdIn,
        answers={201: PatientIdOut, 200: PatientIdOut},
        scope=Scope.VERIFY,
        idempotent=True,
        problems=(404, 409, 422),
    )
    def post_patient_id(card_id: UUID) -> Response:
        """For terminals: the check of this card at the same institution is the proof. The same again answers 200."""
        wanted = parsing.body(_BIND)

        def act(session: Session) -> Answer:
            row, new = patient_ids.bind(
                session,
                card_id,
                number_of(wanted),
                wanted["verification_id"],
                caller=caller(),
                secrets=deps.secrets(),
                now=deps.clock.now(),
            )
            return _answer(session, deps, row, 201 if new else 200)

        return deps.once.run(act)


def _add_reading(bp: Blueprint, deps: BindingDeps) -> None:
    @bp.get("/cards/<uuid:card_id>/bindings/patient-ids")
    @operation(
        "The patient ids of a card",
        answers={200: PatientIdsOut},
        scope=Scope.BINDINGS,
        resident=Reach.FAMILY,
        problems=(404,),
    )
    def get_patient_ids(card_id: UUID) -> Response:
        """An app of the holder sees all of them, masked; a terminal those of its institution, in clear."""
        with deps.work() as session:
            who = caller()
            card, _ = seen_by(session, card_id, who, deps)
            rows = patient_ids.live_of(session, card, institution_id=who.institution_id)
            names = deps.institution_names(session, {row.institution_id for row in rows}) if rows else {}
        own, sealer = who.kind is ClientKind.TERMINAL, deps.secrets().sealer
        return Answer({"items": [patient_id_out(row, names, sealer=sealer, own=own) for row in rows]}).response()

    @bp.delete("/cards/<uuid:card_id>/bindings/patient-ids/<uuid:binding_id>")
    @operation(
        "End a patient id",
        answers={200: EndedBindingOut},
        scope=Scope.BINDINGS,
        resident=Reach.GUARDIAN,
        problems=(404,),
    )
    def delete_patient_id(card_id: UUID, binding_id: UUID) -> Response:
        """By the holder's app, or by a terminal of the institution whose it is. The row stays in the card's history."""
        with deps.work() as session:
            who, now = caller(), deps.clock.now()
            card, acting = seen_by(session, card_id, who, deps)
            why = "institution" if who.kind is ClientKind.TERMINAL else "holder"
            row = patient_ids.end(
                session, card, binding_id, institution_id=who.institution_id, why=why, acting=acting, now=now
            )
        return Answer({"binding_id": str(row.id), "ended_at": instant(row.ended_at or now)}).response()


def _add_changes(bp: Blueprint, deps: BindingDeps) -> None:
    @bp.post("/patient-ids/changes")
    @operation(
        "Follow a merge or split of patient records",
        body=PatientIdChangeIn,
        answers={200: PatientIdOut},
        scope=Scope.VERIFY,
        idempotent=True,
        problems=(404, 409, 422),
    )
    def post_change() -> Response:
        """For terminals of the institution whose ids they are. The card goes on under `into`; told twice is told once."""
        wanted = parsing.body(_CHANGE)

        def act(session: Session) -> Answer:
            row = patient_ids.change(
                session,
                patient_ids.Change(wanted["change"]),
                number_of(wanted),
                wanted["into"],
                caller=caller(),
                secrets=deps.secrets(),
                now=deps.clock.now(),
            )
            return _answer(session, deps, row, 200)

        return deps.once.run(act)


def seen_by(session: Session, card_id: UUID, who: Caller, deps: BindingDeps) -> tuple[CardRow, Acting]:
    """A card whose bindings a caller may see, and as whom the caller acts: an app by its grant, any terminal as staff.

    What a terminal sees of it is for the caller to limit to its institution. Raises `NoSuchCard`, and `HttpProblem` for an
    app that has no more than a terminal's scope.
    """
    if who.kind is ClientKind.TERMINAL:
        return cards.by_id(session, card_id), cards.acting(who, Party.STAFF)
    if Scope.BINDINGS not in who.scopes:
        raise insufficient(Scope.BINDINGS)
    card, party = cards.granted_as(session, card_id, who.id, at=deps.clock.now())
    return card, cards.acting(who, party)


def _answer(session: Session, deps: BindingDeps, row: PatientIdRow, status: int) -> Answer:
    names = deps.institution_names(session, {row.institution_id})
    return Answer(patient_id_out(row, names, sealer=deps.secrets().sealer, own=True), status)
