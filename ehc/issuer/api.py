"""`/v1/cards`: registration, changes and states. Parse, call, render; committed before the answer leaves."""

from datetime import datetime
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, request
from sqlalchemy.orm import Session

from ehc import audit
from ehc.callers import Reach, Scope
from ehc.cards import store as cards
from ehc.cards.models import CardRow
from ehc.cards.states import CANCEL, REPORT_LOSS, SUSPEND, CardStatus, Move
from ehc.cards.store import acting
from ehc.clock import local_day
from ehc.errors import EhcError, InvalidValue, Text
from ehc.issuer import accounts, changes, consents, lifecycle, linking, own_registration, proofs, recovery
from ehc.issuer.accounts import Account
from ehc.issuer.applications import inside, read_person
from ehc.issuer.deps import IssuerDeps
from ehc.issuer.metrics import REGISTRATIONS
from ehc.issuer.proofs import Weighed
from ehc.issuer.registry import Registry
from ehc.issuer.rights_schemas import given
from ehc.issuer.schemas import (
    CardOut,
    ChangeIn,
    LinkIn,
    ReasonIn,
    RegistrationIn,
    ResumeIn,
    application,
    card_out,
    facts,
    proof,
)
from ehc.issuer.weighing import weigh_application
from ehc.outside.identity_authority import AuthorityAway
from ehc.residents.store import Person
from ehc.web import parsing
from ehc.web.answers import Answer
from ehc.web.auth import bearer, caller
from ehc.web.openapi import operation
from ehc.web.problems import HttpProblem

STATUSES: dict[type[EhcError], int] = {
    accounts.IdentityMismatch: 409,
    accounts.CardCancelled: 409,
    cards.NoSuchCard: 404,
    cards.Conflict: 409,
    cards.StaleVersion: 412,
    changes.DocumentInUse: 409,
    lifecycle.HeldByStaff: 409,
    proofs.NotConfirmed: 409,
    AuthorityAway: 503,
    recovery.ProofRequired: 409,
}

_REGISTRATION, _CHANGE, _LINK = RegistrationIn(), ChangeIn(), LinkIn()
_REASON, _RESUME = ReasonIn(), ResumeIn()
_IDENTITY_FACTS = frozenset({"name", "id_type", "id_number"})
_MOVES = (
    ("suspend", SUSPEND, "Suspend a card"),
    ("report-loss", REPORT_LOSS, "Report a phone or print lost: freezes the card and closes every code that is out"),
    ("cancel", CANCEL, "Cancel a card; ends every client's access"),
)


def cards_blueprint(deps: IssuerDeps) -> Blueprint:
    """Cards, for apps with the scope `cards`."""
    bp = Blueprint("cards", __name__, url_prefix="/v1/cards")
    bp.before_request(bearer(deps.authenticate, Scope.CARDS, sandbox=True))
    _add_registration(bp, deps)
    _add_reading(bp, deps)
    for path, how, summary in _MOVES:
        _add_move(bp, deps, path, how, summary)
    _add_resume(bp, deps)
    _add_documents(bp, deps)
    return bp


def _add_registration(bp: Blueprint, deps: IssuerDeps) -> None:
    @bp.post("")
    @operation(
        "Register a person",
        body=RegistrationIn,
        answers={201: CardOut, 200: CardOut},
        scope=Scope.CARDS,
        resident=Reach.SELF,
        idempotent=True,
        problems=(409, 422, 429),
    )
    def post_card() -> Response:
        """With a resident's token: `self-declared`, with a proof of the phone; the log-in is then linked to the person."""
        sent = parsing.body(_REGISTRATION)
        if (replayed := deps.once.replayed()) is not None:
            return replayed
        wanted, agreed = application(sent), sent.get("consents", [])
        registry = deps.registry()
        person = read_person(wanted, today=local_day(deps.clock.now()))
        own = own_registration.begin(deps, wanted, person) if caller().resident is not None else None
        weighed = weigh_application(deps.work, registry, wanted.proof, person)

        def act(session: Session) -> Answer:
            now = deps.clock.now()
            known = own is not None and own.require(session)
            account, new = accounts.register(
                session, person, wanted, weighed, caller=caller(), registry=registry, now=now
            )
            if own is not None:
                own.settle(session, account, new=new, known=known, now=now)
            _agree(session, account, agreed, registry=registry, now=now)
            status = 201 if new else 200
            return Answer(card_out(account, today=local_day(now)), status, etag(account) | _location(account, status))

        response = deps.once.run(act)
        REGISTRATIONS.labels("new" if response.status_code == 201 else "known").inc()
        return response


