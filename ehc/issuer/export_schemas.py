"""The shape of the export of everything about a person. Full names and numbers: the one answer that masks nothing.

Other people stay masked in it, and staff are told by their part: whom a person dealt with is not theirs to publish.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from marshmallow import Schema, fields

from ehc.cards.bindings import Everything
from ehc.cards.events import Event
from ehc.cards.models import CardRow, GrantRow
from ehc.issuer.corrections import Correction
from ehc.issuer.rights import Check, Export, Relation
from ehc.issuer.rights_schemas import (
    ConsentOut,
    CorrectionOut,
    LookOut,
    WhoOut,
    actor_out,
    consent_out,
    correction_out,
    look_out,
)
from ehc.residents.store import Person
from ehc.web.answers import instant
from ehc.web.paging import cursor


def _text() -> fields.String:
    return fields.String(required=True, allow_none=True)


def _time() -> fields.AwareDateTime:
    return fields.AwareDateTime(required=True, allow_none=True)


class PersonOut(Schema):
    """A person, in clear. Sex, ethnicity: codes of GB/T 2261.1 and GB/T 3304."""

    name, phone, sex = fields.String(required=True), _text(), _text()
    birth_date = fields.Date(required=True, allow_none=True)
    nation, address, employer = _text(), _text(), _text()


class DocumentOut(Schema):
    """An identity document. `name`: where it is not the holder's own. `closed_at`: it was entered by mistake."""

    name = _text()
    id_type, id_number = fields.String(required=True), fields.String(required=True)
    since, closed_at = fields.AwareDateTime(required=True), _time()


class HeldCardOut(Schema):
    """A card, the holder's own or one that was joined to it."""

    card_id, kind, status = fields.UUID(required=True), fields.String(required=True), fields.String(required=True)
    cause, level = _text(), fields.String(required=True)
    ehc_id, index_id = _text(), _text()
    sharing, static_codes = fields.Boolean(required=True), fields.Boolean(required=True)
    created_at, status_changed_at = fields.AwareDateTime(required=True), fields.AwareDateTime(required=True)


class FormerIdsOut(Schema):
    """Ids that a card had before a name or document changed."""

    ehc_id, index_id = fields.String(required=True), fields.String(required=True)
    closed_at = fields.AwareDateTime(required=True)


class EventOut(Schema):
    """Something that happened to a card. `changed` names fields; `evidence` says where a proof of identity is kept."""

    action, at = fields.String(required=True), fields.AwareDateTime(required=True)
    old_status, new_status, level = _text(), fields.String(required=True), fields.String(required=True)
    party, who = fields.String(required=True), fields.Nested(WhoOut, required=True)
    changed = fields.List(fields.String(), required=True)
    reason, evidence = _text(), _text()


class RelationOut(Schema):
    """A family link. `part` is the holder's in it; `other` is masked."""

    part, relation, other = (fields.String(required=True) for _ in range(3))
    since, until, ended_at, ended_for = fields.AwareDateTime(required=True), _time(), _time(), _text()


class GrantOut(Schema):
    """An app that may see a card, or might."""

    app, since = _text(), fields.AwareDateTime(required=True)
    until, closed_at = _time(), _time()


class PrintOut(Schema):
    """A printed code: when, and until when it counts; the code itself is on paper only."""

    layout, printed_at = fields.String(required=True), fields.AwareDateTime(required=True)
    expires_at, revoked_at = fields.AwareDateTime(required=True), _time()


class ProofOut(Schema):
    """What the identity authority was asked, and found."""

    asked_at, answered_at = fields.AwareDateTime(required=True), _time()
    finding, reference = _text(), _text()


class PhotoOut(Schema):
    """A photograph that came with an application and is kept for now. The picture itself is shown to staff alone."""

    kind, media_type = fields.String(required=True), fields.String(required=True)
    sent_at, kept_until = fields.AwareDateTime(required=True), fields.AwareDateTime(required=True)


class AskedOut(CorrectionOut):
    """A request to have something put right, with what it asks for."""

    wanted, reason = fields.String(required=True), _text()


