"""`/v1/phone-proofs`: one-time codes for phones."""

from uuid import UUID

from flask import Blueprint, Response
from marshmallow import Schema, fields, validate

from ehc.callers import Reach, Scope
from ehc.errors import EhcError
from ehc.issuer import phone_proofs
from ehc.issuer.deps import IssuerDeps
from ehc.outside import sms_gateway
from ehc.sessions import tries
from ehc.web import parsing
from ehc.web.answers import Answer, instant
from ehc.web.auth import bearer, caller
from ehc.web.fields import text
from ehc.web.openapi import operation

STATUSES: dict[type[EhcError], int] = {
    phone_proofs.TooManySms: 429,
    phone_proofs.WrongCode: 409,
    phone_proofs.CodeOver: 409,
    tries.TooManyWrong: 429,
    phone_proofs.SmsNotConfigured: 409,
    sms_gateway.SmsRefused: 409,
    sms_gateway.SmsAway: 503,
}


class PhoneIn(Schema):
    """Which phone shall be proved."""

    phone = text(5, 32, required=True, about="A mobile number.")


class PhoneProofOut(Schema):
    """A code is under way."""

    proof_id = fields.UUID(required=True)
    expires_at = fields.AwareDateTime(required=True)


class OneTimeCodeIn(Schema):
    """The code that arrived."""

    code = fields.String(
        required=True,
        validate=validate.Regexp(r"[0-9]{6}\Z", error="characters"),
        metadata={"description": "6 digits."},
    )


class ProvedOut(Schema):
    """The phone is proved; give `proof_id` as `phone_proof` within 30 minutes."""

    proof_id = fields.UUID(required=True)
    proved_at = fields.AwareDateTime(required=True)


_PHONE, _ONE_TIME_CODE = PhoneIn(), OneTimeCodeIn()


def phones_blueprint(deps: IssuerDeps) -> Blueprint:
    """One-time codes, for apps with the scope `cards`."""
    bp = Blueprint("phones", __name__, url_prefix="/v1/phone-proofs")
    bp.before_request(bearer(deps.authenticate, Scope.CARDS))

    @bp.post("")
    @operation(
        "Send a one-time code to a phone",
        body=PhoneIn,
        answers={201: PhoneProofOut},
        scope=Scope.CARDS,
        resident=Reach.SELF,
        problems=(409, 422, 429),
    )
    def post_phone_proof() -> Response:
        """6 digits, 5 minutes, 5 tries. For each number one a minute, 5 an hour, 10 a day, and 20 tries a day, whoever asks."""
        sent = phone_proofs.send(
            parsing.body(_PHONE)["phone"],
            caller=caller(),
            work=deps.work,
            secrets=deps.registry().secrets,
            gateway=deps.sms,
            now=deps.clock.now(),
        )
        return Answer({"proof_id": str(sent.id), "expires_at": instant(sent.expires_at)}, 201).response()

    @bp.post("/<uuid:proof_id>/confirm")
    @operation(
        "Try the code that arrived",
        body=OneTimeCodeIn,
        answers={200: ProvedOut},
        scope=Scope.CARDS,
        resident=Reach.SELF,
        problems=(404, 409, 422, 429),
    )
    def post_confirm(proof_id: UUID) -> Response:
        """An id that is not known, or another app's, is a code that can no longer be tried (409); 404 is for what is no id."""
        typed, now = parsing.body(_ONE_TIME_CODE)["code"], deps.clock.now()
        with deps.work() as session:  # committed also when the code is wrong: the try counts
            secrets = deps.registry().secrets
            right = phone_proofs.confirm(session, proof_id, typed, caller=caller(), secrets=secrets, now=now)
            left = 0 if right else phone_proofs.tries_left(session, proof_id)
        if not right:
            raise phone_proofs.wrong(left)
        return Answer({"proof_id": str(proof_id), "proved_at": instant(now)}).response()

    return bp
