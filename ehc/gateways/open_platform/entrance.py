"""Who calls (open-platform JSON 1.4, 2.3): the account behind a token or an `appId`, the signature, the time, the hospital.

The signature is looked at before any member but the two that say whose secret it is made with.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ehc.callers import Caller
from ehc.gateways.accounts import Account
from ehc.gateways.kinds import GatewayKind, PlaceKind
from ehc.gateways.open_platform import signing
from ehc.gateways.open_platform.deps import OpenPlatformDeps
from ehc.gateways.open_platform.envelope import Request
from ehc.gateways.open_platform.methods import GET_TOKEN
from ehc.gateways.open_platform.models import SeenSignatureRow
from ehc.gateways.open_platform.results import Refusal, Result

_TIME_DIGITS = 10
_AT_ONCE = 10_000


@dataclass(slots=True)
class Visitor:
    """What is known of who calls, as far as the call came: for the answer, and for the operator's log."""

    account: Account | None = None
    profile: str = "none"
    """The way in which the call is signed; `none` where it is not, in any."""


def admitted(deps: OpenPlatformDeps, method: str, request: Request, visitor: Visitor) -> tuple[Account, Caller]:
    """The account that calls, and the caller acting at the hospital. Fills in `visitor` on the way.

    Raises `Refusal` (20001 to 20005), or `limits.Refused`.
    """
    account = visitor.account = _account(deps, method, request)
    profile = signing.matching(request, account.secrets)
    if profile is None:
        raise Refusal(Result.BAD_SIGNATURE)
    visitor.profile = profile
    _require_time(request.common.get("timestamp"), now=deps.clock.now().timestamp(), window=account.window_seconds)
    caller = account.caller if method == GET_TOKEN else _at_hospital(account, request)
    if account.replay:
        _require_first(deps, account, str(request.common["sign"]))
    deps.door.admit(caller)
    return account, caller


def _account(deps: OpenPlatformDeps, method: str, request: Request) -> Account:
    if method == GET_TOKEN:  # whatever token comes along is an old one (1.2)
        app_id = request.req.get("appId")
        account = deps.accounts.find(GatewayKind.OPEN_PLATFORM, app_id) if isinstance(app_id, str) else None
    else:
        token = request.common.get("appToken")
        account_id = deps.tokens.account_of(token) if isinstance(token, str) else None
        if account_id is None:
            raise Refusal(Result.BAD_TOKEN)
        account = deps.accounts.by_id(account_id)
    if account is None:
        raise Refusal(Result.NO_SUCH_APP)
    return account


def _require_time(given: object, *, now: float, window: int) -> None:
    """Seconds as ten digits, text or number; milliseconds are refused (2.3)."""
    if isinstance(given, bool) or not isinstance(given, int | str):
        raise Refusal(Result.BAD_TIME)
    digits = str(given) if isinstance(given, str) or 0 <= given < 10**_TIME_DIGITS else ""
    if len(digits) != _TIME_DIGITS or not digits.isascii() or not digits.isdecimal():
        raise Refusal(Result.BAD_TIME, "应为10位秒级时间戳")
    if abs(int(digits) - now) > window:
        raise Refusal(Result.BAD_TIME)


def _at_hospital(account: Account, request: Request) -> Caller:
    code = request.common.get("hospitalId")
    if isinstance(code, int) and not isinstance(code, bool):
        code = str(code) if 0 <= code < 10**32 else None
    caller = account.at(PlaceKind.HOSPITAL, code) if isinstance(code, str) else None
    if caller is None:
        raise Refusal(Result.NOT_ITS_HOSPITAL)
    return caller


def _require_first(deps: OpenPlatformDeps, account: Account, sign: str) -> None:
    """A signature counts once, whichever worker it reaches: the primary key decides. Raises `Refusal` (20001)."""
    seen = sha256(f"{account.id}:{sign}".encode()).digest()
    until = deps.clock.now() + timedelta(seconds=2 * account.window_seconds)
    with deps.work() as session:
        row = insert(SeenSignatureRow).values(hash=seen, expires_at=until).on_conflict_do_nothing()
        if session.execute(row.returning(SeenSignatureRow.hash)).first() is None:
            raise Refusal(Result.BAD_SIGNATURE, "重复的请求")


def purge(session: Session, *, now: datetime) -> int:
    """Forget up to 10,000 signatures that are too old to count; returns how many. Never commits."""
    old = select(SeenSignatureRow.hash).where(SeenSignatureRow.expires_at < now).limit(_AT_ONCE)
    gone = delete(SeenSignatureRow).where(SeenSignatureRow.hash.in_(old.with_for_update(skip_locked=True)))
    return len(session.execute(gone.returning(SeenSignatureRow.hash)).all())