def _add_reading(bp: Blueprint, deps: IssuerDeps) -> None:
    @bp.get("/<uuid:card_id>")
    @operation("Read a card", answers={200: CardOut}, scope=Scope.CARDS, resident=Reach.FAMILY, problems=(404,))
    def get_card(card_id: UUID) -> Response:
        now = deps.clock.now()
        with deps.work() as session:
            card, open_grant = cards.known_to(session, card_id, caller().id, at=now)
            account = accounts.account_of(session, card, secrets=deps.registry().secrets)
            audit.record(session, "card.read", actor=acting(caller()).actor, subject=str(card_id), at=now)
        answer = card_out(account, today=local_day(now), open_grant=open_grant)
        return Answer(answer, headers=etag(account)).response()

    @bp.patch("/<uuid:card_id>")
    @operation(
        "Change what is known of a holder",
        body=ChangeIn,
        answers={200: CardOut},
        scope=Scope.CARDS,
        resident=Reach.GUARDIAN,
        idempotent=True,
        conditional=True,
        problems=(404, 409, 412, 422, 428),
    )
    def patch_card(card_id: UUID) -> Response:
        """Needs `If-Match`. Name, type and number change the index id and the card id, and need a fresh proof, by the app."""
        wanted = parsing.body(_CHANGE)
        own_registration.require_no_word(wanted, "verification", *_IDENTITY_FACTS)
        version = if_match()
        if version is None and "If-Match" not in request.headers:
            detail = Text(
                "修改须携带 If-Match（读取卡时得到的 ETag）。",
                "A change needs If-Match: the ETag that came with the card.",
            )
            raise HttpProblem(428, "precondition-required", detail)
        if (replayed := deps.once.replayed()) is not None:
            return replayed
        registry, weighed, identity = deps.registry(), None, None
        if not _IDENTITY_FACTS.isdisjoint(wanted):
            identity, weighed = _fresh_identity(deps, card_id, wanted, version)

        def act(session: Session) -> Answer:
            now = deps.clock.now()
            card, party = cards.granted_as(session, card_id, caller().id, at=now)
            if version is not None and version != card.version:
                raise cards.stale()
            who = caller()
            changes.change_facts(session, card, facts(wanted), caller=who, party=party, registry=registry, now=now)
            own_registration.follow_phone(session, card, wanted, caller=who)
            if identity is not None and weighed is not None:
                by = acting(who, party)
                changes.change_identity(session, card, identity, weighed, by=by, registry=registry, now=now)
            return account_answer(session, deps, card)

        return deps.once.run(act)


def _add_move(bp: Blueprint, deps: IssuerDeps, path: str, how: Move, summary: str) -> None:
    @operation(
        summary,
        body=ReasonIn,
        answers={200: CardOut},
        scope=Scope.CARDS,
        resident=Reach.GUARDIAN,
        idempotent=True,
        conditional=True,
        problems=(404, 409, 412, 422),
    )
    def post_move(card_id: UUID) -> Response:
        reason, version = parsing.body(_REASON)["reason"], if_match()

        def act(session: Session) -> Answer:
            secrets, now = deps.registry().secrets, deps.clock.now()
            card = lifecycle.change_status(
                session, card_id, how, caller=caller(), reason=reason, secrets=secrets, now=now, version=version
            )
            return account_answer(session, deps, card)

        return deps.once.run(act)

    bp.add_url_rule(f"/<uuid:card_id>/{path}", f"post_{path.replace('-', '_')}", post_move, methods=["POST"])


def _add_resume(bp: Blueprint, deps: IssuerDeps) -> None:
    @bp.post("/<uuid:card_id>/resume")
    @operation(
        "Resume a suspended card, or one that was reported lost",
        body=ResumeIn,
        answers={200: CardOut},
        scope=Scope.CARDS,
        resident=Reach.GUARDIAN,
        idempotent=True,
        conditional=True,
        problems=(404, 409, 412, 422),
    )
    def post_resume(card_id: UUID) -> Response:
        """A card that was reported lost needs `proof`, as registration does; codes issued before stay closed."""
        wanted, version = parsing.body(_RESUME), if_match()
        own_registration.require_no_word(wanted, "proof")
        if (replayed := deps.once.replayed()) is not None:
            return replayed
        person, weighed = _shown(deps, card_id, wanted["proof"]) if "proof" in wanted else (None, None)

        def act(session: Session) -> Answer:
            card = recovery.resume(
                session,
                card_id,
                person=person,
                weighed=weighed,
                caller=caller(),
                reason=wanted["reason"],
                secrets=deps.registry().secrets,
                now=deps.clock.now(),
                version=version,
            )
            return account_answer(session, deps, card)

        return deps.once.run(act)


