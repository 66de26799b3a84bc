"""Random moves, valid and not, by several at once: hypothesis draws who does what, threads do it, and the database decides.

Each round draws a plan for two to six hands: residents, guardians, staff, the authority, the clock. They start together. Then
the history of every card has to be a path of the table of moves, in the order in which its audit chain took the acts: whatever
was answered could have happened one after the other. Of those who name the version that all of them read (`If-Match`) one is
heard at most. What fails is made smaller, to the fewest acts that still do.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Barrier
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from ehc.cards import states
from ehc.cards import store as cards
from ehc.cards.events import Words
from ehc.cards.states import Party
from ehc.cards.store import Acting
from ehc.clock import local_day
from ehc.core.documents import Document
from ehc.db import unit_of_work
from ehc.errors import EhcError
from ehc.issuer import closing, deaths, lifecycle, majority, temporary
from ehc.issuer.proofs import AUTHORITY
from ehc.issuer.registry import Registry
from tests.contract.helpers import elsewhere
from tests.integration import histories
from tests.integration.card_desk import OneDeath, verification
from tests.integration.test_move_races import service
from tests.support.national import secrets_of
from tests.support.service import Api, Service, citizen_number, person, told

__all__ = ["service"]

PEOPLE = 3
MOVES = ("suspend", "report-loss", "resume", "cancel", "close")
STAFF = (states.RESUME, states.REPORT_LOSS, states.RECOVER, states.CANCEL, states.REJECT, "stop", "restore")
DAYS_TO_18 = 9
"""How far the child is from being 18, when it begins."""
CHANGES: tuple[dict[str, Any], ...] = (
    {"static_codes": True},
    {"static_codes": False},
    {"employer": "厂"},
    {"name": "王大明", "verification": {"method": "document-seen"}},
)
CODES: tuple[dict[str, Any], ...] = ({}, {"format": "national"}, {"kind": "static"})

_who = st.integers(0, PEOPLE - 1)
_acts = st.one_of(
    st.tuples(st.just("move"), _who, st.sampled_from(MOVES)),
    st.tuples(st.just("versioned"), _who, st.sampled_from(MOVES)),
    st.tuples(st.just("guardian"), _who, st.sampled_from(MOVES[:3])),
    st.tuples(st.just("staff"), _who, st.sampled_from(STAFF)),
    st.tuples(st.just("authority"), _who, st.none()),
    st.tuples(st.just("apply"), _who, st.sampled_from(["self-declared", "document-seen", "clerk"])),
    st.tuples(st.just("family-end"), _who, st.none()),
    st.tuples(st.just("change"), _who, st.sampled_from(CHANGES)),
    st.tuples(st.just("use"), _who, st.sampled_from(CODES)),
    st.tuples(st.just("die"), _who, st.none()),
    st.tuples(st.just("join"), _who, st.none()),
    st.tuples(st.just("expire"), _who, st.none()),
)
Act = tuple[str, int, Any]
_plans = st.lists(st.lists(_acts, min_size=1, max_size=4), min_size=2, max_size=6)


_WRONG = (
    "SELECT FROM card JOIN card_grant ON card_serial = serial WHERE status = 'cancelled' AND closed_at IS NULL",
    "SELECT FROM card JOIN printed_code ON card_serial = serial "
    "WHERE (status IN ('cancelled', 'lost') OR NOT static_allowed) AND revoked_at IS NULL",
    "SELECT FROM card JOIN family_link AS link ON resident_id IN (link.guardian_id, link.member_id) "
    "WHERE status = 'cancelled' AND cause <> 'joined' AND ended_at IS NULL",
    "SELECT FROM card WHERE guardian_id IS NOT NULL AND NOT EXISTS (SELECT FROM family_link AS link "
    "WHERE link.member_id = resident_id AND link.guardian_id = card.guardian_id AND ended_at IS NULL)",
    "SELECT FROM card_grant JOIN family_link ON family_link.id = link_id WHERE ended_at IS NOT NULL",
)
"""What nobody may find, however the moves came together."""


class Clients(NamedTuple):
    """Those through whom one hand acts, on connections of its own."""

    app: Api
    other: Api
    terminal: Api


class Crowd(RuleBasedStateMachine):
    """Three people, a child that the first of them acts for, a temporary card, and all who move their cards."""

    service: ClassVar[Service]
    born: ClassVar[int] = 0

    @initialize()
    def begin(self) -> None:
        """New people each time: the histories of those before stay, and stay checked."""
        first = Crowd.born
        Crowd.born += PEOPLE + 1
        self.serials = [first + number for number in range(PEOPLE)]
        self.secrets, self.work = secrets_of(self.service), unit_of_work(self.service.engine)
        self.card_ids = [self.service.app.register(serial)["card_id"] for serial in self.serials]
        soon = local_day(self.service.clock.now()) + timedelta(days=DAYS_TO_18)
        born = f"{soon.year - majority.AGE}{soon:%m%d}"
        child = person(first + PEOPLE, id_number=citizen_number(first + PEOPLE, born=born))
        added = self.service.other_app.post("/v1/cards", person(self.serials[0]))
        assert added.status_code == 200
        bond = {"relation": "2", "verification": {"method": "document-seen"}, "member": child}
        family = self.service.other_app.post(f"/v1/cards/{self.card_ids[0]}/family", bond)
        assert family.status_code == 201, family.text
        self.child, self.link = told(family)["card"]["card_id"], told(family)["link_id"]
        visit = {"name": "unknown", "sex": "male", "age": 40, "visit_at": self.service.clock.now().isoformat()}
        self.stranger = told(self.service.app.post("/v1/temporary-cards", visit))["card_id"]

    @rule(plans=_plans)
    def together(self, plans: list[list[Act]]) -> None:
        """Everybody starts at the same moment, each on connections of their own."""
        self.heard: list[int] = []
        with self.service.session() as session:
            rows = session.execute(
                text("SELECT id::text, version FROM card WHERE id = ANY(:ids)"), {"ids": self.card_ids}
            )
            self.versions: dict[str, int] = {row.id: row.version for row in rows}
        start = Barrier(len(plans))
        hands = [self._hand(plan, start) for plan in plans]
        with ThreadPoolExecutor(len(plans)) as pool:
            for done in [pool.submit(hand) for hand in hands]:
                done.result(timeout=120)
        assert len(self.heard) == len(set(self.heard))

    @rule(days=st.sampled_from([0, 1, 8]))
    def wait(self, days: int) -> None:
        """Acts of different rounds have different times; after eight days the temporary card is over."""
        self.service.clock.advance(timedelta(days=days, seconds=1).total_seconds())
        for api in (self.service.app, self.service.other_app, self.service.terminal):
            api.__post_init__()

    @invariant()
    def every_history_is_a_path(self) -> None:
        """Of all cards, in the order of their audit chains; and everything else that must hold."""
        histories.assert_serial(self.service)
        histories.assert_sound(self.service)
        with self.service.session() as session:
            for wrong in _WRONG:
                assert session.execute(text(wrong)).all() == []

    def _hand(self, plan: list[Act], start: Barrier) -> Callable[[], None]:
        apis = (self.service.app, self.service.other_app, self.service.terminal)
        clients = Clients(*(elsewhere(api, self.service.flask) for api in apis))
        acts: dict[str, Callable[[Clients, int, Any], object]] = {
            "move": self._move,
            "versioned": partial(self._move, versioned=True),
            "guardian": lambda by, who, how: self._post(by.other, self.child, who, how),
            "staff": lambda _, who, how: self._staff(who, how),
            "authority": lambda _, who, __: self._below(who, partial(self._apply, states.APPROVE, AUTHORITY)),
            "apply": self._apply_again,
            "change": self._change,
            "use": self._use,
            "family-end": self._end_family,
            "die": lambda _, who, __: self._die(who),
            "join": self._join,
            "expire": lambda *_: self._end_what_is_over(),
        }

        def run() -> None:
            start.wait(timeout=60)
            for what, who, how in plan:
                acts[what](clients, who, how)

        return run

    def _move(self, by: Clients, who: int, how: str, *, versioned: bool = False) -> None:
        named = {"If_Match": f'"{self.versions[self.card_ids[who]]}"'} if versioned else {}
        if self._post(by.app, self.card_ids[who], who, how, **named) == 200 and versioned:
            self.heard.append(who)

    def _post(self, api: Api, card_id: str, who: int, how: str, **headers: str) -> int:
        own = person(self.serials[who])
        proof = {name: own[name] for name in ("name", "id_type", "id_number", "verification")}
        body = {"reason": "r"} | ({"proof": proof} if how == "resume" else {})
        return expected(api.post(f"/v1/cards/{card_id}/{how}", body, **headers))

    def _apply_again(self, by: Clients, who: int, method: str) -> None:
        expected(by.app.post("/v1/cards", person(self.serials[who], verification=verification(method))))

    def _change(self, by: Clients, who: int, body: dict[str, Any]) -> None:
        headers = by.app.headers | {"If-Match": "*"}
        expected(by.app.http.patch(f"/v1/cards/{self.card_ids[who]}", json=body, headers=headers))

    def _use(self, by: Clients, who: int, wanted: dict[str, Any]) -> None:
        answer = by.app.post(f"/v1/cards/{self.card_ids[who]}/codes", wanted)
        if expected(answer) == 201:
            by.terminal.scan(told(answer)["code"])

    def _end_family(self, by: Clients, who: int, _: Any) -> None:
        expected(by.other.post(f"/v1/cards/{self.card_ids[0]}/family/{self.link}/end", {"reason": "r"}))

    def _die(self, who: int) -> None:
        now = self.service.clock.now()
        authority = OneDeath(Document("01", citizen_number(self.serials[who])), now)
        deaths.pull(authority, work=self.work, secrets=self.secrets, now=now)

    def _join(self, by: Clients, who: int, _: Any) -> None:
        wanted = {"card_id": self.card_ids[who], "reason": "r"}
        expected(by.app.post(f"/v1/temporary-cards/{self.stranger}/join", wanted))

    def _end_what_is_over(self) -> None:
        now = self.service.clock.now()
        temporary.expire(self.work, secrets=self.secrets, now=now)
        with self.service.session() as session:
            majority.end_guardianships(session, secrets=self.secrets, now=now)

    def _staff(self, who: int, how: Any) -> None:
        by, words = Acting("staff:1", Party.STAFF), Words("r")

        def act(session: Any, card: Any, now: Any) -> None:
            if how == "stop":
                lifecycle.stop(session, card, acting=by, words=words, secrets=self.secrets, now=now)
            elif how == "restore":
                closing.restore(session, card, by=by, words=words, registry=Registry(self.secrets), now=now)
            else:
                self._apply(how, by, session, card, now)

        self._below(who, act)

    def _apply(self, how: states.Move, by: Acting, session: Any, card: Any, now: Any) -> None:
        lifecycle.apply(session, card, how, acting=by, secrets=self.secrets, now=now, proved=True)

    def _below(self, who: int, act: Callable[[Any, Any, Any], None]) -> None:
        """Something that happens below HTTP, and may be refused."""
        try:
            with self.service.session() as session:
                act(session, cards.by_id(session, UUID(self.card_ids[who])), self.service.clock.now())
        except EhcError as refused:
            if refused.code not in {"card-state", "card-cancelled", "held-by-staff"}:
                raise


def expected(answer: Any) -> int:
    """The status of an answer that the service may give; a deadlock would be 503, which nobody expects."""
    assert answer.status_code in {200, 201, 404, 409, 412}, answer.text
    return int(answer.status_code)


def test_several_at_once_leave_what_one_after_the_other_could_have_left(service: Service) -> None:
    Crowd.service, Crowd.born = service, 0
    profile = settings(max_examples=20, stateful_step_count=8, suppress_health_check=list(HealthCheck), deadline=None)
    run_state_machine_as_test(Crowd, settings=profile)
    with service.session() as session:
        made = set(session.scalars(text("SELECT DISTINCT action FROM card_event")))
    assert made >= {"suspended", "loss-reported", "cancelled", "resumed", "deceased", "restored", "closed", "joined"}
    assert made & {"held", "revived", "approved", "family-ended", "identity-changed"}
