"""`registerHealthCard` and `registerBatchHealthCard` (open-platform JSON 4.2), onto the issuer's register.

The identity authority is asked outside of transactions, for a batch about several at once: clients wait five seconds. The
`wechatCode` is held first and spent last, in the transaction that registers, so that what fails leaves it good.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ehc.binding import patient_ids
from ehc.binding.patient_ids import PatientNumber
from ehc.cards.models import CardRow
from ehc.cards.states import CardStatus, Level
from ehc.cards.store import acting
from ehc.clock import local_day
from ehc.errors import EhcError
from ehc.gateways.open_platform import finding, one_time, words
from ehc.gateways.open_platform.deps import Call
from ehc.gateways.open_platform.members import Members
from ehc.gateways.open_platform.models import RelationRow
from ehc.gateways.open_platform.one_time import OneTime
from ehc.gateways.open_platform.results import Refusal, Result
from ehc.issuer import accounts
from ehc.issuer.accounts import Account
from ehc.issuer.applications import Application, Proof, read_person
from ehc.issuer.metrics import REGISTRATIONS
from ehc.issuer.proofs import Weighed
from ehc.issuer.weighing import weigh_application
from ehc.residents.store import Person

BATCH = 15
"""As many people at once (4.2)."""
_AT_ONCE = 6
"""About so many the authority is asked at one time: a worker has eight places with it, and others ask too."""
_DECLARED = Proof(Level.SELF_DECLARED, evidence="wechatCode")
_BY_INSTITUTION = Proof(Level.SELF_DECLARED, evidence="registerBatchHealthCard")


@dataclass(frozen=True)
class Applicant:
    """Somebody to be registered: as typed and in normal form, the code that came along, and what the hospital keeps."""

    wanted: Application
    person: Person
    wechat_code: str
    patid: str
    relation: str


Found = TypeVar("Found")
Weighing = Callable[[Applicant], Weighed]


def register(call: Call, members: Members) -> dict[str, Any]:
    """registerHealthCard. The same identity again is answered with the card that there is, and uses the code up too."""
    applicant = _applicant(call, members, code_needed=True)
    _require_code(call, applicant)
    account = _registered(call, applicant, _weighing(call)(applicant))
    told = finding.person_members(replace(account, person=applicant.person))  # what was sent, not what is on record
    return {name: told[name] for name in ("qrCodeText", "healthCardId", "phid", "adminExt")}


def register_batch(call: Call, members: Members) -> dict[str, Any]:
    """registerBatchHealthCard: one answer for each item, in order; one that fails has an empty `qrCodeText`.

    An item may come without a `wechatCode`: hospitals bring patients they know. One that is sent has to be good.
    """
    items = members.items("healthCardItems", most=BATCH)
    applicants = [_tried(partial(_coded, call, item)) for item in items]
    weighing = _weighing(call)
    with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="ehc-batch") as pool:
        weighed = list(pool.map(lambda one: None if one is None else _tried(partial(weighing, one)), applicants))
    return {"rspItems": [_outcome(call, *one) for one in zip(items, applicants, weighed, strict=True)]}


def _coded(call: Call, item: Members) -> Applicant:
    applicant = _applicant(call, item, code_needed=False)
    if applicant.wechat_code:
        _require_code(call, applicant)
    return applicant


def _outcome(call: Call, item: Members, applicant: Applicant | None, weighed: Weighed | None) -> dict[str, Any]:
    account = None
    if applicant is not None and weighed is not None:
        account = _tried(partial(_registered, call, applicant, weighed))
    ehc_id = (account.ehc_id if account is not None else None) or ""
    number, kind = (_as_sent(item, *names) for names in (("idNumber", "idCard"), ("idType", "cardType")))
    told = {"qrCodeText": finding.static_text(ehc_id), "healthCardId": ehc_id}
    return told | {"idNumber": number, "idType": kind, "idCard": number, "cardType": kind}


def _as_sent(item: Members, *names: str) -> str:
    """What clients know their own question by; empty where it cannot be said again."""
    return _tried(partial(item.text, item.given(*names))) or ""


def _tried(act: Callable[[], Found]) -> Found | None:
    """What an item comes to, None where it is refused. What is wrong with us, not with the item, is raised."""
    try:
        return act()
    except (Refusal, EhcError):
        return None


def _applicant(call: Call, members: Members, *, code_needed: bool) -> Applicant:
    """Raises `Refusal` (10002) or `InvalidValue`."""
    name = members.text("name", 200, needed=True)
    sex = words.sex_code(members.text("gender", 8, needed=True))
    nation = words.nation_code(members.text("nation", 64, needed=True))
    born = words.birth_date(members.text("birthday", 16, needed=True))
    wanted = Application(
        name=name,
        id_type=members.text(members.given("idType", "cardType"), 8, needed=True),
        id_number=members.text(members.given("idNumber", "idCard"), 64, needed=True),
        phone=members.text("phone1", 32, needed=True),
        proof=_DECLARED if code_needed else _BY_INSTITUTION,
        sex=sex,
        birth_date=born,
        ethnicity=nation,
        address=members.text("address", 200) or None,
    )
    person = read_person(wanted, today=local_day(call.deps.clock.now()))
    code = members.text("wechatCode", 64, needed=code_needed)
    return Applicant(wanted, person, code, members.text("patid", 64), members.text("relation", 8))


def _require_code(call: Call, applicant: Applicant) -> None:
    """Look at the code before anybody is asked about the person. Raises `Refusal` (30001)."""
    now = call.deps.clock.now()
    with call.deps.work() as session:
        if not one_time.is_good(session, OneTime.WECHAT, applicant.wechat_code, call.account.id, now=now):
            raise Refusal(Result.BAD_WECHAT_CODE)


def _weighing(call: Call) -> Weighing:
    """Weighs the identities of this caller's applicants, from any thread. Raises `Refusal` for one that is not confirmed."""
    registry, work = call.deps.issuer.registry(), call.deps.work

    def weigh(applicant: Applicant) -> Weighed:
        weighed = weigh_application(work, registry, applicant.wanted.proof, applicant.person)
        if weighed.asked and weighed.found is None:
            raise Refusal(Result.BUSY, "实名核验服务暂不可用")
        if weighed.refuted:
            raise Refusal(Result.NOT_CONFIRMED)
        return weighed

    return weigh


