"""`/v1/cards/{id}`: consents, export, who looked, corrections, closing. For apps with the scope `cards` and a grant."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from ehc import audit
from ehc.callers import Reach, Scope
from ehc.cards import store as cards
from ehc.cards.store import acting
from ehc.errors import EhcError
from ehc.issuer import closing, consents, corrections, rights
from ehc.issuer.acts import LOG_READ, Look
from ehc.issuer.api import if_match
from ehc.issuer.corrections import Field
from ehc.issuer.deps import IssuerDeps
from ehc.issuer.export_schemas import ExportOut, export_out
from ehc.issuer.rights import Checks, InstitutionNames, client_names, client_of
from ehc.issuer.rights_schemas import (
    AccessLogOut,
    ClosedOut,
    CloseIn,
    ConsentIn,
    ConsentOut,
    ConsentsOut,
    CorrectionIn,
    CorrectionOut,
    CorrectionsOut,
    ProvedIn,
    closed_out,
    consent_out,
    correction_out,
    given,
    look_out,
)
from ehc.residents import consents as records
from ehc.residents.models import ConsentRow
from ehc.web import parsing
from ehc.web.answers import Answer
from ehc.web.auth import bearer, caller
from ehc.web.language import language
from ehc.web.openapi import operation
from ehc.web.paging import PageQuery, cursor

STATUSES: dict[type[EhcError], int] = {
    consents.NoSuchConsent: 404,
    consents.AccountConsent: 409,
    consents.OtherAppsConsent: 409,
    consents.ConsentReplaced: 409,
    corrections.NoSuchCorrection: 404,
    corrections.TooManyCorrections: 409,
    rights.PhoneProofRequired: 409,
}

_CONSENT, _CORRECTION, _CLOSE, _PROVED, _PAGE = ConsentIn(), CorrectionIn(), CloseIn(), ProvedIn(), PageQuery()


@dataclass(frozen=True)
class RightsDeps:
    """What app.py hands this blueprint: the issuer's own, and what other rooms know."""

    issuer: IssuerDeps
    checks: Checks
    institution_names: InstitutionNames


def rights_blueprint(deps: RightsDeps) -> Blueprint:
    """What holders may ask, through an app that has a grant for their card."""
    bp = Blueprint("rights", __name__, url_prefix="/v1/cards")
    bp.before_request(bearer(deps.issuer.authenticate, Scope.CARDS))
    _add_consents(bp, deps.issuer)
    _add_access(bp, deps)
    _add_corrections(bp, deps.issuer)
    _add_closing(bp, deps.issuer)
    return bp


def _add_consents(bp: Blueprint, deps: IssuerDeps) -> None:
    @bp.post("/<uuid:card_id>/consents")
    @operation(
        "Record a consent of the holder",
        body=ConsentIn,
        answers={201: ConsentOut, 200: ConsentOut},
        scope=Scope.CARDS,
        resident=Reach.OWN,
        idempotent=True,
        problems=(404, 422),
    )
    def post_consent(card_id: UUID) -> Response:
        """The same purpose and version again is the same record (200). Another version takes the place of the one before."""
        wanted = parsing.body(_CONSENT)

        def act(session: Session) -> Answer:
            now, who = deps.clock.now(), caller()
            card, party = cards.granted_as(session, card_id, who.id, at=now)
            by, secrets = acting(who, party), deps.registry().secrets
            row, new = consents.give(session, card, given(wanted, now), caller=who, by=by, secrets=secrets, now=now)
            return Answer(_consents_out(session, [row])[0], 201 if new else 200)

        return deps.once.run(act)

    @bp.get("/<uuid:card_id>/consents")
    @operation(
        "What the holder agreed to",
        query=PageQuery,
        answers={200: ConsentsOut},
        scope=Scope.CARDS,
        resident=Reach.OWN,
        problems=(404, 422),
    )
    def get_consents(card_id: UUID) -> Response:
        page = parsing.query(_PAGE)
        with deps.work() as session:
            card = cards.granted(session, card_id, caller().id, at=deps.clock.now())
            rows, more = records.page(session, card.resident_id, limit=page["limit"], before=page["cursor"])
            items = _consents_out(session, rows)
        following = cursor((rows[-1].given_at, rows[-1].id)) if more else None
        return Answer({"items": items, "next": following}).response()

    @bp.post("/<uuid:card_id>/consents/<uuid:consent_id>/withdraw")
    @operation(
        "Take a consent back, at once",
        answers={200: ConsentOut},
        scope=Scope.CARDS,
        resident=Reach.OWN,
        idempotent=True,
        problems=(404, 409),
    )
    def post_withdraw(card_id: UUID, consent_id: UUID) -> Response:
        """`institution-sharing`: the next check tells nothing. `app-access`: this app sees the card no more."""

        def act(session: Session) -> Answer:
            now, who = deps.clock.now(), caller()
            card, party = cards.granted_as(session, card_id, who.id, at=now)
            by, secrets = acting(who, party), deps.registry().secrets
            row = consents.withdraw(session, card, consent_id, caller=who, by=by, secrets=secrets, now=now)
            return Answer(_consents_out(session, [row])[0])

        return deps.once.run(act)


