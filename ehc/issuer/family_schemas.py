"""The shapes of requests and answers about families."""

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from ehc.cards.states import CardStatus, Level
from ehc.core.masking import mask_name
from ehc.core.tables import code_table, ethnicities
from ehc.issuer.family_ties import Family, Relative
from ehc.issuer.schemas import SEXES, CardOut, IdentityIn, VerificationIn
from ehc.residents.models import FamilyLinkRow
from ehc.web.answers import instant
from ehc.web.fields import choice, day, text, whole

_RELATIONS = [entry for entry in code_table("family_relation").values() if entry.code != "0"]  # 0 is oneself
_RELATION_NAMES = [name for entry in _RELATIONS for name in (entry.code, entry.name_zh, entry.name_en)]
_NATIONS = [name for entry in ethnicities().values() for name in (entry.code, entry.name_zh)]
# Nobody outside can be asked about a relation, and one's own word does not prove it.
_RELATION_METHODS = [Level.DOCUMENT_SEEN, Level.CLERK]


class RelationProofIn(VerificationIn):
    """How the guardian proved the relation: household register, birth certificate, a court's decision, …"""

    method = choice(_RELATION_METHODS, required=True, about="How the relation was proved.")

    @validates_schema
    def _clerk_is_named(self, data: Mapping[str, Any], **_: Any) -> None:
        if data.get("method") == Level.CLERK and "clerk" not in data:
            raise ValidationError("Missing data for required field.", "clerk")


class MemberIn(IdentityIn):
    """A member of the family, as for registration. A phone is not needed."""

    phone = text(5, 32, about="Mobile or landline; +… for other countries.")
    sex = choice(SEXES, about="GB/T 2261.1, code or English word. Taken from a citizen id if absent.")
    birth_date = day(about="Taken from a citizen id if absent; required with any other document.")
    nation = choice(_NATIONS, about="Ethnicity (民族), GB/T 3304, code or Chinese name.")
    address = text(1, 256, about="Home address.")
    employer = text(1, 128, about="Employer (工作单位).")


class MotherIn(Schema):
    """The mother, as the birth record names her."""

    name = text(1, 128, required=True, about="As on the document.")
    id_type = text(1, 3, required=True, about="Document type, CV02.01.101.")
    id_number = text(1, 64, required=True, about="As on the document.")


class NewbornIn(Schema):
    """A child without any document, up to 90 days old. The mother is the guardian, or in one family with the guardian."""

    name = text(1, 128, required=True, about="As in the birth record.")
    sex = choice(SEXES, required=True, about="GB/T 2261.1, code or English word.")
    birth_date = day(required=True, about="As in the birth record.")
    mother = fields.Nested(MotherIn, required=True)
    birth_order = whole(1, 9, about="Which child of this birth: 1 for the first.", required=True)
    births = whole(1, 9, about="How many children were born: 1 for a single birth.", required=True)


class FamilyIn(Schema):
    """For whom the guardian acts: `member`, or `newborn`."""

    relation = choice(
        _RELATION_NAMES, required=True, about="What the member is to the guardian: GB/T 4761, code or name."
    )
    verification = fields.Nested(RelationProofIn, required=True)
    member = fields.Nested(MemberIn)
    newborn = fields.Nested(NewbornIn)
    phone_proof = fields.UUID(
        metadata={
            "description": "A confirmed proof of the member's phone, from /v1/phone-proofs. An adult who has the card in an "
            "app of their own agrees by it."
        }
    )

    @validates_schema
    def _one_of_two(self, data: Mapping[str, Any], **_: Any) -> None:
        if "member" not in data and "newborn" not in data:
            raise ValidationError("Missing data for required field.", "member")
        if "member" in data and "newborn" in data:
            raise ValidationError("Unknown field.", "newborn")


class EndIn(Schema):
    """Why a link ends. Kept sealed."""

    reason = text(1, 200, required=True, about="In people's words.")


class LinkOut(Schema):
    """Somebody acts for a member."""

    link_id = fields.UUID(required=True)
    relation = fields.String(required=True, metadata={"description": "GB/T 4761: what the member is to the guardian."})
    until = fields.AwareDateTime(
        required=True, allow_none=True, metadata={"description": "When a child is 18; null for adults."}
    )


class AddedOut(LinkOut):
    """The link, and the member's card."""

    card = fields.Nested(CardOut, required=True)


class MemberOut(LinkOut):
    """A member."""

    card_id = fields.UUID(required=True)
    name = fields.String(required=True, metadata={"description": "Masked."})
    status = fields.String(required=True, validate=validate.OneOf(list(CardStatus)))


class GuardianOut(LinkOut):
    """Who acts for the holder."""

    name = fields.String(required=True, metadata={"description": "Masked."})


class FamilyOut(Schema):
    """The family of a card's holder."""

    items = fields.List(fields.Nested(MemberOut), required=True, metadata={"description": "For whom the holder acts."})
    acted_for_by = fields.List(
        fields.Nested(GuardianOut), required=True, metadata={"description": "Who acts for the holder."}
    )


class EndedOut(Schema):
    """A link that is over."""

    link_id = fields.UUID(required=True)
    ended_at = fields.AwareDateTime(required=True)


def relation_code(name: str) -> str:
    """The GB/T 4761 code of a relation that `FamilyIn` took, by code or name."""
    return next(entry.code for entry in _RELATIONS if name in (entry.code, entry.name_zh, entry.name_en))


def link_out(link: FamilyLinkRow) -> dict[str, Any]:
    """A link as apps see it."""
    return {
        "link_id": str(link.id),
        "relation": link.relation,
        "until": instant(link.until) if link.until else None,
    }


def family_out(family: Family) -> dict[str, Any]:
    """A family as apps see it: names masked, and of guardians no card."""

    def member(relative: Relative) -> dict[str, Any]:
        return {**guardian(relative), "card_id": str(relative.card.id), "status": relative.card.status}

    def guardian(relative: Relative) -> dict[str, Any]:
        return {**link_out(relative.link), "name": mask_name(relative.name)}

    return {
        "items": [member(relative) for relative in family.members],
        "acted_for_by": [guardian(relative) for relative in family.guardians],
    }
