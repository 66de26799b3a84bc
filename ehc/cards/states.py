"""The states of a card and the moves between them: one table, `MOVES`. `docs/card-life.md` is made from it."""

from dataclasses import dataclass
from enum import StrEnum


class CardStatus(StrEnum):
    """Where a card is in its life (national rules 1.7 and 3.5, mapped onto one machine)."""

    PENDING_REVIEW = "pending-review"
    """待审核: waits for the identity authority or for a person to confirm the identity."""
    REJECTED = "rejected"
    """审核未通过: may apply again."""
    ACTIVE = "active"
    """正常: the only state in which codes are issued and accepted."""
    SUSPENDED = "suspended"
    """暂停: can be resumed."""
    LOST = "lost"
    """挂失: frozen until the holder proves anew who they are."""
    CANCELLED = "cancelled"
    """注销: over; `Cause` says why, and whether an application can restore it."""


class Level(StrEnum):
    """How the identity was proved, the weakest first (认证级别)."""

    NONE = "none"
    """Not at all: temporary cards (临时卡) stay here (national rules 6)."""
    SELF_DECLARED = "self-declared"
    DOCUMENT_SEEN = "document-seen"
    CLERK = "clerk"
    EXTERNAL_MATCH = "external-match"


class Kind(StrEnum):
    """What a card stands for (卡属性, national rules 1.7)."""

    FORMAL = "formal"
    """正式卡: a person with an identity document."""
    TEMPORARY = "temporary"
    """临时卡: a patient whose identity nobody has proved yet."""


class Party(StrEnum):
    """Who moves a card."""

    RESIDENT = "resident"
    """The holder, through an app."""
    GUARDIAN = "guardian"
    """Who acts for the holder, through an app."""
    STAFF = "staff"
    AUTHORITY = "authority"
    """The identity authority (人口库), by its answer or its notice."""
    SYSTEM = "system"


class Cause(StrEnum):
    """Why a card is cancelled."""

    CANCELLED = "cancelled"
    CLOSED = "closed"
    """The holder closed the whole account."""
    DECEASED = "deceased"
    JOINED = "joined"
    """Another card of the same person goes on with its history."""
    EXPIRED = "expired"


RESTORABLE = frozenset({Cause.CANCELLED, Cause.CLOSED})
"""What a new application of the same person undoes (national rules 1.7)."""


class Effect(StrEnum):
    """What a move does to what hangs on a card."""

    CODES = "codes"
    """Every code that was issued before is closed for good."""
    STATIC = "static"
    """The printed code stops, and static codes are off until the holder allows them anew."""
    ACCESS = "access"
    """Every client's grant closes, and nobody is shown as acting for the holder."""
    FAMILY = "family"
    """The holder's family links end, on both sides."""
    BINDINGS = "bindings"
    """Patient ids, plastic cards and bank accounts come off the card; where it is joined to another they go over to that."""


@dataclass(frozen=True)
class Move:
    """One way to change a card's state: its name in the audit log, from where, to where, by whom, and for which cause."""

    name: str
    zh: str
    sources: frozenset[CardStatus]
    target: CardStatus
    parties: frozenset[Party]
    cause: Cause | None = None
    fresh_proof: bool = False
    """Whether whoever makes it has proved the identity anew, as for registration; `lifecycle.apply` asks for that."""
    follows: frozenset[Effect] = frozenset()
    causes: frozenset[Cause] = frozenset()
    """Where it starts from a cancelled card: for which causes of that."""


_PERSON = frozenset({Party.RESIDENT, Party.GUARDIAN, Party.STAFF})
_DECIDER = frozenset({Party.STAFF, Party.AUTHORITY})
_STAFF = frozenset({Party.STAFF})

LIVE = (CardStatus.PENDING_REVIEW, CardStatus.ACTIVE, CardStatus.SUSPENDED, CardStatus.LOST)
"""A person has at most one card in these states."""

