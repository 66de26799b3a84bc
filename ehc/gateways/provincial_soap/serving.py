"""A call from its two arguments to its result: the checks in the order of provincial SOAP 5, then the operation.

Knows no Flask. One thing is out of that order: that an operation is not open to a caller (1010) is told to nobody who has not
shown who they are.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, cast
from uuid import UUID

from ehc.callers import Caller
from ehc.errors import EhcError, InvalidValue, Unavailable
from ehc.gateways.accounts import Account
from ehc.gateways.calls import UNKNOWN, masked, reference_of
from ehc.gateways.kinds import GatewayKind, PlaceKind
from ehc.gateways.limits import Refused, Why, require_scope
from ehc.gateways.provincial_soap.asking import Asked, Services, Told
from ehc.gateways.provincial_soap.messages import Node, NotARequest, desc_of, has_special, read_request, write_response
from ehc.gateways.provincial_soap.operations import FIRST, OPERATIONS, Entry
from ehc.gateways.provincial_soap.people import unfit
from ehc.gateways.provincial_soap.result_codes import Failed, ResultCode, result_codes
from ehc.issuer import accounts

_LONGEST = 1_000
"""No field is longer but the photographs; stated lengths are no reason to refuse (provincial SOAP 3.1)."""
_PASSWORD = "userPwd"  # noqa: S105 - the name of a field
_HEAD = ("msgType", "bussinessCode", "businessCode", "msgCreateTime", "orgId", "appCode", "userName", "stdVerCode")
_TYPES = ("encryption", "encrytion", "id_type", "self_id_type", "mother_id_type", "father_id_type", "qrcode_type")
_PLACES = ("relation", "channel_code", "medstep_code", "use_citycode", "hospital_code", "startDate", "endDate")
_CLEAR = frozenset({*_HEAD, *_TYPES, *_PLACES, "problem", "fault"})
"""Fields whose values name nobody."""
_OF_ERRORS: Mapping[type[EhcError], str] = {
    accounts.IdentityMismatch: "6010",
    accounts.CardCancelled: "6010",
}
"""Kinds of the rooms that have a code here; any other is 1011 with its own words."""
_OF_REFUSALS = {Why.ADDRESS: "1005", Why.SCOPE: "1010", Why.SANDBOX: "1010"}
_REMEMBERED = 10_000
_NOBODYS = (b"\x00" * 32,)


@dataclass(slots=True)
class Served:
    """What is answered, and what operators are told of the call."""

    told: str = ""
    code: str = "1011"
    good: bool = False
    desc: str = ""
    method: str = UNKNOWN
    reference: str = ""
    account: UUID | None = None
    members: dict[str, object] = field(default_factory=dict)

    def end(self, ended: Told) -> None:
        """Answer this."""
        code: ResultCode = result_codes()[ended.code]
        self.told = write_response(code, ended.detail, ended.parts)
        self.code, self.good, self.desc = code.code, code.good, desc_of(code, ended.detail)

    def end_with_fault(self, detail: str) -> None:
        """Answer that the service itself could not do what was asked."""
        self.end(Told("1011", detail=detail))

    def trace(self) -> Mapping[str, str] | None:
        """The fields of a call that failed, without values that name anybody, and without the password in any form."""
        return None if self.good else masked(self.members, _CLEAR) | ({"desc": self.desc} if self.desc else {})


Find = Callable[[GatewayKind, str], Account | None]
Admit = Callable[[Caller], None]


class Desk:
    """Serves calls of one worker."""

    def __init__(self, services: Services, *, find: Find, admit: Admit) -> None:
        self._services, self._find, self._admit = services, find, admit
        self._callers: dict[tuple[str, str, str], tuple[Account, Caller]] = {}

    def serve(self, action: str, message: str, served: Served) -> None:
        """Write the result of a call, and whose it was as far as that is known, into `served`.

        Raises what the database raises, nothing else that is foreseen.
        """
        try:
            ended = self._asked(served, action, message)
        except Failed as failed:
            ended = Told(failed.code, cast("Node", failed.parts), failed.detail)
        except Refused as refused:
            ended = Told(_OF_REFUSALS.get(refused.why, "1011"), detail=refused.detail.zh)
        except InvalidValue as error:
            found = unfit(error)
            ended = Told(found.code, detail=found.detail)
        except Unavailable:
            raise
        except EhcError as error:
            ended = Told(_OF_ERRORS.get(type(error), "1011"), detail=error.detail.zh)
            served.members["problem"] = error.code
        served.end(ended)

    def _asked(self, served: Served, action: str, message: str) -> Told:
        if not action or not message:
            raise Failed("1009")
        head, fields = _read(action), _read(message)
        served.reference = reference_of(head.get("msgGuid", ""))
        served.members |= {name: value for name, value in (head | fields).items() if name != _PASSWORD}
        entry = _entry(served, head)
        if not head.get("orgId") and not head.get("appCode"):
            raise Failed("1007")
        account = self._authentic(served, head)
        caller = self._caller(account, head)
        self._admit(caller)
        require_scope(caller, entry.scope, sandbox=True)
        if head.get("encryption", head.get("encrytion", "0")) != "0":
            raise Failed("6001", "本账号未配置加密方案")
        _require_fields(served.method, entry, head, fields)
        return entry.act(Asked(account, caller, fields, served.reference, self._services))

    def _caller(self, account: Account, head: Mapping[str, str]) -> Caller:
        """The caller of a call: the same one as long as the account is, so that the gate knows its limits already."""
        key = account.name, head.get("orgId", ""), head.get("appCode", "")
        known = self._callers.get(key)
        if known is not None and known[0] is account:
            return known[1]
        caller = _at(account, head)
        if len(self._callers) >= _REMEMBERED:
            self._callers.clear()
        self._callers[key] = account, caller
        return caller

    def _authentic(self, served: Served, head: Mapping[str, str]) -> Account:
        """The account whose name and password these are. Raises `Failed` 1005, as late for a name that nobody has.

        Operators find a call with a wrong password by the name that it gave.
        """
        account = self._find(GatewayKind.PROVINCIAL, head.get("userName", ""))
        served.account = account.id if account else None
        given = sha256(head.get(_PASSWORD, "").encode()).digest()
        good = [hmac.compare_digest(given, kept) for kept in (account.secrets if account else _NOBODYS)]
        if account is None or not any(good):
            raise Failed("1005")
        return account


def _read(text: str) -> dict[str, str]:
    try:
        return read_request(text)
    except NotARequest:
        raise Failed("1012") from None


def _entry(served: Served, head: Mapping[str, str]) -> Entry:
    """The operation, by the printed name of the field first, then by the one in the standard's text."""
    name = head.get("bussinessCode", head.get("businessCode", ""))
    if not name:
        raise Failed("1008")
    entry = OPERATIONS.get(name)
    if entry is None:
        raise Failed("1003")
    served.method = name
    return entry


