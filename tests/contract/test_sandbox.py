"""The sandbox: its clients see synthetic people and nobody else, and nobody else sees those."""

from dataclasses import dataclass
from uuid import UUID

import pytest
from sqlalchemy import select, text

from ehc.access import clients
from ehc.callers import Scope
from ehc.cards import store as cards
from ehc.cards.models import CardRow
from ehc.cards.store import NoSuchCard
from tests.contract.helpers import problem
from tests.support import families
from tests.support.service import Api, Service, person, told


@dataclass
class World:
    """A service with clients of both worlds; the same person is registered in each."""

    service: Service
    app: Api
    terminal: Api
    real: str
    synthetic: str


@pytest.fixture
def world(service: Service) -> World:
    now = service.clock.now()
    with service.session() as session:
        scopes = frozenset({Scope.CARDS, Scope.CODES, Scope.BINDINGS, Scope.BATCH})
        app = clients.add_app(session, name="沙箱", scopes=scopes, sandbox=True, now=now)
        owner = clients.institution(session, "H1")
        clients.allow_static(session, owner, True, now=now)
        terminal = clients.add_terminal(session, name="沙箱", terminal_code="S1", owner=owner, sandbox=True, now=now)
    api, reader = Api(service.client(), app), Api(service.client(), terminal)
    return World(service, api, reader, service.app.register(1)["card_id"], api.register(1)["card_id"])


def test_the_same_person_is_two_people_in_two_worlds(world: World) -> None:
    assert world.real != world.synthetic
    with world.service.session() as session:
        found = {row.id: row.sandbox for row in session.execute(select(CardRow.id, CardRow.sandbox))}
    assert found == {UUID(world.real): False, UUID(world.synthetic): True}
    assert world.service.app.register(1)["card_id"] == world.real
    assert world.app.register(1)["card_id"] == world.synthetic


def test_the_sandbox_tells_nobody_the_card_id_of_a_real_person(world: World) -> None:
    """Else it would make the static code of anybody whose name and number one knows."""
    real = told(world.service.app.get(f"/v1/cards/{world.real}"))
    synthetic = told(world.app.get(f"/v1/cards/{world.synthetic}"))
    assert real["ehc_id"] != synthetic["ehc_id"]


def test_another_name_for_the_same_document_tells_nothing_of_the_other_world(world: World) -> None:
    world.service.app.register(2)
    other = person(2, name="李四")
    assert world.app.post("/v1/cards", other).status_code == 201  # in the real world it is an identity-mismatch
    assert problem(world.service.app.post("/v1/cards", other)) == (409, "identity-mismatch")
    world.app.register(3)
    assert world.service.app.post("/v1/cards", person(3, name="李四")).status_code == 201


@pytest.mark.parametrize("format_", ["signed", "national"])
def test_codes_count_in_their_own_world_alone(world: World, format_: str) -> None:
    wanted = {"format": format_, "kind": "dynamic"}
    real = told(world.service.app.post(f"/v1/cards/{world.real}/codes", wanted))["code"]
    synthetic = told(world.app.post(f"/v1/cards/{world.synthetic}/codes", wanted))["code"]
    for terminal, code in ((world.terminal, real), (world.service.terminal, synthetic)):
        answer = terminal.scan(code)
        assert (answer["outcome"], answer["reason"]) == ("rejected", "not-issued")
        assert answer.get("resident") is None
        assert answer.get("card") is None
    assert world.service.terminal.scan(real)["outcome"] == "accepted"  # that it was shown elsewhere used nothing up
    assert world.terminal.scan(synthetic)["outcome"] == "accepted"


@pytest.mark.parametrize("format_", ["signed", "national"])
def test_printed_and_static_codes_count_in_their_own_world_alone(world: World, format_: str) -> None:
    wanted = {"format": format_, "kind": "static"}
    for api, card in ((world.service.app, world.real), (world.app, world.synthetic)):
        tag = api.get(f"/v1/cards/{card}").headers["ETag"]
        headers = api.headers | {"If-Match": tag}
        assert api.http.patch(f"/v1/cards/{card}", json={"static_codes": True}, headers=headers).status_code == 200
    real = told(world.service.app.post(f"/v1/cards/{world.real}/codes", wanted))["code"]
    synthetic = told(world.app.post(f"/v1/cards/{world.synthetic}/codes", wanted))["code"]
    for terminal, code in ((world.terminal, real), (world.service.terminal, synthetic)):
        for more in ({}, {"second_factor": {"phone_last4": "8000"}}, {"second_factor": {"document_seen": True}}):
            answer = terminal.post("/v1/verifications", {"code": code, "step": "registration", **more})
            if answer.status_code == 200:
                assert told(answer)["reason"] == "not-issued"
                assert told(answer).get("resident") is None
    assert world.service.terminal.scan(real)["outcome"] == "accepted"
    assert world.terminal.scan(synthetic)["outcome"] == "accepted"


