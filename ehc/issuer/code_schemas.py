"""The shapes of requests and answers about codes, prints and temporary cards."""

from base64 import b64encode
from typing import Any

from marshmallow import Schema, fields

from ehc.codes.images import DEFAULT_SIZE, MAX_SIZE, MIN_SIZE, Picture
from ehc.core.tables import CHANNELS
from ehc.issuer.codes import Code
from ehc.issuer.printing import Layout
from ehc.issuer.schemas import SEXES, CardOut
from ehc.web.answers import instant
from ehc.web.fields import choice, text, token, whole

_CHANNELS = [name for way in CHANNELS for name in (way.word, *way.codes)]


class CodeIn(Schema):
    """Which code is wanted."""

    format = choice(
        ["signed", "national"],
        load_default="signed",
        about="signed: the format of docs/code-format.md. national: the national text, checked online only.",
    )
    kind = choice(
        ["dynamic", "static"],
        load_default="dynamic",
        about="dynamic: for a screen, lives a minute or so. static: for paper, if the holder allowed it.",
    )
    channel = choice(
        _CHANNELS, about="Where it will be shown (用卡渠道), word or code. Kept with a national dynamic code."
    )
    device = token(64, about="Your own id of the device that shows it. Kept, hashed, with a national dynamic code.")
    image = choice(["svg", "png"], about="Draw the code. Phones draw from the text and leave this out.")
    size = whole(
        MIN_SIZE, MAX_SIZE, load_default=DEFAULT_SIZE, about="Edge of the picture in pixels, quiet zone included."
    )


class ImageOut(Schema):
    """A drawn code."""

    media_type = fields.String(required=True)
    data = fields.String(required=True, metadata={"description": "Base64."})


class CodeOut(Schema):
    """A code, and when to fetch the next one. A static one is not fetched again; the national one has no end of its own."""

    code = fields.String(required=True)
    format = fields.String(required=True)
    kind = fields.String(required=True)
    issued_at = fields.AwareDateTime(required=True)
    refresh_at = fields.AwareDateTime(
        required=True, allow_none=True, metadata={"description": "Fetch the next code now."}
    )
    expires_at = fields.AwareDateTime(required=True, allow_none=True)
    image = fields.Nested(ImageOut)


class PrintQuery(Schema):
    """How the card is laid out on paper."""

    layout = choice(list(Layout), load_default=str(Layout.A4), about="a4: a sheet; card: ID-1; sticker: code and name.")


class TemporaryIn(Schema):
    """A patient without a card, as the window types it."""

    name = text(1, 128, required=True, about="As told, or `unknown`.")
    sex = choice(SEXES, required=True, about="GB/T 2261.1, code or English word.")
    age = whole(0, 150, about="Whole years, as told or guessed.")
    visit_at = fields.AwareDateTime(
        required=True, metadata={"description": "When the patient came; at most 7 days ago."}
    )


class TemporaryOut(CardOut):
    """A temporary card. Its code is told here only."""

    code = fields.String(required=True, metadata={"description": "20 digits, for the wristband."})


class JoinIn(Schema):
    """Which formal card goes on with a temporary card's history."""

    card_id = fields.UUID(required=True)
    reason = text(1, 200, required=True, about="How the patient was recognised. Kept sealed.")


def code_out(code: Code, picture: Picture | None = None) -> dict[str, Any]:
    """A code as it leaves."""
    out: dict[str, Any] = {
        "code": code.text,
        "format": code.format,
        "kind": code.kind,
        "issued_at": instant(code.issued_at),
        "refresh_at": instant(code.refresh_at) if code.refresh_at else None,
        "expires_at": instant(code.expires_at) if code.expires_at else None,
    }
    if picture is not None:
        out["image"] = {"media_type": picture.media_type, "data": b64encode(picture.data).decode()}
    return out