def _registered(call: Call, applicant: Applicant, weighed: Weighed) -> Account:
    """Register, bind and spend, in one transaction. Raises `Refusal` or an `EhcError`.

    An application that waits for a reviewer stays, and so does its code: until then there is no card to show.
    """
    deps, now = call.deps, call.deps.clock.now()
    with deps.work() as session:
        code = None
        if applicant.wechat_code:
            code = one_time.hold(session, OneTime.WECHAT, applicant.wechat_code, call.account.id, now=now)
            if code is None:
                raise Refusal(Result.BAD_WECHAT_CODE)
        account, new = _accepted(session, call, applicant, weighed)
        waits = account.card.status == CardStatus.PENDING_REVIEW
        if not waits:
            _keep(session, call, account.card, applicant)
            if code is not None:
                one_time.spend(session, code, now=now)
    if waits:
        raise Refusal(Result.NOT_CONFIRMED, "申请已提交，等待发卡机构审核")
    REGISTRATIONS.labels("new" if new else "known").inc()
    return account


def _accepted(session: Session, call: Call, applicant: Applicant, weighed: Weighed) -> tuple[Account, bool]:
    try:
        return accounts.register(
            session,
            applicant.person,
            applicant.wanted,
            weighed,
            caller=call.caller,
            registry=call.deps.issuer.registry(),
            now=call.deps.clock.now(),
        )
    except accounts.IdentityMismatch:  # name and number do not fit together, which is what the check is about
        raise Refusal(Result.NOT_CONFIRMED) from None


def _keep(session: Session, call: Call, card: CardRow, applicant: Applicant) -> None:
    """What came along: the hospital's own id of the patient, and what the holder is to the app's user.

    The sandbox has no patient ids: a hospital's number of a real patient would be taken by somebody made up.
    """
    now, institution = call.deps.clock.now(), call.caller.institution_id
    real = card.status == CardStatus.ACTIVE and not card.sandbox
    if applicant.patid and institution is not None and real:
        number = PatientNumber(finding.OUTPATIENT, applicant.patid)
        by, secrets = acting(call.caller), call.deps.secrets()
        patient_ids.bind_through_app(session, card, number, institution, acting=by, secrets=secrets, now=now)
    if applicant.relation:
        row = insert(RelationRow).values(
            account_id=call.account.id, card_serial=card.serial, relation=applicant.relation
        )
        session.execute(
            row.on_conflict_do_update(
                index_elements=[RelationRow.account_id, RelationRow.card_serial], set_={"relation": applicant.relation}
            )
        )