class PlasticOut(Schema):
    """A plastic card that leads, or led, to a card."""

    kind, card_number = fields.String(required=True), fields.String(required=True)
    institution, state = _text(), fields.String(required=True)
    bound_at, state_changed_at = fields.AwareDateTime(required=True), fields.AwareDateTime(required=True)


class PatientOut(Schema):
    """A hospital's own id of the holder."""

    id_type, patient_id = fields.String(required=True), fields.String(required=True)
    institution, source = _text(), fields.String(required=True)
    bound_at, ended_at, ended_for = fields.AwareDateTime(required=True), _time(), _text()


class AccountOut(Schema):
    """A bank account. `last4`: not of a guardian's, which is somebody else's. Its number is not kept."""

    bank, kind, last4 = fields.String(required=True), fields.String(required=True), _text()
    payer, state = fields.String(required=True), fields.String(required=True)
    started_at, bound_at, ended_at = fields.AwareDateTime(required=True), _time(), _time()
    why = _text()


class CheckOut(Schema):
    """A check of a card."""

    verification_id, verified_at = fields.UUID(required=True), fields.AwareDateTime(required=True)
    outcome, reason = fields.String(required=True), _text()
    institution, step = _text(), fields.String(required=True)
    channel, department = _text(), _text()
    disclosed = fields.List(fields.String(), required=True)


def _many(shape: type[Schema]) -> fields.Field[Any]:
    return fields.List(fields.Nested(shape), required=True)


class ExportOut(Schema):
    """Everything about a person. At most 10,000 checks and acts; `more_…` is the cursor with which the lists go on."""

    exported_at = fields.AwareDateTime(required=True)
    holder = fields.Nested(PersonOut, required=True)
    joined_records = _many(PersonOut)
    documents = _many(DocumentOut)
    cards = _many(HeldCardOut)
    former_ids = _many(FormerIdsOut)
    events = _many(EventOut)
    consents = _many(ConsentOut)
    family = _many(RelationOut)
    apps = _many(GrantOut)
    prints = _many(PrintOut)
    identity_proofs = _many(ProofOut)
    photos = _many(PhotoOut)
    corrections = _many(AskedOut)
    plastic_cards = _many(PlasticOut)
    patient_ids = _many(PatientOut)
    bank_accounts = _many(AccountOut)
    checks = _many(CheckOut)
    more_checks = fields.String(
        required=True, allow_none=True, metadata={"description": "Cursor for /verifications, null if these are all."}
    )
    acts = _many(LookOut)
    more_acts = fields.String(
        required=True, allow_none=True, metadata={"description": "Cursor for /access-log, null if these are all."}
    )


def export_out(
    export: Export, institutions: Mapping[UUID, str], clients: Mapping[UUID, str], *, at: datetime, english: bool
) -> dict[str, Any]:
    """An export as it leaves."""
    checks, acts = export.checks, export.acts
    return {
        "exported_at": instant(at),
        "holder": _person(export.people[0]),
        "joined_records": [_person(person) for person in export.people[1:]],
        "documents": [
            {
                "name": name,
                "id_type": document.type,
                "id_number": document.number,
                "since": instant(row.created_at),
                "closed_at": _instant(row.closed_at),
            }
            for row, document, name in export.documents
        ],
        "cards": [_card(*held) for held in export.cards],
        "former_ids": [
            {"ehc_id": ehc_id, "index_id": index_id, "closed_at": instant(row.closed_at)}
            for row, ehc_id, index_id in export.aliases
        ],
        "events": [_event(event, clients) for event in export.events],
        "consents": [consent_out(row, clients, english=english) for row in export.consents],
        "family": [_relation(relation) for relation in export.family],
        "apps": [_grant(grant, clients) for grant in export.grants],
        "prints": [
            {
                "layout": row.layout,
                "printed_at": instant(row.printed_at),
                "expires_at": instant(row.expires_at),
                "revoked_at": _instant(row.revoked_at),
            }
            for row in export.prints
        ],
        "identity_proofs": [
            {
                "asked_at": instant(row.asked_at),
                "answered_at": _instant(row.answered_at),
                "finding": row.finding,
                "reference": row.reference,
            }
            for row in export.proofs
        ],
        "photos": [
            {
                "kind": row.kind,
                "media_type": row.media_type,
                "sent_at": instant(row.sent_at),
                "kept_until": instant(row.kept_until),
            }
            for row in export.photos
        ],
        "corrections": [_asked(asked) for asked in export.corrections],
        **_bindings(export.bindings, institutions),
        "checks": [_check(check, institutions) for check in checks],
        "more_checks": cursor((checks[-1].verified_at, checks[-1].id)) if export.more_checks else None,
        "acts": [look_out(act, institutions, clients) for act in acts],
        "more_acts": cursor((acts[-1].at, acts[-1].id)) if export.more_acts else None,
    }


