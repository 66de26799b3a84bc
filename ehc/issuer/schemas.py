"""The shapes of the issuer's requests and answers about cards."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from ehc.cards.models import CardRow
from ehc.cards.states import CardStatus, Kind, Level
from ehc.clock import local_day
from ehc.core.masking import age_on, mask_name, mask_number, mask_phone
from ehc.core.tables import ethnicities, ethnicity, sex, sexes
from ehc.issuer.accounts import Account
from ehc.issuer.applications import Application, Proof
from ehc.issuer.changes import Replaced
from ehc.issuer.rights_schemas import ConsentIn
from ehc.web.answers import instant
from ehc.web.fields import choice, day, text

SEXES = [name for entry in sexes().values() for name in (entry.code, entry.name_en)]
_NATIONS = [name for entry in ethnicities().values() for name in (entry.code, entry.name_zh)]
_METHODS = [level for level in Level if level is not Level.NONE]


class ClerkIn(Schema):
    """The clerk who saw the document (认证人, national rules 1.8). Kept sealed."""

    name = text(1, 64, required=True, about="The clerk's name.")
    number = text(1, 32, required=True, about="Staff number or document number of the clerk.")


class VerificationIn(Schema):
    """How the identity was proved, and where the proof is kept."""

    method = choice(_METHODS, required=True, about="How the identity was proved.")
    reference = text(1, 128, about="Where the proof is kept, in the caller's own terms.")
    clerk = fields.Nested(ClerkIn, metadata={"description": "Who saw it, at a window; send it with the method clerk."})


class RegistrationIn(Schema):
    """A person who applies for a card."""

    name = text(1, 128, required=True, about="As on the document.")
    id_type = text(1, 3, required=True, about="Document type, CV02.01.101: 01 citizen id, 03 passport, …")
    id_number = text(1, 64, required=True, about="As on the document.")
    phone = text(5, 32, required=True, about="Mobile or landline; +… for other countries.")
    phone_proof = fields.UUID(metadata={"description": "A confirmed proof of this phone, from /v1/phone-proofs."})
    sex = choice(SEXES, about="GB/T 2261.1, code or English word. Taken from a citizen id if absent.")
    birth_date = day(about="Taken from a citizen id if absent.")
    nation = choice(_NATIONS, about="Ethnicity (民族), GB/T 3304, code or Chinese name.")
    address = text(1, 256, about="Home address.")
    employer = text(1, 128, about="Employer (工作单位).")
    verification = fields.Nested(VerificationIn, required=True)
    consents = fields.List(
        fields.Nested(ConsentIn),
        validate=validate.Length(max=10, error="length"),
        metadata={"description": "What the person agreed to, recorded with the registration."},
    )


class ReasonIn(Schema):
    """Why a card is suspended, reported lost or cancelled. Kept sealed."""

    reason = text(1, 200, required=True, about="In people's words.")


class IdentityIn(Schema):
    """A person with a document and what proves it."""

    name = text(1, 128, required=True, about="As on the document.")
    id_type = text(1, 3, required=True, about="Document type, CV02.01.101.")
    id_number = text(1, 64, required=True, about="As on the document.")
    verification = fields.Nested(VerificationIn, required=True)


class LinkIn(IdentityIn):
    """Another document of the holder, and what proves that it is theirs."""

    phone_proof = fields.UUID(
        metadata={
            "description": "Where the document has a card that other apps use: a confirmed proof of that card's phone. "
            "Required where one is registered and the deployment sends messages."
        }
    )


class ResumeIn(ReasonIn):
    """Why a card is resumed. One that was reported lost needs the proof of identity that registration needs."""

    proof = fields.Nested(IdentityIn, metadata={"description": "Required for a card that was reported lost."})


class ChangeIn(Schema):
    """What shall be different. Name, document type and number need `verification`, a fresh proof."""

    phone = text(5, 32, about="Mobile or landline; +… for other countries.")
    phone_proof = fields.UUID(metadata={"description": "A confirmed proof of the phone, from /v1/phone-proofs."})
    address = text(1, 256, about="Home address; null to forget it.", allow_none=True)
    employer = text(1, 128, about="Employer (工作单位); null to forget it.", allow_none=True)
    nation = choice(_NATIONS, about="Ethnicity (民族), GB/T 3304, code or Chinese name.")
    sex = choice(SEXES, about="GB/T 2261.1, code or English word.")
    static_codes = fields.Boolean(
        truthy={True}, falsy={False}, metadata={"description": "Whether printed and other static codes count."}
    )
    name = text(1, 128, about="Changes the index id and the card id.")
    id_type = text(1, 3, about="Changes the index id and the card id.")
    id_number = text(1, 64, about="Changes the index id and the card id.")
    replaced = choice(
        list(Replaced),
        load_default=str(Replaced.RENEWED),
        about="renewed: the old number still leads to this person; corrected: it was a mistake.",
    )
    verification = fields.Nested(VerificationIn)

    @validates_schema
    def _identity_is_proved(self, data: Mapping[str, Any], **_: Any) -> None:
        if any(name in data for name in ("name", "id_type", "id_number")) and "verification" not in data:
            raise ValidationError("Missing data for required field.", "verification")


class ResidentOut(Schema):
    """The holder, masked. Everything is null where access to the card is over."""

    name = fields.String(required=True, allow_none=True)
    id_type = fields.String(required=True, allow_none=True)
    id_number = fields.String(required=True, allow_none=True)
    phone = fields.String(required=True, allow_none=True)
    sex = fields.String(required=True, allow_none=True)
    age = fields.Integer(required=True, allow_none=True)


class ActingGuardianOut(Schema):
    """Who acts for the holder."""

    relation = fields.String(required=True, metadata={"description": "GB/T 4761: what the holder is to the guardian."})


class CardOut(Schema):
    """A card."""

    card_id = fields.UUID(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(list(Kind)))
    ehc_id = fields.String(
        required=True, allow_none=True, metadata={"description": "National card id (电子健康卡ID), 64 hex digits."}
    )
    index_id = fields.String(
        required=True, allow_none=True, metadata={"description": "Index id (主索引ID), 64 hex digits."}
    )
    status = fields.String(required=True, validate=validate.OneOf(list(CardStatus)))
    cause = fields.String(required=True, allow_none=True, metadata={"description": "Why it is cancelled."})
    level = fields.String(required=True, validate=validate.OneOf(list(Level)))
    verified = fields.Boolean(required=True, metadata={"description": "False: nobody proved who the holder is."})
    expires_at = fields.AwareDateTime(
        required=True, allow_none=True, metadata={"description": "When a temporary card is over by itself."}
    )
    visit_at = fields.AwareDateTime(
        required=True, allow_none=True, metadata={"description": "When the patient of a temporary card came."}
    )
    static_codes = fields.Boolean(required=True)
    acted_for = fields.Nested(ActingGuardianOut, required=True, allow_none=True)
    resident = fields.Nested(ResidentOut, required=True)
    created_at = fields.AwareDateTime(required=True)


def proof(wanted: Mapping[str, Any]) -> Proof:
    """A loaded `VerificationIn` as the service takes it."""
    clerk = wanted.get("clerk")
    named = f"{clerk['name']} {clerk['number']}" if clerk else None
    return Proof(Level(wanted["method"]), wanted.get("reference"), named)


def application(wanted: Mapping[str, Any]) -> Application:
    """A loaded `RegistrationIn` as the service takes it; a loaded `IdentityIn` too."""
    return Application(
        name=wanted["name"],
        id_type=wanted["id_type"],
        id_number=wanted["id_number"],
        phone=wanted.get("phone"),
        proof=proof(wanted["verification"]),
        sex=sex(wanted["sex"]) if "sex" in wanted else None,
        birth_date=wanted.get("birth_date"),
        ethnicity=ethnicity(wanted["nation"]) if "nation" in wanted else None,
        address=wanted.get("address"),
        employer=wanted.get("employer"),
        phone_proof=wanted.get("phone_proof"),
    )


def facts(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The plain facts in a loaded `ChangeIn`, as the service takes them."""
    found = {name: wanted[name] for name in ("phone", "phone_proof", "address", "employer") if name in wanted}
    if "nation" in wanted:
        found["ethnicity"] = ethnicity(wanted["nation"])
    if "sex" in wanted:
        found["sex"] = sex(wanted["sex"])
    if "static_codes" in wanted:
        found["static_allowed"] = wanted["static_codes"]
    return found


