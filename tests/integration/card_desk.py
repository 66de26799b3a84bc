"""What a run of random moves stands on: people, two apps, the clock, and the model of each card beside the card."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine
from werkzeug.test import TestResponse

from ehc.core.documents import Document
from ehc.errors import EhcError
from ehc.outside.identity_authority import DeathNotice, DeathPage
from tests.integration.card_model import FROM, NOT_FOUND, OK, REVIEWED, STATE, Answer, Life, Shown
from tests.support import families
from tests.support.national import secrets_of
from tests.support.service import Api, Service, citizen_number, told

APPS, TERMINALS = ("app", "other_app"), ("terminal", "second_terminal")
CLERK = {"name": "李办事", "number": "0713"}
serials = count()


def verification(method: str) -> dict[str, Any]:
    return {"method": method} | ({"clerk": CLERK} if method == "clerk" else {})


def number(born: str = "1990") -> str:
    """A citizen id that no test of this process had before."""
    serial = next(serials)
    month, day = divmod(serial // 999 % 336, 28)
    return citizen_number(serial % 999, born=f"{born}{month + 1:02}{day + 1:02}")


def passport() -> str:
    """A passport that no test of this process had before."""
    return f"E{10**7 + next(serials) % 10**7}"


class OneDeath:
    """An authority that tells of one death, to whoever asks."""

    def __init__(self, document: Document, on: datetime) -> None:
        self._page = DeathPage((DeathNotice(f"n-{next(serials)}", document, on.date()),), (), "c", False)

    def ask(self, person: Any) -> Any:
        raise NotImplementedError

    def deaths(self, since: str | None) -> DeathPage:
        return self._page


class Desk(RuleBasedStateMachine):
    """Some people, two apps, staff, the authority, and time."""

    service: Service

    def __init__(self) -> None:
        super().__init__()
        self.lives: list[Life] = []
        self.secrets = secrets_of(self.service)
        self.log_in()
        for name in APPS:
            self.register(name, "document-seen")
        self.register("app", REVIEWED, "03")
        self.add_child("app", self.lives[0])
        self.arrive("app")

    def log_in(self) -> None:
        self.logged_in = self.now
        for name in (*APPS, *TERMINALS):
            self.api(name).__post_init__()

    @property
    def now(self) -> datetime:
        return self.service.clock.now()

    def api(self, name: str) -> Api:
        found: Api = getattr(self.service, name)
        return found

    def pick(self, n: int, *actions: str) -> Life:
        """One of the cards; those first for which one of these moves is allowed, so that about half of all moves are."""
        fit = [life for life in self.lives if any(life.status in FROM[action] for action in actions)]
        lives = fit + [life for life in self.lives if life not in fit]
        return lives[n % len(lives)]

    def tick(self) -> None:
        """Events of one moment have no order, so no two steps are of one moment."""
        self.service.clock.at += timedelta(microseconds=1)

    def told(self, answer: TestResponse, expected: Answer, life: Life | None = None) -> dict[str, Any]:
        """The body of an answer, which is the one that was expected; with the version that the card should have."""
        body = told(answer)
        code = None if answer.status_code < 300 else body["code"]
        assert (answer.status_code, code) == expected, (body, life)
        if life is not None and expected == OK and life.status != "cancelled":
            assert answer.headers["ETag"] == f'"{life.version}"'
        self.tick()
        return body

    def application(self, life: Life, method: str, **changes: Any) -> dict[str, Any]:
        id_type, id_number = life.documents[0]
        proof = {"id_type": id_type, "id_number": id_number, "verification": verification(method)}
        return {"name": life.name, **proof} | changes

    def register(self, app: str, method: str, id_type: str = "01") -> Life:
        fresh = number() if id_type == "01" else passport()
        body = {"name": "王小明", "id_type": id_type, "id_number": fresh, "phone": "13800138000"}
        card = self.told(self.api(app).post("/v1/cards", body | {"verification": verification(method)}), (201, None))
        status = "pending-review" if method == REVIEWED else "active"
        documents = [(id_type, fresh)]
        life = Life(card["card_id"], "formal", "王小明", documents, method, status, card["ehc_id"], grants={app: "own"})
        self.lives.append(life)
        return life

    def below(self, act: Callable[[Any], None], expected: Answer) -> None:
        """Something that staff or a job does, below HTTP."""
        code = None
        try:
            with self.service.session() as session:
                act(session)
        except EhcError as error:
            code = error.code
        assert code == expected[1]
        self.tick()

    def patch(self, app: str, life: Life, body: dict[str, Any], expected: Answer) -> TestResponse:
        headers = self.api(app).headers | {"If-Match": "*"}
        answer = self.api(app).http.patch(f"/v1/cards/{life.card_id}", json=body, headers=headers)
        self.told(answer, expected)
        return answer

    def switch_static(self, life: Life, app: str, on: bool) -> None:
        expected = OK if life.grants.get(app) in {"own", "guardian"} else NOT_FOUND
        if expected == OK and life.status == "lost":
            expected = STATE
        if expected == OK and life.static is not on:
            life.static, life.static_by_guardian = on, life.grants[app] == "guardian"
            life.note("changed")
            if not on:
                life.stop_print("static-not-allowed")
        self.patch(app, life, {"static_codes": on}, expected)

    def add_child(self, app: str, guardian: Life) -> None:
        child = number("2020")
        if guardian.kind == "temporary" or guardian.child:
            return
        expected: Answer = (201, None) if guardian.status == "active" else (409, "guardian-not-active")
        if guardian.grants.get(app) != "own":
            expected = NOT_FOUND
        body = families.wanted(1)
        body["member"] |= {"id_number": child, "phone": "13800138000"}
        answer = self.told(families.post(self.api(app), guardian.card_id, body), expected)
        if expected == (201, None):
            card = answer["card"]
            events = Counter(["registered", "family-added"])
            life = Life(card["card_id"], "formal", "王小宝", [("01", child)], "document-seen", "active", card["ehc_id"])
            life.phone_by_guardian = True
            life.child, life.version, life.grants, life.guardian, life.events = (
                True,
                2,
                {app: "guardian"},
                guardian,
                events,
            )
            guardian.children.append(life)
            guardian.events["family-added"] += 1
            self.lives.append(life)

    def arrive(self, app: str) -> None:
        body = {"name": "unknown", "sex": "male", "age": 40, "visit_at": self.now.isoformat()}
        card = self.told(self.api(app).post("/v1/temporary-cards", body), (201, None))
        ends = self.now - timedelta(microseconds=1) + timedelta(days=1)
        life = Life(card["card_id"], "temporary", "未知", [], "none", "active", None, ends=ends, grants={app: "own"})
        life.codes.append(Shown("temporary", card["code"], self.now, None, None, app))
        self.lives.append(life)

    def scan_all(self, life: Life, terminal: str) -> None:
        for code in life.codes:
            reason = life.scan(code, terminal, self.now)
            answer = self.api(terminal).scan(code.text)
            assert (answer["outcome"], answer["reason"]) == ("rejected" if reason else "accepted", reason), (code, life)
            self.tick()

    @staticmethod
    def given_name() -> str:
        """A given name that nobody had before: with an old name old ids come back."""
        return "".join("零一二三四五六七八九"[int(digit)] for digit in str(next(serials)))