def test_temporary_codes_count_in_their_own_world_alone(world: World) -> None:
    body = {"name": "unknown", "sex": "1", "age": 40, "visit_at": world.service.clock.now().isoformat()}
    real = told(world.service.app.post("/v1/temporary-cards", body))["code"]
    synthetic = told(world.app.post("/v1/temporary-cards", body))["code"]
    assert world.terminal.scan(real)["reason"] == "not-issued"
    assert world.service.terminal.scan(synthetic)["reason"] == "not-issued"
    assert world.service.terminal.scan(real)["outcome"] == world.terminal.scan(synthetic)["outcome"] == "accepted"


def test_no_app_reads_or_acts_on_a_card_of_the_other_world(world: World) -> None:
    for api, card in ((world.app, world.real), (world.service.app, world.synthetic)):
        for answer in (
            api.get(f"/v1/cards/{card}"),
            api.get(f"/v1/cards/{card}/verifications"),
            api.post(f"/v1/cards/{card}/codes", {}),
            api.post(f"/v1/cards/{card}/suspend", {"reason": "x"}),
            api.get(f"/v1/cards/{card}/family"),
        ):
            assert problem(answer) == (404, "card-not-found")


def test_a_grant_across_worlds_cannot_be_given(world: World) -> None:
    """Whatever calls for it: the statement that gives grants looks at both."""
    with world.service.session() as session:
        ids = {name: clients.named(session, api.credentials.client_id).id for name, api in _apps(world).items()}
        for card_id, client in ((world.real, ids["sandbox"]), (world.synthetic, ids["real"])):
            card = cards.by_id(session, UUID(card_id))
            assert not cards.grant(session, card, client, at=world.service.clock.now())
            with pytest.raises(NoSuchCard):
                cards.granted(session, card.id, client, at=world.service.clock.now())


def _apps(world: World) -> dict[str, Api]:
    return {"real": world.service.app, "sandbox": world.app}


def test_what_reaches_outside_is_not_in_the_sandbox(world: World) -> None:
    card = world.synthetic
    for answer in (
        world.app.post("/v1/phone-proofs", {"phone": "13800138000"}),
        world.app.get(f"/v1/cards/{card}/bindings"),
        world.app.post(f"/v1/cards/{card}/bindings/bank-accounts", {}),
        world.app.post("/v1/imports"),
        world.app.get(f"/v1/cards/{card}/consents"),
        world.terminal.get("/v1/blacklist"),
        world.terminal.post("/v1/patient-ids/changes", {}),
    ):
        assert problem(answer) == (403, "not-in-sandbox")


def test_every_route_of_clients_says_whether_it_is_in_the_sandbox(world: World) -> None:
    """A new blueprint is not, until somebody has looked at what it finds and whom it tells."""
    open_ = {"cards", "codes", "temporary", "family", "verifications", "card_history"}
    others = {"usage", "terminal_enrolling"}  # the staff's, and for whoever holds a one-time code
    found = set()
    for rule in world.service.flask.url_map.iter_rules():
        blueprint = rule.endpoint.partition(".")[0]
        path = rule.rule
        if not path.startswith("/v1") or path.startswith(("/v1/admin", "/v1/bank-notices")):
            continue
        for name, _ in rule._converters.items():
            path = path.replace(f"<uuid:{name}>", world.real)
        method = next(iter(sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})))
        for api in (world.app, world.terminal):
            answer = api.http.open(path, method=method, json={}, headers=api.headers)
            if answer.status_code != 403 or told(answer)["code"] != "not-in-sandbox":
                found.add(blueprint)
    assert found == open_ | others


def test_the_family_is_of_one_world(world: World) -> None:
    """A guardian of the sandbox who names a real child's document adds another child."""
    real = families.add(world.service.app, world.real, families.wanted(5))
    synthetic = families.add(world.app, world.synthetic, families.wanted(5))
    assert real["card"]["card_id"] != synthetic["card"]["card_id"]
    with world.service.session() as session:
        pairs = session.execute(
            text("SELECT m.sandbox, g.sandbox FROM family_link f JOIN card m ON m.resident_id = f.member_id"
                 " JOIN card g ON g.resident_id = f.guardian_id ORDER BY 1")
        ).all()  # fmt: skip
    assert [tuple(pair) for pair in pairs] == [(False, False), (True, True)]
    assert problem(world.app.get(f"/v1/cards/{real['card']['card_id']}")) == (404, "card-not-found")
    assert problem(world.service.app.get(f"/v1/cards/{synthetic['card']['card_id']}")) == (404, "card-not-found")


def test_a_check_asks_no_more_statements_for_it(world: World) -> None:
    code = world.service.app.code(world.real)
    world.service.terminal.scan(code)  # the token is remembered now
    with world.service.statements() as sent:
        world.service.terminal.scan(world.service.app.code(world.real))
    assert len(sent) == 2  # one to issue, one to check
