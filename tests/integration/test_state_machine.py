"""Random moves, allowed and not, against the real database; a model says what every answer and every scan has to be."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from secrets import randbelow
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from ehc.cards import states
from ehc.cards import store as cards
from ehc.cards.states import Level, Party
from ehc.cards.store import Acting
from ehc.core.documents import Document
from ehc.db import unit_of_work
from ehc.issuer import deaths, lifecycle, temporary
from ehc.settings import Settings
from tests.integration import histories
from tests.integration.card_desk import TERMINALS, Desk, OneDeath, number, passport, verification
from tests.integration.card_model import (
    HELD,
    LIVE,
    METHODS,
    NOT_FOUND,
    OK,
    STATE,
    Answer,
    Life,
    Shown,
)
from tests.support.service import Service, told

PATHS = {"suspended": "suspend", "loss-reported": "report-loss", "cancelled": "cancel"}
STAFF_MOVES = {
    how.name: how
    for how in (states.SUSPEND, states.RESUME, states.REPORT_LOSS, states.RECOVER, states.CANCEL, states.DIE)
}
MOST = 6
"""Cards of one run: few, so that much happens to each."""
which, app_names = [0, 0, 0, 1, 1, *range(2, MOST)], ["app", "app", "other_app"]
rarely = [True] + 5 * [False]


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    """Self-declared identities wait for review; cards are counted from a place of their own, since Redis is shared."""
    wide: dict[str, Any] = {"codes_per_minute": 10**6, "family_members": 20, "temporary_days": 1}
    made = Service.start(replace(settings, reviewed_levels=frozenset({Level.SELF_DECLARED}), **wide))
    with made.session() as session:
        session.execute(text(f"ALTER SEQUENCE card_serial_seq RESTART WITH {1 + randbelow(2**50)}"))
        session.execute(text("UPDATE institution SET static_allowed = true"))
    yield made
    made.stop()


STEPS: dict[str, tuple[Callable[..., None], dict[str, Sequence[Any]]]] = {}


def step(**drawn: Sequence[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """One thing that can happen. Not a rule of its own: of many rules a run would pick a few, and leave out the rest."""

    def known(act: Callable[..., None]) -> Callable[..., None]:
        STEPS[act.__name__] = act, drawn
        return act

    return known


class Machine(Desk):
    """Some people, two apps, staff, the authority, and time: what can happen to them, in any order."""

    @step(app=app_names, kind=["child", "unknown", "traveller", *METHODS], n=which)
    def newcomer(self, app: str, kind: str, n: int) -> None:
        if len(self.lives) == MOST:
            return
        if kind == "unknown":
            self.arrive(app)
        elif kind == "child":
            self.add_child(app, self.pick(n))
        elif kind == "traveller":
            self.register(app, "document-seen", "03")
        else:
            self.register(app, kind)

    @step(n=which, app=app_names, method=METHODS)
    def register_again(self, n: int, app: str, method: str) -> None:
        life = self.pick(n, "restored", "applied-again")
        if life.kind == "temporary" or not life.documents:
            return
        expected = life.applied(method, self.now)
        if expected == OK:
            life.grants[app] = "own"
            life.filled()
        body = self.application(life, method, phone="13800138000")
        self.told(self.api(app).post("/v1/cards", body), expected, life)

    @step(n=which, approve=[True, False])
    def review(self, n: int, approve: bool) -> None:
        life = self.pick(n, "approved")

        def act(session: Any) -> None:
            card, facts = cards.by_id(session, UUID(life.card_id)), {"actor": "reviewer:1", "reason": "r"}
            lifecycle.review(session, card, approve=approve, secrets=self.secrets, now=self.now, **facts)

        self.below(act, life.move("approved" if approve else "rejected", self.now))

    @step(n=which, who=["app", "app", "other_app", "staff"], how=sorted(STAFF_MOVES))
    def move(self, n: int, who: str, how: str) -> None:
        life = self.pick(n, how)
        if who == "staff":
            self._staff(life, how)
        elif how in PATHS:
            seen = life.grants.get(who)
            expected = {None: NOT_FOUND, "closed": STATE}.get(seen) or life.move(how, self.now)
            self.told(self.api(who).post(f"/v1/cards/{life.card_id}/{PATHS[how]}", {"reason": "r"}), expected, life)
        else:
            self.resume(n, who, "clerk" if how == "recovered" else None)

    @step(n=which, app=app_names, proof=[None, "name", "stranger", "clerk", *METHODS])
    def resume(self, n: int, app: str, proof: str | None) -> None:
        body: dict[str, Any] = {"reason": "r"}
        life = self.pick(n, "resumed", "recovered")
        if proof is not None:
            method = proof if proof in METHODS else "clerk"
            id_number = number() if proof == "stranger" or not life.documents else life.documents[0][1]
            id_type = "01" if proof == "stranger" or not life.documents else life.documents[0][0]
            name = "李四" if proof == "name" else life.name
            body["proof"] = {
                "name": name,
                "id_type": id_type,
                "id_number": id_number,
                "verification": verification(method),
            }
        expected = life.resumed(app, proof, self.now)
        self.told(self.api(app).post(f"/v1/cards/{life.card_id}/resume", body), expected, life)

    def _staff(self, life: Life, how: str) -> None:
        def act(session: Any) -> None:
            card, by = cards.by_id(session, UUID(life.card_id)), Acting("staff:1", Party.STAFF)
            lifecycle.apply(session, card, STAFF_MOVES[how], acting=by, secrets=self.secrets, now=self.now, proved=True)

        self.below(act, life.move(how, self.now, staff=True))

    @step(n=which, now=rarely)
    def death_notice(self, n: int, now: bool) -> None:
        life = self.pick(n)
        if not now or not life.documents:
            return
        life.move("deceased", self.now)
        authority = OneDeath(Document(*life.documents[-1]), self.now)
        deaths.pull(authority, work=unit_of_work(self.service.engine), secrets=self.secrets, now=self.now)
        self.tick()

    @step(n=which, app=app_names, what=["name", "number"], method=METHODS)
    def change_identity(self, n: int, app: str, what: str, method: str) -> None:
        life = self.pick(n)
        id_type = life.documents[0][0] if life.documents else "01"
        fresh = number() if id_type == "01" else passport()
        new = {"name": f"王{self.given_name()}"} if what == "name" else {"id_number": fresh}
        if what == "number" and life.child:
            return  # another birth date is another age: tests of families change those
        expected = life.renamed(app, method)
        answer = self.patch(app, life, new | {"verification": verification(method)}, expected)
        if expected == OK:
            life.note("identity-changed")
            life.level, life.name = method, new.get("name", life.name)
            if what == "number":
                life.documents.insert(0, (id_type, fresh))
            life.close(self.now - timedelta(microseconds=1))
            life.stop_print("card-cancelled")
            life.ehc_id = told(answer)["ehc_id"]
            assert answer.headers["ETag"] == f'"{life.version}"'

    @step(n=which, m=which, app=app_names, method=METHODS, of_another=[True, False, False])
    def link_document(self, n: int, m: int, app: str, method: str, of_another: bool) -> None:
        life, other = self.pick(n), self.pick(m if of_another else n)
        if other.kind == "temporary":
            self._join(other, life, app)
            return
        if life.children or other.children or life.guardian or other.guardian:
            return  # tests of families join those
        known = other is not life and other.documents
        document = other.documents[-1] if known else ("03", passport())
        name = other.name if known else life.name
        expected = life.linked(other if known else None, app, method)
        if expected == OK:
            if known:
                life.documents += other.documents
                other.documents = []
                if other.status in LIVE:
                    other.move("joined", self.now)
                    life.note("joined-with")
            else:
                life.documents.append(document)
            life.note("document-linked")
        proof = {"id_type": document[0], "id_number": document[1], "verification": verification(method)}
        answer = self.api(app).post(f"/v1/cards/{life.card_id}/documents", {"name": name, **proof})
        self.told(answer, expected, life)

    def _join(self, patient: Life, formal: Life, app: str) -> None:
        seen = {"own", "guardian", "closed"} if patient.cause == "expired" else {"own", "guardian"}
        if patient.grants.get(app) not in seen or formal.grants.get(app) not in {"own", "guardian"}:
            expected: Answer = NOT_FOUND
        elif patient.kind == "formal" or formal.kind == "temporary":
            expected = STATE
        elif patient.held:
            expected = HELD
        elif formal.status != "active":
            expected = STATE
        else:
            expected = patient.move("joined", self.now)
        if expected == OK:
            formal.note("joined-with")
        path = f"/v1/temporary-cards/{patient.card_id}/join"
        self.told(self.api(app).post(path, {"card_id": formal.card_id, "reason": "r"}), expected, formal)

    @step(n=which, app=app_names, kind=["signed", "national", "print", "static"], switch=rarely)
    def issue(self, n: int, app: str, kind: str, switch: bool) -> None:
        life = self.pick(n)
        if kind in {"print", "static"}:
            self.switch_static(life, app, not switch)
        expected: Answer = life.issued(app, kind)
        before = self.now
        body = {"format": "national" if kind in {"national", "static"} else "signed"}
        body["kind"] = "static" if kind in {"print", "static"} else "dynamic"
        answer = self.told(self.api(app).post(f"/v1/cards/{life.card_id}/codes", body), expected)
        if expected != (201, None):
            return
        at = before
        if kind == "signed":
            at = (max(before, life.closed + timedelta(seconds=1)) if life.closed else before).replace(microsecond=0)
        elif kind == "national" and life.closed:
            at = max(before, life.closed + timedelta(microseconds=1))
        elif kind == "print":
            life.stop_print("expired")
            life.events["printed"] += 1
        elif kind == "static":
            life.events["static-code"] += 1
        ends = datetime.fromisoformat(answer["expires_at"]) if answer["expires_at"] else None
        life.codes.append(Shown(kind, answer["code"], at, ends, life.ehc_id, app))

    @step(n=which, terminal=TERMINALS)
    def scan(self, n: int, terminal: str) -> None:
        self.scan_all(self.pick(n), terminal)

    @step(seconds=[0.4, 1, 4, 5.5, 9, 61, 66, 106, 30_000, 86_401])
    def wait(self, seconds: float) -> None:
        self.service.clock.advance(seconds)
        if self.now > self.logged_in + timedelta(minutes=8):
            self.log_in()

    @step()
    def end_what_is_over(self) -> None:
        over = [life for life in self.lives if life.ends and life.ends <= self.now and life.status in LIVE]
        for life in over:
            life.move("expired", self.now)
        temporary.expire(unit_of_work(self.service.engine), secrets=self.secrets, now=self.now)
        self.tick()

    @initialize(chance=st.randoms(use_true_random=True))
    def begin(self, chance: Random) -> None:
        """Chance of its own, seeded by hypothesis: what hypothesis draws step by step comes in clusters of the same."""
        self.chance = chance

    @rule()
    def happens(self) -> None:
        act, drawn = STEPS[self.chance.choice(sorted(STEPS))]
        chosen = {name: self.chance.choice(choices) for name, choices in drawn.items()}
        note(f"{act.__name__} {chosen}")
        act(self, **chosen)

    @invariant()
    def the_database_says_what_the_model_says(self) -> None:
        with self.service.session() as session:
            wanted = "SELECT id, status, cause, level, held_by, static_allowed, version FROM card WHERE id = ANY(:ids)"
            rows = session.execute(text(wanted), {"ids": [life.card_id for life in self.lives]})
            found = {str(row.id): tuple(row)[1:] for row in rows}
        for life in self.lives:
            held = "staff" if life.held else None
            expected = (life.status, life.cause, life.level, held, life.static, life.version)
            assert found[life.card_id] == expected, life

    def teardown(self) -> None:
        for life in self.lives:
            self.scan_all(life, "terminal")
        with self.service.session() as session:
            wanted = "SELECT action FROM card_event JOIN card ON serial = card_serial WHERE card.id = :id"
            for life in self.lives:
                actions = Counter(session.scalars(text(wanted), {"id": life.card_id}))
                assert actions == life.events, (actions, life.events, life)


def test_every_answer_and_every_scan_is_the_one_that_the_model_expects(service: Service) -> None:
    Machine.service = service
    profile = settings(
        max_examples=20,
        stateful_step_count=100,
        phases=[Phase.generate],  # each step costs calls and commits: what failed is told as it was, not made smaller
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Machine, settings=profile)
    histories.assert_hold(service)
    with service.session() as session:
        made = set(session.scalars(text("SELECT DISTINCT action FROM card_event")))
    assert made >= histories.MOVED - {"closed", "held", "revived"}  # else the runs are too few to tell anything