_LIVE, _A, _S, _L = frozenset(LIVE), CardStatus.ACTIVE, CardStatus.SUSPENDED, CardStatus.LOST
_P, _R, _C = CardStatus.PENDING_REVIEW, CardStatus.REJECTED, CardStatus.CANCELLED
_ALL = frozenset(Effect)
_JOINED = _ALL - {Effect.FAMILY}  # the family goes on with the other card
_SAFE = frozenset({Effect.CODES, Effect.STATIC})
_ANEW = frozenset(
    {Effect.CODES}
)  # also closes what was asked for before, and left only after the card was frozen or ended

APPROVE = Move("approved", "审核通过", frozenset({_P}), _A, _DECIDER)
REJECT = Move("rejected", "审核不通过", frozenset({_P}), _R, _STAFF)
REAPPLY = Move("applied-again", "重新申请", frozenset({_R}), _A, _PERSON, fresh_proof=True)
REAPPLY_FOR_REVIEW = Move("applied-again", "重新申请", frozenset({_R}), _P, _PERSON, fresh_proof=True)
SUSPEND = Move("suspended", "暂停", frozenset({_A}), _S, _PERSON)
# What the holder stopped already, staff hold where it is: else the holder could set it going again.
HOLD = Move("held", "管控", frozenset({_S}), _S, _STAFF)
HOLD_LOST = Move("held", "管控", frozenset({_L}), _L, _STAFF)
RESUME = Move("resumed", "恢复", frozenset({_S}), _A, _PERSON)
REPORT_LOSS = Move("loss-reported", "挂失", frozenset({_A, _S}), _L, _PERSON, follows=_SAFE)
RECOVER = Move("recovered", "解挂", frozenset({_L}), _A, _PERSON, fresh_proof=True, follows=_ANEW)
CANCEL = Move("cancelled", "注销", _LIVE, _C, _PERSON, Cause.CANCELLED, follows=_ALL)
CLOSE = Move("closed", "注销账户", _LIVE | {_R}, _C, _PERSON, Cause.CLOSED, follows=_ALL)
# Also of a card that was cancelled: else whoever applies in the name of the dead would have it restored.
DIE = Move("deceased", "死亡注销", _LIVE | {_R, _C}, _C, _DECIDER, Cause.DECEASED, follows=_ALL, causes=RESTORABLE)
EXPIRE = Move("expired", "到期", frozenset({_A, _S, _L}), _C, frozenset({Party.SYSTEM}), Cause.EXPIRED, follows=_ALL)
# Also of a temporary card that has expired: who the patient was is often known only then.
JOIN = Move(
    "joined", "并入", _LIVE | {_C}, _C, _PERSON, Cause.JOINED, follows=_JOINED, causes=frozenset({Cause.EXPIRED})
)
RESTORE = Move("restored", "恢复", frozenset({_C}), _A, _PERSON, fresh_proof=True, follows=_ANEW, causes=RESTORABLE)
RESTORE_FOR_REVIEW = Move(
    "restored", "恢复待审", frozenset({_C}), _P, _PERSON, fresh_proof=True, follows=_ANEW, causes=RESTORABLE
)
# A death notice in error is for staff, who see the person, to undo.
REVIVE = Move(
    "revived",
    "误报恢复",
    frozenset({_C}),
    _A,
    _STAFF,
    fresh_proof=True,
    follows=_ANEW,
    causes=frozenset({Cause.DECEASED}),
)

MOVES = (
    APPROVE,
    REJECT,
    REAPPLY,
    REAPPLY_FOR_REVIEW,
    SUSPEND,
    HOLD,
    HOLD_LOST,
    RESUME,
    REPORT_LOSS,
    RECOVER,
    CANCEL,
    CLOSE,
    DIE,
    EXPIRE,
    JOIN,
    RESTORE,
    RESTORE_FOR_REVIEW,
    REVIVE,
)


def outranks(new: Level, old: Level) -> bool:
    """Whether `new` proves more than `old`."""
    order = list(Level)
    return order.index(new) > order.index(old)
