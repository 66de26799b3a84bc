"""The shapes of the issuer's requests and answers."""

from base64 import b64encode
from collections.abc import Mapping
from datetime import date
from typing import Any

from marshmallow import Schema, fields, validate

from ehc.cards.states import CardStatus, Level
from ehc.core.masking import age_on, mask_name, mask_number, mask_phone
from ehc.core.tables import ethnicities, ethnicity, sex, sexes
from ehc.issuer.accounts import Account, Application
from ehc.issuer.codes import Code
from ehc.issuer.images import DEFAULT_SIZE, MAX_SIZE, MIN_SIZE, Picture
from ehc.web.answers import instant
from ehc.web.fields import choice, day, text, whole

_SEXES = [name for entry in sexes().values() for name in (entry.code, entry.name_en)]
_NATIONS = [name for entry in ethnicities().values() for name in (entry.code, entry.name_zh)]


class VerificationIn(Schema):
    """How the identity was proved, and where the proof is kept."""

    method = choice(list(Level), required=True, about="How the identity was proved.")
    reference = text(1, 128, about="Where the proof is kept, in the caller's own terms.")


class RegistrationIn(Schema):
    """A person who applies for a card."""

    name = text(1, 128, required=True, about="As on the document.")
    id_type = text(1, 3, required=True, about="Document type, CV02.01.101: 01 citizen id, 03 passport, …")
    id_number = text(1, 64, required=True, about="As on the document.")
    phone = text(5, 32, required=True, about="Mobile or landline; +… for other countries.")
    sex = choice(_SEXES, about="GB/T 2261.1, code or English word. Taken from a citizen id if absent.")
    birth_date = day(about="Taken from a citizen id if absent.")
    nation = choice(_NATIONS, about="Ethnicity (民族), GB/T 3304, code or Chinese name.")
    address = text(1, 256, about="Home address.")
    verification = fields.Nested(VerificationIn, required=True)


class ReasonIn(Schema):
    """Why a card is suspended, resumed or cancelled. Kept sealed."""

    reason = text(1, 200, required=True, about="In people's words.")


class CodeIn(Schema):
    """Which code is wanted."""

    format = choice(["signed"], load_default="signed", about="signed: the format of docs/code-format.md.")
    kind = choice(["dynamic"], load_default="dynamic", about="dynamic: lives 60 s, good for one acceptance.")
    image = choice(["svg", "png"], about="Draw the code. Phones draw from the text and leave this out.")
    size = whole(
        MIN_SIZE, MAX_SIZE, load_default=DEFAULT_SIZE, about="Edge of the picture in pixels, quiet zone included."
    )


class ResidentOut(Schema):
    """The holder, masked."""

    name = fields.String(required=True)
    id_type = fields.String(required=True)
    id_number = fields.String(required=True)
    phone = fields.String(required=True)
    sex = fields.String(required=True, allow_none=True)
    age = fields.Integer(required=True, allow_none=True)


class CardOut(Schema):
    """A card."""

    card_id = fields.UUID(required=True)
    ehc_id = fields.String(required=True, metadata={"description": "National card id (电子健康卡ID), 64 hex digits."})
    index_id = fields.String(required=True, metadata={"description": "Index id (主索引ID), 64 hex digits."})
    status = fields.String(required=True, validate=validate.OneOf(list(CardStatus)))
    level = fields.String(required=True, validate=validate.OneOf(list(Level)))
    resident = fields.Nested(ResidentOut, required=True)
    created_at = fields.AwareDateTime(required=True)


class ImageOut(Schema):
    """A drawn code."""

    media_type = fields.String(required=True)
    data = fields.String(required=True, metadata={"description": "Base64."})


class CodeOut(Schema):
    """A code, and when to fetch the next one."""

    code = fields.String(required=True)
    format = fields.String(required=True)
    kind = fields.String(required=True)
    issued_at = fields.AwareDateTime(required=True)
    refresh_at = fields.AwareDateTime(required=True, metadata={"description": "Fetch the next code now."})
    expires_at = fields.AwareDateTime(required=True)
    image = fields.Nested(ImageOut)


def application(wanted: Mapping[str, Any]) -> Application:
    """A loaded `RegistrationIn` as the service takes it."""
    return Application(
        name=wanted["name"],
        id_type=wanted["id_type"],
        id_number=wanted["id_number"],
        phone=wanted["phone"],
        level=Level(wanted["verification"]["method"]),
        sex=sex(wanted["sex"]) if "sex" in wanted else None,
        birth_date=wanted.get("birth_date"),
        ethnicity=ethnicity(wanted["nation"]) if "nation" in wanted else None,
        address=wanted.get("address"),
        evidence=wanted["verification"].get("reference"),
    )


def card_out(account: Account, *, today: date) -> dict[str, Any]:
    """A card as apps see it: ids in full, the holder masked."""
    card, person = account.card, account.person
    return {
        "card_id": str(card.id),
        "ehc_id": account.ehc_id,
        "index_id": account.index_id,
        "status": card.status,
        "level": card.level,
        "resident": {
            "name": mask_name(person.name),
            "id_type": person.document.type,
            "id_number": mask_number(person.document.number),
            "phone": mask_phone(person.phone),
            "sex": person.sex,
            "age": age_on(person.birth_date, today) if person.birth_date else None,
        },
        "created_at": instant(card.created_at),
    }


def code_out(code: Code, picture: Picture | None) -> dict[str, Any]:
    """A code as it leaves."""
    out: dict[str, Any] = {
        "code": code.text,
        "format": "signed",
        "kind": "dynamic",
        "issued_at": instant(code.issued_at),
        "refresh_at": instant(code.refresh_at),
        "expires_at": instant(code.expires_at),
    }
    if picture is not None:
        out["image"] = {"media_type": picture.media_type, "data": b64encode(picture.data).decode()}
    return out
