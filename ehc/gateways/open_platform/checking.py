"""`verifyQRCode` (open-platform JSON 4.3), onto the verifier: one statement, in one commit with whatever is checked beside it.

What is told of the holder, the institution's rule of disclosure says; a member that may not be told is there, and empty.
"""

import hmac
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import select

from ehc.cards.bindings import patient_id_place
from ehc.clock import local_day
from ehc.codes.national_text import national_static
from ehc.core.documents import CITIZEN_ID, read_document
from ehc.core.names import normal_name
from ehc.core.tables import channel
from ehc.crypto.sealed import Sealer
from ehc.errors import InvalidValue
from ehc.gateways.open_platform import qr_text, words
from ehc.gateways.open_platform.deps import Call
from ehc.gateways.open_platform.members import Members
from ehc.gateways.open_platform.results import Refusal, Result
from ehc.issuer.registry import place
from ehc.residents.models import DocumentRow
from ehc.residents.store import name_place, number_index
from ehc.verify import looks
from ehc.verify.disclosure import STATIC_FIELDS, disclose
from ehc.verify.metrics import scans
from ehc.verify.opening import open_holder
from ehc.verify.reasons import ADVICE, Reason
from ehc.verify.scans import Holder, NationalScan, Settled
from ehc.verify.service import Presentation, Refused, scan_of, verify_code, visit_of

STEP = "other"
"""The step of a look at a card, which is none of a visit."""
_RESULTS: dict[Reason, Result] = {
    Reason.EXPIRED: Result.CODE_OVER,
    Reason.ALREADY_USED: Result.CODE_OVER,
    Reason.CARD_CANCELLED: Result.CARD_CANCELLED,
}


def verify(call: Call, members: Members) -> dict[str, Any]:
    """verifyQRCode: counts as use, and stands in the journal whatever it comes to."""
    known = qr_text.as_known(members.text("qrCodeText", 1024, needed=True))
    step = words.step_of(members.text("medicalStep", 16))
    name, number = members.text("name", 200), members.text("idCard", 64)
    id_type = members.text("idType", 8) or CITIZEN_ID
    told = checked(call, known, step, channel(members.text("channelCode", 16)), Claims(name, id_type, number))
    return {name: told[name] for name in _FLAT}


@dataclass(frozen=True)
class Claims:
    """Who the hospital says stands there, where it says so. Personal data."""

    name: str = field(default="", repr=False)
    id_type: str = CITIZEN_ID
    number: str = field(default="", repr=False)

    def fit(self, call: Call, holder: Holder) -> bool:
        """Whether the holder is that person. One statement more where a number is given."""
        try:
            return self._name_fits(call.deps.tools.sealer(), holder) and self._number_fits(call, holder.resident_id)
        except InvalidValue:  # no name, or no number of its kind, so nobody's
            return False

    def _name_fits(self, sealer: Sealer, holder: Holder) -> bool:
        if not self.name:
            return True
        known = sealer.unseal(holder.name, name_place(holder.resident_id))
        return hmac.compare_digest(normal_name(self.name).encode(), known.encode())

    def _number_fits(self, call: Call, resident_id: UUID) -> bool:
        if not self.number:
            return True
        document = read_document(self.id_type, self.number, today=local_day(call.deps.clock.now()))
        index = number_index(call.deps.secrets().blind_index, document)
        theirs = (DocumentRow.number_index == index) & (DocumentRow.resident_id == resident_id)
        with call.deps.work() as session:
            return session.scalar(select(select(1).where(theirs, DocumentRow.closed_at.is_(None)).exists())) is True


NO_CLAIMS = Claims()


def checked(call: Call, known: str, step: str, where: str | None = None, claims: Claims = NO_CLAIMS) -> dict[str, str]:
    """What a check tells. Raises `Refusal` (40001 to 40005)."""
    shown = Presentation(known, step, where, request_id=call.request_id or None, ids=True)
    settled = verify_code(shown, call.caller, tools=call.deps.tools, settle=call.deps.settle)
    return _outcome(call, known, settled, claims)