def _add_access(bp: Blueprint, deps: RightsDeps) -> None:
    issuer = deps.issuer

    @bp.post("/<uuid:card_id>/export")
    @operation(
        "Everything about the holder, in clear",
        body=ProvedIn,
        answers={200: ExportOut},
        scope=Scope.CARDS,
        resident=Reach.OWN,
        problems=(404, 409, 422),
    )
    def post_export(card_id: UUID) -> Response:
        """A POST, since it takes a proof, once. Its answer is kept nowhere: `Idempotency-Key` has no meaning here."""
        wanted = parsing.body(_PROVED)
        with issuer.work() as session:
            now, who, secrets = issuer.clock.now(), caller(), issuer.registry().secrets
            card, party = cards.granted_as(session, card_id, who.id, at=now)
            proof_id, needed = wanted.get("phone_proof"), issuer.sms is not None
            rights.require_phone(session, card, proof_id, needed=needed, caller=who, secrets=secrets, now=now)
            by = acting(who, party)
            facts = {"party": party}
            audit.record(session, "card.exported", actor=by.actor, subject=str(card_id), at=now, facts=facts)
            found = rights.export(session, card, checks=deps.checks, secrets=secrets)
            places = [check.institution_id for check in found.checks]
            places += [row.institution_id for row, _ in found.bindings.plastic]
            places += [row.institution_id for row, _ in found.bindings.patient_ids]
            institutions = _institutions(session, deps, places)
            actors = {client_of(event.actor) for event in found.events} | {client_of(act.actor) for act in found.acts}
            actors |= {row.client_id for row in found.consents} | {grant.client_id for grant in found.grants}
            clients = client_names(session, {client for client in actors if client})
        out = export_out(found, institutions, clients, at=now, english=language() == "en")
        return Answer(out).response()

    @bp.get("/<uuid:card_id>/access-log")
    @operation(
        "Who looked at the holder's data",
        query=PageQuery,
        answers={200: AccessLogOut},
        scope=Scope.CARDS,
        resident=Reach.FAMILY,
        problems=(404, 422),
    )
    def get_access_log(card_id: UUID) -> Response:
        """Checks by institutions, and every act on the card, in one list; reading the list itself is not in it."""
        page = parsing.query(_PAGE)
        with issuer.work() as session:
            now, who = issuer.clock.now(), caller()
            card = cards.granted(session, card_id, who.id, at=now)
            looks, more = rights.access_log(
                session, card, checks=deps.checks, limit=page["limit"], before=page["cursor"]
            )
            institutions = _institutions(session, deps, (look.institution_id for look in looks))
            clients = _clients(session, looks)
            audit.record(session, LOG_READ, actor=acting(who).actor, subject=str(card_id), at=now)
        following = cursor((looks[-1].at, looks[-1].id)) if more else None
        return Answer(
            {"items": [look_out(look, institutions, clients) for look in looks], "next": following}
        ).response()


def _add_corrections(bp: Blueprint, deps: IssuerDeps) -> None:
    @bp.post("/<uuid:card_id>/corrections")
    @operation(
        "Ask to have something put right",
        body=CorrectionIn,
        answers={201: CorrectionOut},
        scope=Scope.CARDS,
        resident=Reach.OWN,
        idempotent=True,
        problems=(404, 409, 422),
    )
    def post_correction(card_id: UUID) -> Response:
        """Staff decide; what they grant is written at once. At most 20 of a card wait."""
        wanted = parsing.body(_CORRECTION)

        def act(session: Session) -> Answer:
            now, who = deps.clock.now(), caller()
            card, party = cards.granted_as(session, card_id, who.id, at=now)
            asked = corrections.ask(
                session,
                card,
                Field(wanted["field"]),
                wanted["wanted"],
                wanted.get("reason"),
                caller=who,
                party=party,
                secrets=deps.registry().secrets,
                now=now,
            )
            return Answer(correction_out(asked), 201)

        return deps.once.run(act)

    @bp.get("/<uuid:card_id>/corrections")
    @operation(
        "What the holder asked to have put right",
        query=PageQuery,
        answers={200: CorrectionsOut},
        scope=Scope.CARDS,
        resident=Reach.OWN,
        problems=(404, 422),
    )
    def get_corrections(card_id: UUID) -> Response:
        page = parsing.query(_PAGE)
        with deps.work() as session:
            card = cards.granted(session, card_id, caller().id, at=deps.clock.now())
            secrets = deps.registry().secrets
            found, more = corrections.page(session, card, limit=page["limit"], before=page["cursor"], secrets=secrets)
        following = cursor((found[-1].asked_at, found[-1].id)) if more else None
        return Answer({"items": [correction_out(asked) for asked in found], "next": following}).response()


def _add_closing(bp: Blueprint, deps: IssuerDeps) -> None:
    @bp.post("/<uuid:card_id>/close")
    @operation(
        "Close the holder's account",
        body=CloseIn,
        answers={200: ClosedOut},
        scope=Scope.CARDS,
        resident=Reach.OWN,
        idempotent=True,
        conditional=True,
        problems=(404, 409, 412, 422),
    )
    def post_close(card_id: UUID) -> Response:
        """Ends the card, every app's access and the family. What goes when: docs/privacy.md. Export first."""
        wanted, version = parsing.body(_CLOSE), if_match()

        def act(session: Session) -> Answer:
            card, kept_until = closing.close(
                session,
                card_id,
                reason=wanted["reason"],
                phone_proof=wanted.get("phone_proof"),
                phone_needed=deps.sms is not None,
                caller=caller(),
                registry=deps.registry(),
                now=deps.clock.now(),
                version=version,
            )
            return Answer(closed_out(card, kept_until))

        return deps.once.run(act)


def _consents_out(session: Session, rows: list[ConsentRow]) -> list[dict[str, object]]:
    apps = client_names(session, {row.client_id for row in rows})
    return [consent_out(row, apps, english=language() == "en") for row in rows]


def _institutions(session: Session, deps: RightsDeps, ids: Iterable[UUID | None]) -> dict[UUID, str]:
    named = {found for found in ids if found}
    return deps.institution_names(session, named) if named else {}


def _clients(session: Session, looks: list[Look]) -> dict[UUID, str]:
    named = {client_of(look.actor) for look in looks}
    return client_names(session, {client for client in named if client})
