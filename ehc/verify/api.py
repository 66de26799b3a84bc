"""`POST /v1/verifications`, and the list of checks that a card's holder reads."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from uuid import UUID

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from ehc.callers import Scope
from ehc.cards import store as cards
from ehc.clock import Clock, local_day
from ehc.codes.cti import CtiKey
from ehc.crypto.keys import KeyRing
from ehc.crypto.sealed import Sealer
from ehc.db import UnitOfWork
from ehc.keystore.refreshed import Refreshed
from ehc.residents.store import name_place
from ehc.verify import journal
from ehc.verify.disclosure import Person, disclose
from ehc.verify.history import checks_of
from ehc.verify.journal import Journal, Scan, Settled
from ehc.verify.metrics import scans
from ehc.verify.schemas import HistoryOut, ScanIn, ScanOut, history_out, presentation, scan_out
from ehc.verify.service import Presentation, verify_code
from ehc.web import parsing
from ehc.web.answers import Answer
from ehc.web.auth import Authenticate, bearer, caller
from ehc.web.idempotency import Once
from ehc.web.language import language
from ehc.web.openapi import operation
from ehc.web.paging import PageQuery, cursor

_SCAN, _PAGE = ScanIn(), PageQuery()


@dataclass(frozen=True)
class VerifyDeps:
    """What app.py hands this room. There is no signer in it."""

    work: UnitOfWork
    once: Once
    clock: Clock
    rings: Refreshed[KeyRing]
    cti_key: Callable[[], CtiKey]
    sealer: Callable[[], Sealer]
    journal: Journal
    authenticate: Authenticate
    institution_names: Callable[[Session, set[UUID]], dict[UUID, str]]


def verifications_blueprint(deps: VerifyDeps) -> Blueprint:
    """Checks, for terminals."""
    bp = Blueprint("verifications", __name__, url_prefix="/v1/verifications")
    bp.before_request(bearer(deps.authenticate, Scope.VERIFY))

    @bp.post("")
    @operation(
        "Check a code", body=ScanIn, answers={200: ScanOut}, scope=Scope.VERIFY, idempotent=True, problems=(422,)
    )
    def post_verification() -> Response:
        shown = presentation(parsing.body(_SCAN))
        if not deps.once.asked():
            return _check(deps, shown, deps.journal.settle).response()
        return deps.once.run(lambda session: _check(deps, shown, partial(_settle_within, session)))

    return bp


def history_blueprint(deps: VerifyDeps) -> Blueprint:
    """The checks of a card, for the apps that show them to its holder."""
    bp = Blueprint("card_history", __name__, url_prefix="/v1/cards")
    bp.before_request(bearer(deps.authenticate, Scope.CARDS))

    @bp.get("/<uuid:card_id>/verifications")
    @operation(
        "Who checked this card", query=PageQuery, answers={200: HistoryOut}, scope=Scope.CARDS, problems=(404, 422)
    )
    def get_verifications(card_id: UUID) -> Response:
        page = parsing.query(_PAGE)
        with deps.work() as session:
            card = cards.granted(session, card_id, caller().id)
            entries, more = checks_of(session, card.serial, limit=page["limit"], before=page["cursor"])
            named = {entry.institution_id for entry in entries if entry.institution_id}
            names = deps.institution_names(session, named) if named else {}
        following = cursor((entries[-1].verified_at, entries[-1].id)) if more else None
        return Answer(history_out(entries, names, following)).response()

    return bp


def _check(deps: VerifyDeps, shown: Presentation, settle: Callable[[Scan], Settled]) -> Answer:
    settled = verify_code(
        shown,
        caller(),
        clock=deps.clock,
        rings=deps.rings,
        cti_key=deps.cti_key(),
        sealer=deps.sealer(),
        settle=settle,
    )
    scans(settled.reason or "accepted").inc()
    return Answer(scan_out(settled, _disclosed(deps, settled), english=language() == "en"))


def _disclosed(deps: VerifyDeps, settled: Settled) -> dict[str, object] | None:
    if settled.reason is not None or settled.name is None or settled.resident_id is None:
        return None
    name = deps.sealer().unseal(settled.name, name_place(settled.resident_id))
    person = Person(name, settled.sex, settled.birth_date)
    return dict(disclose(person, today=max(local_day(settled.at), settled.birth_date or date.min)))


def _settle_within(session: Session, scan: Scan) -> Settled:
    """Settle one scan in a transaction that holds an idempotency key too."""
    return journal.settle(session.connection(), [scan])[0]
