"""`/v1/cards/{id}/family`: for whom a card's holder acts, and who acts for the holder."""

from typing import Any
from uuid import UUID

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from ehc.callers import Reach, Scope
from ehc.clock import local_day
from ehc.errors import EhcError
from ehc.issuer import family, family_ties, newborns, proofs
from ehc.issuer.api import etag
from ehc.issuer.applications import Proof, inside, read_person
from ehc.issuer.deps import IssuerDeps
from ehc.issuer.family import Applicant, Bond
from ehc.issuer.family_schemas import (
    AddedOut,
    EndedOut,
    EndIn,
    FamilyIn,
    FamilyOut,
    family_out,
    link_out,
    relation_code,
)
from ehc.issuer.schemas import application, card_out, proof
from ehc.issuer.weighing import weigh_application
from ehc.web import parsing
from ehc.web.answers import Answer, instant
from ehc.web.auth import bearer, caller
from ehc.web.openapi import operation

STATUSES: dict[type[EhcError], int] = {
    family.GuardianNotActive: 409,
    family.GuardianNotOfAge: 409,
    family.HolderOnly: 409,
    family.FamilyFull: 409,
    family.FamilyLoop: 409,
    family.AgreementRequired: 409,
    family_ties.NoSuchLink: 404,
    newborns.MotherNotInFamily: 409,
}

_FAMILY, _END = FamilyIn(), EndIn()


def family_blueprint(deps: IssuerDeps) -> Blueprint:
    """Families, for apps with the scope `cards`."""
    bp = Blueprint("family", __name__, url_prefix="/v1/cards")
    bp.before_request(bearer(deps.authenticate, Scope.CARDS, sandbox=True))
    _add_members(bp, deps)
    _add_ends(bp, deps)
    return bp


def _add_members(bp: Blueprint, deps: IssuerDeps) -> None:
    @bp.post("/<uuid:card_id>/family")
    @operation(
        "Act for a member of the family",
        body=FamilyIn,
        answers={201: AddedOut, 200: AddedOut},
        scope=Scope.CARDS,
        idempotent=True,
        problems=(404, 409, 422),
    )
    def post_family(card_id: UUID) -> Response:
        """A member without a card is registered in the same step. A child's link ends at 18, and the app's access with it."""
        wanted = parsing.body(_FAMILY)
        if (replayed := deps.once.replayed()) is not None:
            return replayed
        with deps.work() as session:  # nobody is asked about a member for a card that is not the caller's
            family.guardian_of(session, card_id, caller=caller(), now=deps.clock.now())
        shown = proof(wanted["verification"])
        applicant = _applicant(deps, wanted, shown)
        bond = Bond(relation_code(wanted["relation"]), shown, wanted.get("phone_proof"))

        def act(session: Session) -> Answer:
            now = deps.clock.now()
            added = family.add(session, card_id, applicant, bond, caller=caller(), registry=deps.registry(), now=now)
            card = card_out(added.account, today=local_day(now))
            return Answer({**link_out(added.link), "card": card}, 201 if added.new else 200, etag(added.account))

        return deps.once.run(act)

    @bp.get("/<uuid:card_id>/family")
    @operation("Read a family", answers={200: FamilyOut}, scope=Scope.CARDS, resident=Reach.OWN, problems=(404,))
    def get_family(card_id: UUID) -> Response:
        with deps.work() as session:
            secrets = deps.registry().secrets
            found = family_ties.read(session, card_id, caller=caller(), secrets=secrets, now=deps.clock.now())
            answer = family_out(found)
        return Answer(answer).response()


def _add_ends(bp: Blueprint, deps: IssuerDeps) -> None:
    @bp.post("/<uuid:card_id>/family/<uuid:link_id>/end")
    @operation(
        "Stop acting for a member, or being acted for",
        body=EndIn,
        answers={200: EndedOut},
        scope=Scope.CARDS,
        resident=Reach.OWN,
        idempotent=True,
        problems=(404, 409, 422),
    )
    def post_family_end(card_id: UUID, link_id: UUID) -> Response:
        """The card is the guardian's or the member's, and the app one of its holder's own. Access ends at once."""
        reason = parsing.body(_END)["reason"]

        def act(session: Session) -> Answer:
            secrets, now = deps.registry().secrets, deps.clock.now()
            family_ties.end(session, card_id, link_id, reason=reason, caller=caller(), secrets=secrets, now=now)
            return Answer({"link_id": str(link_id), "ended_at": instant(now)})

        return deps.once.run(act)


def _applicant(deps: IssuerDeps, wanted: dict[str, Any], shown: Proof) -> Applicant:
    """The member in normal form, and what the proof of them is worth, before the transaction that adds them."""
    now = deps.clock.now()
    today = local_day(now)
    if "newborn" in wanted:
        with inside("/newborn"):
            newborn = newborns.read_newborn(wanted["newborn"], today=today)
        # No authority knows a number that we made: the birth record, which somebody saw, has to do.
        return Applicant(newborn.person, proofs.unasked(deps.registry(), shown), newborn)
    member = application(wanted["member"])
    with inside("/member"):
        person = read_person(member, today=today)
        newborns.require_age(person, today=today, now=now)
    return Applicant(person, weigh_application(deps.work, deps.registry(), member.proof, person))
