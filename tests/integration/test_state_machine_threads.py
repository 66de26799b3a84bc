"""Random moves, valid and not, by several at once: hypothesis draws who does what, threads do it, and the database decides.

Each round draws a plan for two to six hands: residents, guardians, staff, the authority, the clock. They start together. Then
the history of every card has to be a path of the table of moves, in the order in which its audit chain took the acts: whatever
was answered could have happened one after the other. What fails is made smaller, to the fewest acts that still do.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any, ClassVar
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from ehc.cards import states
from ehc.cards import store as cards
from ehc.cards.states import Party
from ehc.cards.store import Acting
from ehc.core.documents import Document
from ehc.db import unit_of_work
from ehc.issuer import deaths, lifecycle, temporary
from tests.contract.helpers import elsewhere
from tests.integration import histories
from tests.integration.card_desk import OneDeath
from tests.integration.test_move_races import service
from tests.support.national import secrets_of
from tests.support.service import Service, citizen_number, person, told

__all__ = ["service"]

PEOPLE = 3
MOVES = ("suspend", "report-loss", "resume", "cancel", "close")
STAFF = (states.SUSPEND, states.RESUME, states.REPORT_LOSS, states.RECOVER, states.CANCEL)
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
    st.tuples(st.just("guardian"), _who, st.sampled_from(MOVES[:3])),
    st.tuples(st.just("staff"), _who, st.sampled_from(STAFF)),
    st.tuples(st.just("apply"), _who, st.sampled_from(["document-seen", "clerk"])),
    st.tuples(st.just("change"), _who, st.sampled_from(CHANGES)),
    st.tuples(st.just("use"), _who, st.sampled_from(CODES)),
    st.tuples(st.just("die"), _who, st.none()),
    st.tuples(st.just("join"), _who, st.none()),
    st.tuples(st.just("expire"), _who, st.none()),
)
Act = tuple[str, int, Any]
_plans = st.lists(st.lists(_acts, min_size=1, max_size=4), min_size=2, max_size=6)


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
        child = person(first + PEOPLE, id_number=citizen_number(first + PEOPLE, born="20200101"))
        added = self.service.other_app.post("/v1/cards", person(self.serials[0]))
        assert added.status_code == 200
        bond = {"relation": "2", "verification": {"method": "document-seen"}, "member": child}
        family = self.service.other_app.post(f"/v1/cards/{self.card_ids[0]}/family", bond)
        assert family.status_code == 201, family.text
        self.child = told(family)["card"]["card_id"]
        visit = {"name": "unknown", "sex": "male", "age": 40, "visit_at": self.service.clock.now().isoformat()}
        self.stranger = told(self.service.app.post("/v1/temporary-cards", visit))["card_id"]

    @rule(plans=_plans)
    def together(self, plans: list[list[Act]]) -> None:
        """Everybody starts at the same moment, each on connections of their own."""
        start = Barrier(len(plans))
        hands = [self._hand(plan, start) for plan in plans]
        with ThreadPoolExecutor(len(plans)) as pool:
            for done in [pool.submit(hand) for hand in hands]:
                done.result(timeout=120)

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

    def _hand(self, plan: list[Act], start: Barrier) -> Callable[[], None]:
        app, other, terminal = (
            elsewhere(api, self.service.flask)
            for api in (self.service.app, self.service.other_app, self.service.terminal)
        )

        def run() -> None:
            start.wait(timeout=60)
            for what, who, how in plan:
                self._act(app, other, terminal, what, who, how)

        return run

    def _act(self, app: Any, other: Any, terminal: Any, what: str, who: int, how: Any) -> None:  # noqa: PLR0917
        path = f"/v1/cards/{self.card_ids[who]}"
        if what in {"move", "guardian"}:
            api, path = (other, f"/v1/cards/{self.child}") if what == "guardian" else (app, path)
            own = person(self.serials[who])
            proof = {name: own[name] for name in ("name", "id_type", "id_number", "verification")}
            expected(api.post(f"{path}/{how}", {"reason": "r"} | ({"proof": proof} if how == "resume" else {})))
        elif what == "staff":
            self._staff(who, how)
        elif what == "apply":
            expected(app.post("/v1/cards", person(self.serials[who], verification={"method": how})))
        elif what == "change":
            expected(app.http.patch(path, json=how, headers=app.headers | {"If-Match": "*"}))
        elif what == "use":
            answer = app.post(f"{path}/codes", how)
            if expected(answer) == 201:
                terminal.scan(told(answer)["code"])
        elif what == "die":
            authority = OneDeath(Document("01", citizen_number(self.serials[who])), self.service.clock.now())
            deaths.pull(authority, work=self.work, secrets=self.secrets, now=self.service.clock.now())
        elif what == "join":
            wanted = {"card_id": self.card_ids[who], "reason": "r"}
            expected(app.post(f"/v1/temporary-cards/{self.stranger}/join", wanted))
        else:
            temporary.expire(self.work, secrets=self.secrets, now=self.service.clock.now())

    def _staff(self, who: int, how: states.Move) -> None:
        by = Acting("staff:1", Party.STAFF)
        try:
            with self.service.session() as session:
                card = cards.by_id(session, UUID(self.card_ids[who]))
                now = self.service.clock.now()
                lifecycle.apply(session, card, how, acting=by, secrets=self.secrets, now=now, proved=True)
        except cards.Conflict:
            return


def expected(answer: Any) -> int:
    """The status of an answer that the service may give; a deadlock would be 503, which nobody expects."""
    assert answer.status_code in {200, 201, 404, 409}, answer.text
    return int(answer.status_code)


def test_several_at_once_leave_what_one_after_the_other_could_have_left(service: Service) -> None:
    Crowd.service, Crowd.born = service, 0
    profile = settings(max_examples=12, stateful_step_count=8, suppress_health_check=list(HealthCheck), deadline=None)
    run_state_machine_as_test(Crowd, settings=profile)
    with service.session() as session:
        made = set(session.scalars(text("SELECT DISTINCT action FROM card_event")))
    assert made >= {"suspended", "loss-reported", "cancelled", "resumed", "deceased", "restored"}
