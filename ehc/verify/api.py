"""`POST /v1/verifications`, and the list of checks that a card's holder reads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any
from uuid import UUID

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from ehc.callers import ClientKind, Reach, Scope
from ehc.cards import store as cards
from ehc.cards.bindings import patient_id_place
from ehc.clock import local_day
from ehc.core.masking import mask_name
from ehc.crypto.sealed import Sealer
from ehc.db import UnitOfWork
from ehc.errors import Text
from ehc.residents.store import name_place
from ehc.verify.disclosure import disclose, narrowed
from ehc.verify.history import checks_of
from ehc.verify.journal import Journal, Settle, settle_within
from ehc.verify.metrics import scans
from ehc.verify.opening import open_holder
from ehc.verify.replayed import Standing, standing
from ehc.verify.scans import Holder, Settled
from ehc.verify.schemas import HistoryOut, ScanIn, ScanOut, Told, history_out, presentation, scan_out
from ehc.verify.service import Presentation, Refused, Tools, scan_of, verify_code, visit_of
from ehc.web import parsing
from ehc.web.answers import Answer
from ehc.web.auth import Authenticate, bearer, caller
from ehc.web.idempotency import Once
from ehc.web.language import language
from ehc.web.openapi import operation
from ehc.web.paging import PageQuery, cursor
from ehc.web.problems import HttpProblem

_SCAN, _PAGE = ScanIn(), PageQuery()
_TERMINAL_ONLY = Text(
    "实体卡号只能由登记的终端读出后提交。",
    "The number of a plastic card comes from an enrolled terminal's reader alone.",
)


@dataclass(frozen=True)
class VerifyDeps:
    """What app.py hands this room. There is no signer in it."""

    work: UnitOfWork
    once: Once
    tools: Tools
    journal: Journal
    authenticate: Authenticate
    institution_names: Callable[[Session, set[UUID]], dict[UUID, str]]


def verifications_blueprint(deps: VerifyDeps) -> Blueprint:
    """Checks, for terminals."""
    bp = Blueprint("verifications", __name__, url_prefix="/v1/verifications")
    bp.before_request(bearer(deps.authenticate, Scope.VERIFY, sandbox=True))

    @bp.post("")
    @operation(
        "Check a code or a plastic card",
        body=ScanIn,
        answers={200: ScanOut},
        scope=Scope.VERIFY,
        idempotent=True,
        problems=(422,),
    )
    def post_verification() -> Response:
        shown = presentation(parsing.body(_SCAN))
        _require_step(shown)
        if shown.plastic is not None and caller().kind is not ClientKind.TERMINAL:
            raise HttpProblem(403, "terminal-only", _TERMINAL_ONLY)
        if not deps.once.asked():
            return _check(deps, shown, deps.journal.settle).response()
        return deps.once.run(
            lambda session: _check(deps, shown, partial(settle_within, session)),
            again=lambda session, told: _again(deps, shown, session, told),
        )

    return bp


def _require_step(shown: Presentation) -> None:
    """A terminal checks at the steps that it was enrolled for. Known with its token: asks nothing more of the database."""
    steps = caller().steps
    if steps is not None and shown.step not in steps:
        detail = Text(
            "该终端不得用于此诊疗环节，请更换终端或请管理员调整。",
            "This terminal may not check at this step. Use another, or have the staff change it.",
        )
        raise HttpProblem(403, "step-not-allowed", detail)


def history_blueprint(deps: VerifyDeps) -> Blueprint:
    """The checks of a card, for the apps that show them to its holder."""
    bp = Blueprint("card_history", __name__, url_prefix="/v1/cards")
    bp.before_request(bearer(deps.authenticate, Scope.CARDS, sandbox=True))

    @bp.get("/<uuid:card_id>/verifications")
    @operation(
        "Who checked this card",
        query=PageQuery,
        answers={200: HistoryOut},
        scope=Scope.CARDS,
        resident=Reach.FAMILY,
        problems=(404, 422),
    )
    def get_verifications(card_id: UUID) -> Response:
        page = parsing.query(_PAGE)
        with deps.work() as session:
            card = cards.granted(session, card_id, caller().id, at=deps.tools.clock.now())
            entries, more = checks_of(session, card.serial, limit=page["limit"], before=page["cursor"])
            named = {entry.institution_id for entry in entries if entry.institution_id}
            names = deps.institution_names(session, named) if named else {}
        following = cursor((entries[-1].verified_at, entries[-1].id)) if more else None
        return Answer(history_out(entries, names, following)).response()

    return bp


def _check(deps: VerifyDeps, shown: Presentation, settle: Settle) -> Answer:
    settled = verify_code(shown, caller(), tools=deps.tools, settle=settle)
    scans(settled.reason or "accepted").inc()
    return Answer(scan_out(settled, _told(deps.tools.sealer(), settled), english=language() == "en"))


def _again(deps: VerifyDeps, shown: Presentation, session: Session, told: Mapping[str, Any]) -> Answer | None:
    """What to say instead of a kept answer, None where it stands: no acceptance outlives the card (measure H)."""
    if told["outcome"] != "accepted":
        return None
    visit = visit_of(shown, caller(), deps.tools)
    try:
        scan = scan_of(shown, visit, deps.tools)
        first_at, card_id = datetime.fromisoformat(told["verified_at"]), told["card"].get("card_id")
        now = standing(session, scan, first_at=first_at, card_id=card_id)
    except Refused:
        return _check(deps, shown, partial(settle_within, session))
    if not now.good:
        return _check(deps, shown, partial(settle_within, session))
    if now.sharing:
        kept = _still_bound(told, _opened(deps.tools.sealer(), now), visit.step)
        narrower = _still_told(kept, deps.tools.rules().told(visit.institution_id, visit.step, visit.at))
        return narrower or (None if kept == told else Answer(kept))
    card = dict(told["card"])
    if "acted_for" in card:  # that somebody acts for the holder is a fact about the card; who does is not told
        card["acted_for"] = {"relation": card["acted_for"]["relation"]}
    kept = {name: value for name, value in told.items() if name not in {"patient_id", "patient_ids"}}
    return Answer({**kept, "card": card, "resident": None})


def _still_bound(kept: Mapping[str, Any], bound: Mapping[str, str], step: str) -> dict[str, Any]:
    """A kept answer with the patient's own ids as they are now: one that was ended, or merged into another, is told no more."""
    if "patient_ids" not in kept:
        return dict(kept)
    ids = {kind: bound[kind] for kind in kept["patient_ids"] if kind in bound}
    if not ids:
        return {name: value for name, value in kept.items() if name not in {"patient_id", "patient_ids"}}
    return {**kept, "patient_id": ids.get("inpatient" if step == "inpatient" else "outpatient"), "patient_ids": ids}