def _add_documents(bp: Blueprint, deps: IssuerDeps) -> None:
    @bp.post("/<uuid:card_id>/documents")
    @operation(
        "Link another document of the holder",
        body=LinkIn,
        answers={200: CardOut},
        scope=Scope.CARDS,
        idempotent=True,
        conditional=True,
        problems=(404, 409, 412, 422),
    )
    def post_document(card_id: UUID) -> Response:
        """Freshly proved. It leads to this card from now on; a card that it had of its own is joined to this one.

        The name may be written otherwise, as in a passport, but where the document is known it has to be the known one. Birth
        date and sex fit the holder's where they are known, and a second citizen id is refused.
        """
        wanted, version = application(parsing.body(_LINK)), if_match()
        if (replayed := deps.once.replayed()) is not None:
            return replayed
        person = read_person(wanted, today=local_day(deps.clock.now()))
        with deps.work() as session:
            cards.granted(session, card_id, caller().id, at=deps.clock.now())
        weighed = proofs.weigh(deps.registry(), wanted.proof, person)

        def act(session: Session) -> Answer:
            now = deps.clock.now()
            card, party = cards.granted_as(session, card_id, caller().id, at=now)
            linking.link_document(
                session,
                card,
                linking.Shown(person, weighed, wanted.phone_proof),
                caller=caller(),
                party=party,
                phone_needed=deps.sms is not None,
                registry=deps.registry(),
                now=now,
                version=version,
            )
            return account_answer(session, deps, card)

        return deps.once.run(act)


def account_answer(session: Session, deps: IssuerDeps, card: CardRow, status: int = 200) -> Answer:
    """A card as it is at the end of the transaction, for the client that acted on it."""
    account = accounts.account_of(session, card, secrets=deps.registry().secrets)
    open_grant = card.status != CardStatus.CANCELLED  # with the card, the client's access has ended
    out = card_out(account, today=local_day(deps.clock.now()), open_grant=open_grant)
    return Answer(out, status, etag(account))


def etag(account: Account) -> dict[str, str]:
    """The header with the version of a card."""
    return {"ETag": f'"{account.card.version}"'}


def if_match() -> int | None:
    """The version in `If-Match`, None where the caller does not care. A tag that is not ours matches nothing.

    A weak tag is taken as the strong one: proxies that compress an answer weaken its tag, and ours tell versions, not bytes.
    """
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return None
    tag = header.strip().removeprefix("W/").strip('"')
    if tag.isascii() and tag.isdigit() and len(tag) < 19:
        return int(tag)
    message = Text("If-Match 应为读取卡时得到的 ETag。", "If-Match takes the ETag that came with the card.")
    raise InvalidValue.at("/If-Match", "etag", message)


def _shown(deps: IssuerDeps, card_id: UUID, wanted: dict[str, Any]) -> tuple[Person, Weighed]:
    """Who a caller says the holder is, and what the proof is worth. Nobody is asked about a card that is not the caller's."""
    now, shown = deps.clock.now(), application(wanted)
    with deps.work() as session:
        cards.known_to(session, card_id, caller().id, at=now)
    with inside("/proof"):
        person = read_person(shown, today=local_day(now))
    return person, proofs.weigh(deps.registry(), shown.proof, person)


def _fresh_identity(
    deps: IssuerDeps, card_id: UUID, wanted: dict[str, Any], version: int | None
) -> tuple[changes.Identity, Weighed]:
    """The identity that a PATCH asks for, and its proof weighed, before the transaction that applies it.

    Nobody is asked for a change that cannot be made: of another version, or of a card in another state.
    """
    registry, now = deps.registry(), deps.clock.now()
    with deps.work() as session:
        card = cards.granted(session, card_id, caller().id, at=now)
        if version is not None and version != card.version:
            raise cards.stale()
        if card.status not in changes.CHANGEABLE or (card.status == CardStatus.LOST and facts(wanted)):
            raise cards.wrong_state()
        account = accounts.account_of(session, card, secrets=registry.secrets)
    return changes.weigh_identity(
        account, wanted, proof(wanted["verification"]), registry=registry, today=local_day(now)
    )


def _agree(
    session: Session, account: Account, agreed: list[dict[str, Any]], *, registry: Registry, now: datetime
) -> None:
    """Record the consents that came with a registration."""
    by, secrets = acting(caller()), registry.secrets
    for number, wanted in enumerate(agreed):
        told, pointer = given(wanted, now), f"/consents/{number}/given_at"
        consents.give(session, account.card, told, caller=caller(), by=by, secrets=secrets, now=now, pointer=pointer)


def _location(account: Account, status: int) -> dict[str, str]:
    return {"Location": f"/v1/cards/{account.card.id}"} if status == 201 else {}
