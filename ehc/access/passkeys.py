"""WebAuthn: authenticators as a second factor. Challenges are in the database and are used once. Nothing here commits."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import token_bytes
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.options_to_json_dict import options_to_json_dict
from webauthn.helpers.structs import (
    AttestationFormat,
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    UserVerificationRequirement,
)

from ehc.access.staff_login_models import StaffChallengeRow, StaffPasskeyRow
from ehc.access.staff_models import StaffRow
from ehc.core.ids import uuid7
from ehc.errors import EhcError, Text

LIFE = timedelta(minutes=5)
"""How long a challenge may wait for its answer."""
MOST = 5
"""Authenticators of one person, and challenges of one person and purpose that wait."""
LOG_IN, PROVE, REGISTER = "log-in", "prove", "register"

_ALGORITHMS = [
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]


class PasskeyRefused(EhcError):
    """The authenticator's answer cannot be taken: wrong site, wrong or used challenge, or not a valid signature."""

    code = "passkey-refused"


class TooManyPasskeys(EhcError):
    """The person has as many authenticators as one may have."""

    code = "too-many-passkeys"


@dataclass(frozen=True)
class Site:
    """For which site authenticators sign: the relying party's id (a domain) and the origin of its pages."""

    rp_id: str
    origin: str
    name: str


@dataclass(frozen=True)
class Answered:
    """What an authenticator answered, to which challenge."""

    challenge_id: UUID
    credential: Mapping[str, Any]


def ask(session: Session, person: StaffRow, purpose: str, *, site: Site, now: datetime) -> dict[str, Any] | None:
    """A challenge for the person's authenticators, as browsers take it, with its id; None for somebody who has none."""
    held = session.scalars(select(StaffPasskeyRow.credential_id).where(StaffPasskeyRow.staff_id == person.id)).all()
    if not held:
        return None
    row = _challenge(session, person, purpose, now)
    options = generate_authentication_options(
        rp_id=site.rp_id,
        challenge=row.challenge,
        timeout=int(LIFE.total_seconds() * 1000),
        allow_credentials=[PublicKeyCredentialDescriptor(id=credential) for credential in held],
        user_verification=UserVerificationRequirement.PREFERRED,
    )
    return {"challenge_id": str(row.id), "options": options_to_json_dict(options)}


def is_right(
    session: Session, person: StaffRow, answered: Answered, purpose: str, *, site: Site, now: datetime
) -> bool:
    """Whether one of the person's authenticators signed this challenge. The challenge is used either way: commit."""
    challenge = _use(session, person, answered.challenge_id, purpose, now)
    passkey = _held(session, person, answered.credential)
    if challenge is None or passkey is None or not _same_person(person, answered.credential):
        return False
    try:
        verified = verify_authentication_response(
            credential=dict(answered.credential),
            expected_challenge=challenge,
            expected_rp_id=site.rp_id,
            expected_origin=site.origin,
            credential_public_key=passkey.public_key,
            credential_current_sign_count=passkey.sign_count,
        )
    except Exception:  # whatever a stranger's bytes do to CBOR, ASN.1 and curve arithmetic, they are no proof
        return False
    passkey.sign_count = verified.new_sign_count
    session.flush()
    return True


def ask_to_register(session: Session, person: StaffRow, *, site: Site, now: datetime) -> dict[str, Any]:
    """A challenge for an authenticator that is to be added. Raises `TooManyPasskeys`."""
    held = session.scalars(select(StaffPasskeyRow.credential_id).where(StaffPasskeyRow.staff_id == person.id)).all()
    if len(held) >= MOST:
        raise TooManyPasskeys(
            Text(
                "认证器已达上限，请先删除一个。", "There are as many authenticators as one may have. Remove one first."
            )
        )
    row = _challenge(session, person, REGISTER, now)
    options = generate_registration_options(
        rp_id=site.rp_id,
        rp_name=site.name,
        user_id=person.id.bytes,
        user_name=person.login,
        user_display_name=person.login,
        challenge=row.challenge,
        timeout=int(LIFE.total_seconds() * 1000),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=credential) for credential in held],
        authenticator_selection=AuthenticatorSelectionCriteria(user_verification=UserVerificationRequirement.PREFERRED),
        supported_pub_key_algs=_ALGORITHMS,
    )
    return {"challenge_id": str(row.id), "options": options_to_json_dict(options)}