def looked_at(call: Call, known: str) -> dict[str, str]:
    """What a check of a national dynamic code would tell, which uses it up no further. Raises `Refusal`.

    Other codes are checked, for they have no uses to be spared: a signed one is good once, the others for ever.
    """
    shown = Presentation(known, STEP, request_id=call.request_id or None, ids=True)
    visit = visit_of(shown, call.caller, call.deps.tools)
    try:
        scan = scan_of(shown, visit, call.deps.tools)
    except Refused as refused:
        raise _refusal(known, refused.reason) from None
    if not isinstance(scan, NationalScan):
        return checked(call, known, STEP)
    with call.deps.work() as session:
        settled = looks.look(session, scan)
    return _outcome(call, known, settled, NO_CLAIMS)


def as_card(told: dict[str, str]) -> dict[str, Any]:
    """What a check told, as a card object (4.1)."""
    ehc_id = told["healthCardId"]
    same = ("name", "gender", "nation", "birthday", "address", "idNumber", "idType", "phid", "healthCardId", "patid")
    card = {name: told[name] for name in same}
    card |= {"qrCodeText": national_static(bytes.fromhex(ehc_id)) if ehc_id else "", "phone1": told["phone"]}
    card |= {"idCard": told["idNumber"], "cardType": told["idType"]}
    return card | dict.fromkeys(("phone2", "adminExt", "relation", "ext"), "")


_FLAT = ("name", "gender", "nation", "birthday", "phone", "address", "idType", "idNumber", "healthCardId", "phid")


def _outcome(call: Call, known: str, settled: Settled, claims: Claims) -> dict[str, str]:
    scans(settled.reason or "accepted").inc()
    if settled.reason is not None or settled.holder is None:
        raise _refusal(known, settled.reason or Reason.NOT_ISSUED)
    if not claims.fit(call, settled.holder):
        raise Refusal(Result.NOT_ITS_DOCUMENT)
    return _told(call.deps.tools.sealer(), known, settled, settled.holder)


def _told(sealer: Sealer, known: str, settled: Settled, holder: Holder) -> dict[str, str]:
    """The holder as far as the rule goes.

    The two ids are what this interface's software knows a patient by: told of every code but a static one alone, which whoever
    has a copy shows, and which holds the card id anyway.
    """
    today = max(local_day(settled.at), holder.birth_date or date.min)
    person = disclose(open_holder(sealer, holder, settled.told), settled.told, today=today) or {}
    proved = settled.told != frozenset(STATIC_FIELDS)
    return {
        "name": person.get("name") or "",
        "gender": words.sex_word(person.get("sex")),
        "nation": words.nation_word(person.get("nation")),
        "birthday": person.get("birth_date") or "",
        "phone": person.get("phone") or "",
        "address": person.get("address") or "",
        "idType": person.get("id_type") or "",
        "idNumber": person.get("id_number") or "",
        "healthCardId": qr_text.card_id_in(known) or (_opened(sealer, holder, "ehc_id") if proved else ""),
        "phid": _opened(sealer, holder, "index_id") if proved else "",
        "patid": _patid(sealer, settled, holder),
    }


def _patid(sealer: Sealer, settled: Settled, holder: Holder) -> str:
    """The asking hospital's own id of the patient, where its rule lets it be told."""
    if "patient-id" not in settled.told or holder.outpatient_id is None or holder.outpatient is None:
        return ""
    return sealer.unseal(holder.outpatient, patient_id_place(holder.outpatient_id))


def _opened(sealer: Sealer, holder: Holder, column: str) -> str:
    sealed = (holder.more or {}).get(column)
    return sealer.unseal(bytes.fromhex(sealed[2:]), place(column, holder.card_id)) if sealed else ""


def _refusal(known: str, reason: Reason) -> Refusal:
    """What a check that did not accept comes to here. A static text that leads to no card names one that is not there."""
    if reason is Reason.NOT_ISSUED and qr_text.is_static(known):
        return Refusal(Result.NO_SUCH_CARD)
    return Refusal(_RESULTS.get(reason, Result.BAD_CODE), ADVICE[reason].zh.rstrip("。"))