def _person(person: Person) -> dict[str, Any]:
    return {
        "name": person.name,
        "phone": person.phone,
        "sex": person.sex,
        "birth_date": _day(person.birth_date),
        "nation": person.ethnicity,
        "address": person.address,
        "employer": person.employer,
    }


def _card(card: CardRow, ehc_id: str | None, index_id: str | None) -> dict[str, Any]:
    return {
        "card_id": str(card.id),
        "kind": card.kind,
        "status": card.status,
        "cause": card.cause,
        "level": card.level,
        "ehc_id": ehc_id,
        "index_id": index_id,
        "sharing": card.sharing,
        "static_codes": card.static_allowed,
        "created_at": instant(card.created_at),
        "status_changed_at": instant(card.status_changed_at),
    }


def _event(event: Event, clients: Mapping[UUID, str]) -> dict[str, Any]:
    return {
        "action": event.action,
        "at": instant(event.at),
        "old_status": event.old_status,
        "new_status": event.new_status,
        "level": event.level,
        "party": event.party,
        "who": actor_out(event.actor, clients),
        "changed": event.changed,
        "reason": event.words.reason,
        "evidence": event.words.evidence,
    }


def _relation(relation: Relation) -> dict[str, Any]:
    link = relation.link
    return {
        "part": relation.part,
        "relation": link.relation,
        "other": relation.other,
        "since": instant(link.created_at),
        "until": _instant(link.until),
        "ended_at": _instant(link.ended_at),
        "ended_for": link.ended_for,
    }


def _grant(grant: GrantRow, clients: Mapping[UUID, str]) -> dict[str, Any]:
    return {
        "app": clients.get(grant.client_id),
        "since": instant(grant.created_at),
        "until": _instant(grant.until),
        "closed_at": _instant(grant.closed_at),
    }


def _asked(asked: Correction) -> dict[str, Any]:
    return correction_out(asked) | {"wanted": asked.wanted, "reason": asked.words}


def _bindings(bound: Everything, institutions: Mapping[UUID, str]) -> dict[str, Any]:
    return {
        "plastic_cards": [
            {
                "kind": row.kind,
                "card_number": number,
                "institution": institutions.get(row.institution_id) if row.institution_id else None,
                "state": row.state,
                "bound_at": instant(row.bound_at),
                "state_changed_at": instant(row.state_changed_at),
            }
            for row, number in bound.plastic
        ],
        "patient_ids": [
            {
                "id_type": row.id_type,
                "patient_id": number,
                "institution": institutions.get(row.institution_id),
                "source": row.source,
                "bound_at": instant(row.bound_at),
                "ended_at": _instant(row.ended_at),
                "ended_for": row.ended_for,
            }
            for row, number in bound.patient_ids
        ],
        "bank_accounts": [
            {
                "bank": row.bank,
                "kind": row.kind,
                "last4": row.last4 if row.payer == "self" else None,
                "payer": row.payer,
                "state": row.state,
                "started_at": instant(row.started_at),
                "bound_at": _instant(row.bound_at),
                "ended_at": _instant(row.ended_at),
                "why": row.failed_for or row.ended_for,
            }
            for row in bound.accounts
        ],
    }


def _check(check: Check, institutions: Mapping[UUID, str]) -> dict[str, Any]:
    return {
        "verification_id": str(check.id),
        "verified_at": instant(check.verified_at),
        "outcome": "rejected" if check.reason else "accepted",
        "reason": check.reason,
        "institution": institutions.get(check.institution_id) if check.institution_id else None,
        "step": check.step,
        "channel": check.channel,
        "department": check.department,
        "disclosed": check.disclosed,
    }


def _day(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _instant(when: datetime | None) -> str | None:
    return instant(when) if when else None