def register(
    session: Session, person: StaffRow, answered: Answered, label: str, *, site: Site, now: datetime
) -> StaffPasskeyRow | None:
    """Add the authenticator that answered; None where its answer is no good. The challenge is used either way: commit.

    Only attestation `none` is taken, which is what was asked for: no certificates of strangers are looked at.
    """
    challenge = _use(session, person, answered.challenge_id, REGISTER, now)
    if challenge is None:
        return None
    try:
        made = verify_registration_response(
            credential=dict(answered.credential),
            expected_challenge=challenge,
            expected_rp_id=site.rp_id,
            expected_origin=site.origin,
            supported_pub_key_algs=_ALGORITHMS,
        )
    except Exception:  # as above
        return None
    taken = session.scalar(select(StaffPasskeyRow.id).where(StaffPasskeyRow.credential_id == made.credential_id))
    many = session.scalar(select(func.count()).where(StaffPasskeyRow.staff_id == person.id)) or 0
    if made.fmt != AttestationFormat.NONE or taken is not None or many >= MOST:
        return None
    row = StaffPasskeyRow(
        id=uuid7(now),
        staff_id=person.id,
        credential_id=made.credential_id,
        public_key=made.credential_public_key,
        sign_count=made.sign_count,
        label=label,
        created_at=now,
    )
    session.add(row)
    session.flush()
    return row


def refused() -> PasskeyRefused:
    """The one answer for every authenticator that is not added."""
    return PasskeyRefused(
        Text(
            "认证器的应答无效或已过期，请重新开始。",
            "The authenticator's answer is not valid, or too late. Begin again.",
        )
    )


def _challenge(session: Session, person: StaffRow, purpose: str, now: datetime) -> StaffChallengeRow:
    """A new challenge; the oldest of this person and purpose make room for it."""
    mine = StaffChallengeRow.staff_id == person.id, StaffChallengeRow.purpose == purpose
    newest = select(StaffChallengeRow.id).where(*mine).order_by(StaffChallengeRow.id.desc())
    kept = newest.limit(MOST - 1).scalar_subquery()
    session.execute(delete(StaffChallengeRow).where(*mine, StaffChallengeRow.id.not_in(kept)))
    row = StaffChallengeRow(
        id=uuid7(now), staff_id=person.id, purpose=purpose, challenge=token_bytes(32), expires_at=now + LIFE
    )
    session.add(row)
    session.flush()
    return row


def _use(session: Session, person: StaffRow, challenge_id: UUID, purpose: str, now: datetime) -> bytes | None:
    """The bytes of a challenge that this person was given for this, which is gone now."""
    mine = StaffChallengeRow.id == challenge_id, StaffChallengeRow.staff_id == person.id
    gone = delete(StaffChallengeRow).where(*mine, StaffChallengeRow.purpose == purpose)
    found = session.execute(gone.returning(StaffChallengeRow.challenge, StaffChallengeRow.expires_at)).one_or_none()
    return found.challenge if found is not None and now < found.expires_at else None


def _held(session: Session, person: StaffRow, credential: Mapping[str, Any]) -> StaffPasskeyRow | None:
    """The person's own authenticator that the answer names, held until the transaction ends."""
    try:
        credential_id = base64url_to_bytes(credential["rawId"])
    except (ValueError, KeyError):
        return None
    mine = StaffPasskeyRow.staff_id == person.id, StaffPasskeyRow.credential_id == credential_id
    return session.scalars(select(StaffPasskeyRow).where(*mine).with_for_update()).one_or_none()


def _same_person(person: StaffRow, credential: Mapping[str, Any]) -> bool:
    """Whether the person that the authenticator names, if it names one, is this one (WebAuthn section 7.2, step 6)."""
    handle = credential["response"].get("userHandle")
    try:
        return not handle or base64url_to_bytes(handle) == person.id.bytes
    except ValueError:
        return False