def _still_told(kept: Mapping[str, Any], may: frozenset[str]) -> Answer | None:
    """A kept answer without what the table of disclosure lets be told no more; None where it stands as it is."""
    now = dict(kept)
    if kept["resident"] is not None:
        now["resident"] = narrowed(kept["resident"], may)
    if "guardian:masked" not in may and "acted_for" in kept["card"]:
        now["card"] = {**kept["card"], "acted_for": {"relation": kept["card"]["acted_for"]["relation"]}}
    if "patient-id" not in may:
        now = {name: value for name, value in now.items() if name not in {"patient_id", "patient_ids"}}
    return None if now == kept else Answer(now)


def _told(sealer: Sealer, settled: Settled) -> Told:
    """What may be told of the holder of an accepted card, opened."""
    holder = settled.holder
    if holder is None or not settled.told:
        return Told(acted_for=_acted_for(sealer, settled))
    today = max(local_day(settled.at), holder.birth_date or date.min)
    resident = disclose(open_holder(sealer, holder, settled.told), settled.told, today=today)
    return Told(resident, _acted_for(sealer, settled), _patient_ids(sealer, settled))


def _patient_ids(sealer: Sealer, settled: Settled) -> dict[str, str] | None:
    holder = settled.holder
    if holder is None or "patient-id" not in settled.told:
        return None
    return _opened(sealer, holder)


def _opened(sealer: Sealer, sealed: Holder | Standing) -> dict[str, str]:
    found = (
        ("outpatient", sealed.outpatient_id, sealed.outpatient),
        ("inpatient", sealed.inpatient_id, sealed.inpatient),
    )
    return {
        kind: sealer.unseal(number, patient_id_place(row_id))
        for kind, row_id, number in found
        if row_id is not None and number is not None
    }


def _acted_for(sealer: Sealer, settled: Settled) -> Mapping[str, Any] | None:
    """That somebody acts for the holder, of whatever code it is: a fact about the card. Who does, only where it may be told."""
    holder = settled.holder
    if holder is None or holder.guardian_id is None or holder.guardian_name is None:
        return None
    if "guardian:masked" not in settled.told:
        return {"relation": holder.relation}
    guardian = sealer.unseal(holder.guardian_name, name_place(holder.guardian_id))
    return {"relation": holder.relation, "guardian": mask_name(guardian)}
