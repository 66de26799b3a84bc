"""The shapes of requests and answers about bank accounts."""

from pathlib import Path
from typing import Any

from marshmallow import Schema, fields, validate

from ehc.binding.bank_numbers import bank_name
from ehc.cards.bank_models import STATES, BankAccountRow
from ehc.web.answers import instant
from ehc.web.fields import text


class AccountHolderIn(Schema):
    """Whose account it is: the card's holder, or for a child the guardian who acts for it."""

    name = text(1, 128, required=True, about="As at the bank.")
    id_type = text(1, 3, required=True, about="Document type, CV02.01.101.")
    id_number = text(1, 64, required=True, about="As on the document.")


class BankAccountIn(Schema):
    """The four factors (四要素). The number goes to the bank and comes to rest nowhere."""

    account_number = text(12, 32, required=True, about="Digits; spaces and hyphens are taken out.")
    holder = fields.Nested(AccountHolderIn, required=True)
    phone = fields.String(
        required=True,
        validate=validate.Regexp(r"1[3-9][0-9]{9}\Z", error="characters"),
        metadata={"description": "The mobile number that the bank has on record."},
    )


class BankCodeIn(Schema):
    """The one-time code that the bank sent."""

    code = fields.String(
        required=True,
        validate=validate.Regexp(r"[0-9]{4,8}\Z", error="characters"),
        metadata={"description": "4 to 8 digits, as the bank sent them."},
    )


class BankAccountOut(Schema):
    """A bank account on a card."""

    account_id = fields.UUID(required=True)
    state = fields.String(
        required=True,
        validate=validate.OneOf(STATES),
        metadata={
            "description": "`starting`, `confirming`, `ending`: the bank's word is awaited, and a job settles it;"
            " `started`: waits for the one-time code until `expires_at`."
        },
    )
    bank = fields.String(required=True)
    bank_name = fields.String(required=True, allow_none=True)
    kind = fields.String(required=True, metadata={"description": "debit or credit."})
    last4 = fields.String(required=True, allow_none=True)
    payer = fields.String(required=True, validate=validate.OneOf(["self", "guardian"]))
    default = fields.Boolean(required=True)
    single_limit = fields.Integer(required=True, allow_none=True, metadata={"description": "Fen (分) a payment."})
    day_limit = fields.Integer(required=True, allow_none=True, metadata={"description": "Fen (分) a day."})
    expires_at = fields.AwareDateTime(metadata={"description": "While `started`."})
    failed_for = fields.String(metadata={"description": "Why, once `failed`."})
    bound_at = fields.AwareDateTime(required=True, allow_none=True)


class BankAccountsOut(Schema):
    """The accounts of a card that are bound or about to be."""

    items = fields.List(fields.Nested(BankAccountOut), required=True)


def account_out(row: BankAccountRow, table: Path | None) -> dict[str, Any]:
    """An account as it leaves; `table` names the banks. Nothing in it leads to the account but its last four digits."""
    out: dict[str, Any] = {
        "account_id": str(row.id),
        "state": row.state,
        "bank": row.bank,
        "bank_name": bank_name(row.bank, table=table),
        "kind": row.kind,
        "last4": row.last4,
        "payer": row.payer,
        "default": row.is_default,
        "single_limit": row.single_limit,
        "day_limit": row.day_limit,
        "bound_at": instant(row.bound_at) if row.bound_at else None,
    }
    if row.state == "started":
        out["expires_at"] = instant(row.expires_at)
    if row.failed_for is not None:
        out["failed_for"] = row.failed_for
    return out