def _at(account: Account, head: Mapping[str, str]) -> Caller:
    """The caller, at the institution of `orgId` if that is given. Raises `Failed`: 1006, 1004, 1011 for both where strict."""
    org, app = head.get("orgId"), head.get("appCode")
    if org and app and account.strict:
        raise Failed("1011", "orgId 与 appCode 只能填写一个")
    at_org = account.at(PlaceKind.ORG, org) if org else None
    if org and at_org is None:
        raise Failed("1006")
    at_app = account.at(PlaceKind.APP, app) if app else None
    if app and at_app is None:
        raise Failed("1004")
    return cast("Caller", at_org or at_app)


def _require_fields(method: str, entry: Entry, head: Mapping[str, str], fields: Mapping[str, str]) -> None:
    for name, code in FIRST.get(method, ()):
        if name not in fields and not (name.startswith("id_") and "id_card" in fields):
            raise Failed(code)
    missing = [name for name in entry.required if name not in fields]
    if missing:
        raise Failed("1001", "、".join(missing))
    if has_special(fields) or has_special(head, but=_PASSWORD):
        raise Failed("1002")
    plain: dict[str, Any] = {name: value for name, value in fields.items() if not name.startswith("photo_")}
    if any(len(value) > _LONGEST for value in plain.values()):
        raise Failed("1012", "参数过长")
