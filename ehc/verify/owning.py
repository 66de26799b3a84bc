"""Whose a code is, without a check: nothing is spent and nothing recorded. For acts that ask to be shown a code besides."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from ehc.codes.national import hex_upper
from ehc.codes.national_text import ForeignCode, read_national
from ehc.codes.signed import Malformed, UnknownFormat
from ehc.codes.temporary_text import read_temporary
from ehc.codes.text import TextKind, kind_of
from ehc.verify.service import Refused, Tools, check_code


class Owner(NamedTuple):
    """The card that a genuine code leads to: its serial and its status now."""

    serial: int
    status: str


# A national text proves nothing by itself: a dynamic one must be one that was issued, to that card, and not over.
_NATIONAL = text("""
    SELECT card.serial, card.status FROM card
    WHERE card.ehc_id_index = :ehc_id_index AND card.sandbox = :sandbox AND (
        CAST(:text_index AS bytea) IS NULL OR EXISTS (
            SELECT FROM national_code AS code
            WHERE code.text_index = :text_index AND code.card_serial = card.serial AND code.expires_at >= :at
              AND (card.codes_since IS NULL OR code.issued_at > card.codes_since OR card.status = 'cancelled')))
""")
_BY_SERIAL = text("""
    SELECT card.serial, card.status FROM card
    WHERE card.serial = :serial AND card.sandbox = :sandbox AND (
        CAST(:cti AS bytea) IS NULL OR EXISTS (
            SELECT FROM printed_code AS print WHERE print.cti = :cti AND print.card_serial = card.serial))
""")
_TEMPORARY = text("""
    SELECT card.serial, card.status FROM card WHERE card.temporary_index = :index AND card.sandbox = :sandbox
""")


def owner_of(session: Session, code: str, *, tools: Tools, sandbox: bool, now: datetime) -> Owner | None:
    """The card of a code that is genuine and in its time, whatever the card's state; None for any other text.

    Says nothing about who shows it, nor whether the card counts.
    """
    kind = kind_of(code)
    if kind is TextKind.NATIONAL:
        return _national(session, code, tools, sandbox, now)
    if kind is TextKind.TEMPORARY:
        return _temporary(session, code, tools, sandbox)
    try:
        claims, _ = check_code(code, tools.rings, now=now)
    except Refused:
        return None
    cti = claims.cti if claims.static else None
    return _one(session, _BY_SERIAL, serial=tools.cti_key().serial(claims.cti), cti=cti, sandbox=sandbox)


def _national(session: Session, code: str, tools: Tools, sandbox: bool, now: datetime) -> Owner | None:
    try:
        found = read_national(code)
    except (ForeignCode, UnknownFormat, Malformed):
        return None
    index = tools.blind_index()
    text_index = None if found.validity is None else index.of("national-code", found.text)
    ehc_id_index = index.of("ehc-id", hex_upper(found.card_id))
    return _one(session, _NATIONAL, ehc_id_index=ehc_id_index, text_index=text_index, at=now, sandbox=sandbox)


def _temporary(session: Session, code: str, tools: Tools, sandbox: bool) -> Owner | None:
    try:
        digits = read_temporary(code)
    except (Malformed, UnknownFormat):
        return None
    return _one(session, _TEMPORARY, index=tools.blind_index().of("temporary-code", digits), sandbox=sandbox)


def _one(session: Session, statement: Any, **given: Any) -> Owner | None:
    row = session.execute(statement, given).one_or_none()
    return None if row is None else Owner(row.serial, row.status)
