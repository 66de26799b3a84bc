"""The shapes of requests and answers about plastic cards."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from marshmallow import Schema, fields, validate

from ehc.binding.plastic import HolderSays
from ehc.binding.plastic_moves import state_of
from ehc.cards.bindings import number_place
from ehc.cards.plastic_models import PlasticCardRow
from ehc.cards.plastic_states import BOUND, PlasticState
from ehc.core.masking import mask_number
from ehc.core.plastic_kinds import plastic_kinds
from ehc.crypto.sealed import Sealer
from ehc.web.answers import instant
from ehc.web.fields import choice, text

_CHECK = "The check of this card here, at most 30 minutes ago."
_HOLDER = "As on the document. Only for a wristband on a temporary card it is left out."


def _number() -> fields.String:
    return text(1, 64, required=True, about="As the reader returned it; the form is that of the kind.")


class PlasticHolderIn(Schema):
    """Who stands at the terminal, by the document in the clerk's hand."""

    name = text(1, 128, required=True, about="As on the document.")
    id_type = text(1, 3, required=True, about="Document type, CV02.01.101.")
    id_number = text(1, 64, required=True, about="As on the document.")


class PlasticCardIn(Schema):
    """The plastic card in the reader of a terminal that just checked the holder's card."""

    kind = choice(list(plastic_kinds()), required=True, about="Kind of plastic card.")
    card_number = _number()
    holder = fields.Nested(PlasticHolderIn, metadata={"description": _HOLDER})
    verification_id = fields.UUID(required=True, metadata={"description": _CHECK})


class ReplacementIn(Schema):
    """The plastic card of the same kind that stands in the place of another from now on."""

    card_number = _number()
    holder = fields.Nested(PlasticHolderIn, metadata={"description": _HOLDER})
    verification_id = fields.UUID(required=True, metadata={"description": _CHECK})


class LossIn(Schema):
    """A report of loss: by an app for some days, at a terminal, with a check, until the card is found."""

    reason = text(1, 200, required=True, about="In the holder's words. Kept sealed.")
    verification_id = fields.UUID(
        metadata={"description": f"{_CHECK} For terminals, which must send it; not for apps."}
    )


class FoundIn(Schema):
    """The proof that it is the holder who found a lost plastic card."""

    verification_id = fields.UUID(required=True, metadata={"description": _CHECK})


class PlasticQuery(Schema):
    """With a check a terminal sees more than its institution's own; an app sees what is over too where it asks."""

    verification_id = fields.UUID(
        load_default=None,
        metadata={
            "description": "For terminals: with a check of this card here, also kinds numbered for all or by regions."
        },
    )
    past = fields.Boolean(
        load_default=False,
        truthy={"true"},
        falsy={"false"},
        metadata={"description": "For apps: also those that are replaced, cancelled or unbound."},
    )


class PlasticCardOut(Schema):
    """A plastic card on a card. Its number is masked for everybody."""

    binding_id = fields.UUID(required=True)
    kind = fields.String(required=True)
    card_number = fields.String(required=True, metadata={"description": "Masked."})
    institution = fields.String(
        required=True, allow_none=True, metadata={"description": "Whose number it is, where every one has its own."}
    )
    state = fields.String(required=True, validate=validate.OneOf(list(PlasticState)))
    until = fields.AwareDateTime(metadata={"description": "When a temporary loss ends by itself."})
    bound_at = fields.AwareDateTime(required=True)
    ended_at = fields.AwareDateTime(metadata={"description": "When it was replaced, cancelled or unbound."})
    replaced_by = fields.UUID(metadata={"description": "The binding that stands in the place of a replaced one."})


class PlasticCardsOut(Schema):
    """The plastic cards of a card that the caller may see."""

    items = fields.List(fields.Nested(PlasticCardOut), required=True)


def holder_of(wanted: Mapping[str, Any]) -> HolderSays | None:
    """The holder in a loaded request."""
    return HolderSays(**wanted["holder"]) if "holder" in wanted else None


def plastic_out(row: PlasticCardRow, names: Mapping[UUID, str], *, sealer: Sealer, now: datetime) -> dict[str, Any]:
    """A plastic card as it leaves."""
    state = state_of(row, now)
    out: dict[str, Any] = {
        "binding_id": str(row.id),
        "kind": row.kind,
        "card_number": mask_number(sealer.unseal(row.number, number_place("plastic_card", row.id))),
        "institution": names.get(row.institution_id) if row.institution_id else None,
        "state": state,
        "bound_at": instant(row.bound_at),
    }
    if state is PlasticState.LOSS_TEMPORARY and row.until is not None:
        out["until"] = instant(row.until)
    if state not in BOUND:
        out["ended_at"] = instant(row.state_changed_at)
    if row.replaced_by is not None:
        out["replaced_by"] = str(row.replaced_by)
    return out
