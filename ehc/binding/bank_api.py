"""`…/bindings/bank-accounts`: a holder's app starts a binding, confirms it with the bank's code, chooses and ends.

The bank is asked between two transactions. 202 means: the bank has not answered, the binding is kept, and a job finds out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from uuid import UUID, uuid5

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from ehc.binding import bank_accounts, bank_calls, proofs
from ehc.binding.bank_accounts import Begun, Wanted
from ehc.binding.bank_numbers import read_account
from ehc.binding.bank_schemas import BankAccountIn, BankAccountOut, BankAccountsOut, BankCodeIn, account_out
from ehc.binding.deps import BindingDeps
from ehc.callers import Reach, Scope
from ehc.cards import store as cards
from ehc.cards.bank_models import BankAccountRow
from ehc.cards.models import CardRow
from ehc.cards.store import Acting
from ehc.errors import EhcError, Text
from ehc.outside.bank_gateway import BankGateway, Refusal, WrongCode
from ehc.web import idempotency, parsing
from ehc.web.answers import Answer
from ehc.web.auth import bearer, caller
from ehc.web.openapi import operation

Found = TypeVar("Found")


class BankNotConfigured(EhcError):
    """This deployment has no bank to ask."""

    code = "bank-not-configured"


class BankRefused(EhcError):
    """The bank does not bind the account; the detail says why, as far as a bank tells."""

    code = "bank-refused"


class WrongBankCode(EhcError):
    """The one-time code is not the one that the bank sent."""

    code = "wrong-bank-code"


STATUSES: dict[type[EhcError], int] = {
    bank_accounts.TooManyAccounts: 409,
    bank_accounts.BankPending: 409,
    bank_accounts.NotStarted: 409,
    BankNotConfigured: 409,
    BankRefused: 409,
    WrongBankCode: 409,
}

_WHY: dict[Refusal, Text] = {
    Refusal.FACTORS: Text(
        "银行核对不一致：请核对卡号、姓名、证件号和银行预留手机号。",
        "Number, name, document and phone are not all of one account at the bank. Check each.",
    ),
    Refusal.ACCOUNT_STATE: Text(
        "该账户已销户、冻结或挂失，请换一张卡。", "The account is closed, frozen or reported lost. Use another."
    ),
    Refusal.ACCOUNT_CLASS: Text(
        "银行不支持绑定该类账户，请换一张卡。", "The bank does not bind accounts of this class. Use another."
    ),
    Refusal.PHONE: Text(
        "银行预留手机号无法接收验证码，请到银行更新。",
        "The phone that the bank holds cannot receive its code. Have the bank change it.",
    ),
    Refusal.CODE_EXPIRED: Text("验证码已失效，请重新发起绑定。", "The code is no longer good. Start the binding anew."),
}

_NOT_BOUND = Text("银行未能完成绑定，请重新发起。", "The bank did not bind the account. Start the binding anew.")

_START, _CODE = BankAccountIn(), BankCodeIn()


@dataclass(frozen=True)
class BankDeps:
    """What bank accounts need besides. `bank` is None where no bank is configured."""

    base: BindingDeps
    bank: BankGateway | None
    most: int
    """How many accounts a card may have."""


def bank_accounts_blueprint(deps: BankDeps) -> Blueprint:
    """Bank accounts, for apps of the holder."""
    bp = Blueprint("bank_accounts", __name__, url_prefix="/v1/cards/<uuid:card_id>/bindings/bank-accounts")
    bp.before_request(bearer(deps.base.authenticate, Scope.BINDINGS))
    _add_start(bp, deps)
    _add_confirmation(bp, deps)
    _add_the_rest(bp, deps)
    return bp


def _add_start(bp: Blueprint, deps: BankDeps) -> None:
    @bp.post("")
    @operation(
        "Start to bind a bank account",
        body=BankAccountIn,
        answers={201: BankAccountOut, 200: BankAccountOut, 202: BankAccountOut},
        scope=Scope.BINDINGS,
        resident=Reach.OWN,
        idempotent=True,
        problems=(404, 409, 422),
    )
    def post_account(card_id: UUID) -> Response:
        """The bank checks the four factors and sends its own code. 200: it waits for its code already.

        The same `Idempotency-Key` is the same start, whatever became of it.
        """
        sent, bank, key = parsing.body(_START), _bank(deps), idempotency.key()
        number = read_account(sent["account_number"], table=deps.base.bank_bins)
        start_request = uuid5(caller().id, f"bank-account:{card_id}:{key}") if key is not None else None
        wanted = Wanted(number, **sent["holder"], start_request=start_request)
        begun = _in_turn(deps, card_id, partial(_begin, deps, wanted))
        if not begun.ask:
            return _begun_before(begun, deps)
        answer = bank_calls.ask_start(
            bank, begun, number=number.digits, name=sent["holder"]["name"], phone=sent["phone"]
        )
        if answer is None:
            return Answer(_out(deps, begun.account), 202).response()
        with deps.base.work() as session:
            row = bank_calls.started(session, begun.account, answer, now=deps.base.clock.now())
        if row.state == "failed":
            raise _refused(row)
        return Answer(_out(deps, row), 201).response()


def _add_confirmation(bp: Blueprint, deps: BankDeps) -> None:
    @bp.post("/<uuid:account_id>/confirm")
    @operation(
        "Confirm a binding with the bank's code",
        body=BankCodeIn,
        answers={200: BankAccountOut, 202: BankAccountOut},
        scope=Scope.BINDINGS,
        resident=Reach.OWN,
        problems=(404, 409, 422),
    )
    def post_confirmation(card_id: UUID, account_id: UUID) -> Response:
        """A code counts once, however the answer fares: after 202, read the account until it is settled."""
        sent, bank = parsing.body(_CODE), _bank(deps)

        def begin(session: Session, card: CardRow, acting: Acting) -> tuple[BankAccountRow, Acting, bool]:
            proofs.hold_active(session, card)  # the card before the account, as everywhere
            account = bank_accounts.of_card(session, card, account_id)
            if account.state == "bound":
                return account, acting, False
            account = bank_accounts.begin_confirming(session, card, account_id, now=deps.base.clock.now())
            return account, acting, True

        account, acting, ask = _in_turn(deps, card_id, begin)
        if not ask:
            return Answer(_out(deps, account)).response()
        answer = bank_calls.ask_confirm(bank, account, sent["code"])
        if answer is None:
            return Answer(_out(deps, account), 202).response()
        with deps.base.work() as session:
            row = bank_calls.confirmed(
                session, account, answer, acting=acting, secrets=deps.base.secrets(), now=deps.base.clock.now()
            )
        if isinstance(answer, WrongCode):
            raise _wrong_code(answer)
        if row.state == "failed" or row.ended_for == bank_calls.OTHER_ACCOUNT:
            raise _refused(row)
        return Answer(_out(deps, row)).response()


def _add_the_rest(bp: Blueprint, deps: BankDeps) -> None:
    @bp.get("")
    @operation(
        "The bank accounts of a card",
        answers={200: BankAccountsOut},
        scope=Scope.BINDINGS,
        resident=Reach.OWN,
        problems=(404,),
    )
    def get_accounts(card_id: UUID) -> Response:
        """Those that are bound or about to be."""
        items = _in_turn(deps, card_id, lambda session, card, _: bank_accounts.listed(session, card))
        return Answer({"items": [_out(deps, row) for row in items]}).response()

    @bp.get("/<uuid:account_id>")
    @operation(
        "A bank account", answers={200: BankAccountOut}, scope=Scope.BINDINGS, resident=Reach.OWN, problems=(404,)
    )
    def get_account(card_id: UUID, account_id: UUID) -> Response:
        """Also one that failed or ended: whoever was told 202 finds out here what came of it."""
        row = _in_turn(deps, card_id, lambda session, card, _: bank_accounts.of_card(session, card, account_id))
        return Answer(_out(deps, row)).response()

    @bp.post("/<uuid:account_id>/default")
    @operation(
        "Make a bank account the default",
        answers={200: BankAccountOut},
        scope=Scope.BINDINGS,
        resident=Reach.OWN,
        problems=(404, 409),
    )
    def post_default(card_id: UUID, account_id: UUID) -> Response:
        """The one that pays unless another is chosen. Takes no body."""

        def choose(session: Session, card: CardRow, acting: Acting) -> BankAccountRow:
            return bank_accounts.make_default(session, card, account_id, acting=acting, now=deps.base.clock.now())

        return Answer(_out(deps, _in_turn(deps, card_id, choose))).response()

    @bp.delete("/<uuid:account_id>")
    @operation(
        "End the binding of a bank account",
        answers={200: BankAccountOut},
        scope=Scope.BINDINGS,
        resident=Reach.OWN,
        problems=(404,),
    )
    def delete_account(card_id: UUID, account_id: UUID) -> Response:
        """It pays nothing from now on; the bank is told by a job. Where it was the default, no other becomes it by itself."""

        def end(session: Session, card: CardRow, acting: Acting) -> BankAccountRow:
            now = deps.base.clock.now()
            return bank_accounts.end(session, card, account_id, why="holder", acting=acting, now=now)

        return Answer(_out(deps, _in_turn(deps, card_id, end))).response()


def _begin(deps: BankDeps, wanted: Wanted, session: Session, card: CardRow, acting: Acting) -> Begun:
    return bank_accounts.begin(
        session,
        card,
        wanted,
        acting=acting,
        client_id=caller().id,
        most=deps.most,
        secrets=deps.base.secrets(),
        now=deps.base.clock.now(),
    )


def _in_turn(deps: BankDeps, card_id: UUID, act: Callable[[Session, CardRow, Acting], Found]) -> Found:
    """What `act` returns, in a transaction, for a card that the caller has a grant for. Raises `NoSuchCard`."""
    who = caller()
    with deps.base.work() as session:
        card, party = cards.granted_as(session, card_id, who.id, at=deps.base.clock.now())
        return act(session, card, cards.acting(who, party))


def _out(deps: BankDeps, row: BankAccountRow) -> dict[str, Any]:
    return account_out(row, deps.base.bank_bins)


def _bank(deps: BankDeps) -> BankGateway:
    if deps.bank is None:
        raise BankNotConfigured(
            Text("本平台尚未接入银行，暂不能绑定银行账户。", "This deployment has no bank. Accounts cannot be bound.")
        )
    return deps.bank


def _begun_before(begun: Begun, deps: BankDeps) -> Response:
    """The answer to a start that came before, as it is now. Raises `KeyReused` if it was for another account."""
    row = begun.account
    if not begun.same:
        raise idempotency.reused()
    if row.state == "failed":
        raise _refused(row)
    waits = row.state in {"starting", "confirming", "ending"}
    replayed = {"Idempotency-Replayed": "true"} if idempotency.key() is not None else {}
    return Answer(_out(deps, row), 202 if waits else 200, replayed).response()


def _refused(row: BankAccountRow) -> BankRefused:
    return BankRefused(next((told for why, told in _WHY.items() if why == row.failed_for), _NOT_BOUND))


def _wrong_code(answer: WrongCode) -> WrongBankCode:
    left = answer.tries_left
    return WrongBankCode(
        Text(f"验证码不正确，还可以再试 {left} 次。", f"The code is wrong. {left} more tries are left.")
    )