def card_out(account: Account, *, today: date, open_grant: bool = True) -> dict[str, Any]:
    """A card as apps see it: ids in full, the holder masked. Without an open grant, nothing about the holder."""
    card = account.card
    return {
        "card_id": str(card.id),
        "kind": card.kind,
        "ehc_id": account.ehc_id if open_grant else None,
        "index_id": account.index_id if open_grant else None,
        "status": card.status,
        "cause": card.cause,
        "level": card.level,
        "verified": card.kind != Kind.TEMPORARY,
        "expires_at": instant(card.expires_at) if card.expires_at else None,
        "visit_at": instant(card.visit_at) if card.visit_at and open_grant else None,
        "static_codes": card.static_allowed,
        "acted_for": {"relation": card.guardian_relation} if open_grant and _is_acted_for(card, today) else None,
        "resident": _holder(account, today) if open_grant else dict.fromkeys(ResidentOut().fields),
        "created_at": instant(card.created_at),
    }


def _is_acted_for(card: CardRow, today: date) -> bool:
    """Whether somebody acts for the holder; the end, an 18th birthday, is the start of a day."""
    ends = card.guardian_until
    return card.guardian_id is not None and (ends is None or local_day(ends) > today)


def _holder(account: Account, today: date) -> dict[str, Any]:
    person = account.person
    return {
        "name": mask_name(person.name),
        "id_type": person.document.type if person.document else None,
        "id_number": mask_number(person.document.number) if person.document else None,
        "phone": mask_phone(person.phone) if person.phone else None,
        "sex": person.sex,
        "age": age_on(person.birth_date, today) if person.birth_date else None,
    }
