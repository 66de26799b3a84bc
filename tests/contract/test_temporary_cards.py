"""Temporary cards: made for somebody whom nobody can name, unverified everywhere, over by themselves, joined later."""

from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from ehc.audit.links import chain_of
from ehc.cards import states
from ehc.cards import store as cards
from ehc.cards.states import Move, Party
from ehc.cards.store import Acting
from ehc.commands.cards import cards as cards_command
from ehc.db import unit_of_work
from ehc.issuer import lifecycle, temporary
from ehc.verify.reasons import TEMPORARY_ADVICE, Reason
from tests.contract.helpers import at_once, poster, problem, row_counts, secrets_of, wrong
from tests.support.families import add, wanted
from tests.support.service import Api, Service
from tests.support.service import told as answered


def arrival(service: Service, **changes: Any) -> dict[str, Any]:
    return {"name": "unknown", "sex": "male", "age": 40, "visit_at": service.clock.now().isoformat()} | changes


def made(service: Service, **changes: Any) -> dict[str, Any]:
    answer = service.app.post("/v1/temporary-cards", arrival(service, **changes))
    assert answer.status_code == 201, answer.text
    return answered(answer)


def expire(service: Service) -> int:
    return temporary.expire(unit_of_work(service.engine), secrets=secrets_of(service), now=service.clock.now())


def act(service: Service, card_id: str, how: Move, party: Party = Party.STAFF) -> None:
    with service.session() as session:
        card, by = cards.by_id(session, UUID(card_id)), Acting("staff:1", party)
        lifecycle.apply(session, card, how, acting=by, secrets=secrets_of(service), now=service.clock.now())


def join(service: Service, card_id: str, formal: str, api: Api | None = None) -> Any:
    return (api or service.app).post(f"/v1/temporary-cards/{card_id}/join", {"card_id": formal, "reason": "家属认出"})


def events_of(service: Service, card_id: str) -> list[tuple[str, str]]:
    wanted = "SELECT action, event.party FROM card_event AS event JOIN card ON serial = card_serial WHERE card.id = :id"
    with service.session() as session:
        rows = session.execute(text(f"{wanted} ORDER BY event.at, event.id"), {"id": card_id})
        return [(row.action, row.party) for row in rows]


def later(service: Service, seconds: float) -> Service:
    """The clock moved, with new tokens where the old ones have passed."""
    service.clock.advance(seconds)
    for name in ("app", "terminal"):
        setattr(service, name, Api(service.client(), getattr(service, name).credentials))
    return service


def test_an_unknown_patient_has_a_card_at_once(service: Service) -> None:
    card = made(service)
    assert (card["kind"], card["level"], card["status"]) == ("temporary", "none", "active")
    assert (card["ehc_id"], card["index_id"]) == (None, None)
    assert card["resident"] == {
        "name": "未*",
        "id_type": None,
        "id_number": None,
        "phone": None,
        "sex": "1",
        "age": 40,
    }
    assert len(card["code"]) <= 20
    assert card["expires_at"].startswith(str((service.clock.now() + timedelta(days=7)).date()))


def test_a_check_says_that_nothing_is_verified(service: Service) -> None:
    card = made(service, name="张某")
    told = service.terminal.scan(card["code"])
    assert told["outcome"] == "accepted"
    assert (told["card"]["kind"], told["card"]["verified"], told["card"]["level"]) == ("temporary", False, "none")
    assert told["card"]["assurance"] == "unverified"
    assert told["resident"]["name"] == "张*"


def test_its_code_is_told_once_and_kept_hidden(service: Service) -> None:
    card = made(service)
    assert "code" not in answered(service.app.get(f"/v1/cards/{card['card_id']}"))
    with service.session() as session:
        index = session.scalar(text("SELECT temporary_index FROM card"))
    assert card["code"].encode() not in index


def test_it_has_no_other_codes(service: Service) -> None:
    card = made(service)
    for body in ({}, {"format": "national"}, {"kind": "static"}, {"format": "national", "kind": "static"}):
        assert problem(service.app.post(f"/v1/cards/{card['card_id']}/codes", body)) == (409, "card-not-active")


@pytest.mark.parametrize(("seconds", "outcome"), [(7 * 86400 - 1, "accepted"), (7 * 86400 + 1, "rejected")])
def test_it_is_over_by_itself(service: Service, seconds: int, outcome: str) -> None:
    card = made(service)
    later(service, seconds)
    told = service.terminal.scan(card["code"])
    assert told["outcome"] == outcome
    assert told["reason"] in {None, "expired"}
    assert expire(service) == (outcome == "rejected")
    assert expire(service) == 0
    assert service.terminal.scan(card["code"])["outcome"] == outcome


def test_a_formal_card_goes_on_with_its_history(service: Service) -> None:
    card, formal = made(service), service.app.register(1)["card_id"]
    service.terminal.scan(card["code"], step="diagnosis")
    service.clock.advance(1)
    path, body = f"/v1/temporary-cards/{card['card_id']}/join", {"card_id": formal, "reason": "家属认出"}
    answer = service.app.post(path, body)
    assert (answer.status_code, answered(answer)["card_id"]) == (200, formal)
    assert service.terminal.scan(card["code"])["reason"] == "card-cancelled"
    service.terminal.scan(service.app.code(formal))
    told = answered(service.app.get(f"/v1/cards/{formal}/verifications"))["items"]
    assert {(entry["step"], entry["reason"]) for entry in told} >= {("diagnosis", None), ("registration", None)}
    assert problem(service.app.post(path, body))[1] in {"card-state", "card-not-found"}


def test_only_a_temporary_card_joins_a_formal_one(service: Service) -> None:
    card, formal, other = made(service), service.app.register(1)["card_id"], service.app.register(2)["card_id"]
    body = {"card_id": formal, "reason": "r"}
    assert problem(service.app.post(f"/v1/temporary-cards/{other}/join", body)) == (409, "card-state")
    wrong_way = {"card_id": made(service)["card_id"], "reason": "r"}
    assert problem(service.app.post(f"/v1/temporary-cards/{card['card_id']}/join", wrong_way)) == (409, "card-state")
    path = f"/v1/temporary-cards/{card['card_id']}/join"
    assert problem(service.other_app.post(path, body)) == (404, "card-not-found")
    service.app.post(f"/v1/cards/{formal}/cancel", {"reason": "r"})
    assert problem(service.app.post(path, body)) == (404, "card-not-found")


def test_two_who_recognise_a_patient_at_once_do_not_both_win(service: Service) -> None:
    for n in range(8):
        card = made(service)["card_id"]
        formals = [service.app.register(10 + 2 * n + k)["card_id"] for k in (0, 1)]
        calls = [
            poster(service, service.app, f"/v1/temporary-cards/{card}/join", {"card_id": formal, "reason": "r"})
            for formal in formals
        ]
        answers = at_once(*calls)
        won = [formal for formal, answer in zip(formals, answers, strict=True) if answer.status_code == 200]
        assert sorted(answer.status_code for answer in answers)[1] in {404, 409}
        with service.session() as session:
            kept = "SELECT formal.id::text FROM card JOIN card AS formal ON card.joined_to = formal.serial WHERE card.id = :id"
            assert session.scalars(text(kept), {"id": card}).all() == won
        assert sorted(action for action, _ in events_of(service, card)) == ["joined", "registered"]
        joined = [action for formal in formals for action, _ in events_of(service, formal) if action == "joined-with"]
        assert len(joined) == len(won) == 1


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"name": ""}, [("/name", "length")]),
        ({"name": "@#%"}, [("/name", "name-character")]),
        ({"sex": "robot"}, [("/sex", "choice")]),
        ({"age": -1}, [("/age", "range")]),
        ({"age": 151}, [("/age", "range")]),
        ({"visit_at": "2026-01-09 16:00"}, [("/visit_at", "datetime")]),
        ({"id_number": "1"}, [("/id_number", "unknown-member")]),
    ],
)
def test_a_wrong_arrival_is_refused(service: Service, changes: Any, errors: Any) -> None:
    before = row_counts(service)
    assert wrong(service.app.post("/v1/temporary-cards", arrival(service, **changes))) == errors
    assert row_counts(service) == before


@pytest.mark.parametrize(("seconds", "status"), [(-7 * 86400, 201), (-7 * 86400 - 1, 422), (300, 201), (301, 422)])
def test_a_visit_is_recent(service: Service, seconds: int, status: int) -> None:
    visit_at = (service.clock.now() + timedelta(seconds=seconds)).isoformat()
    assert service.app.post("/v1/temporary-cards", arrival(service, visit_at=visit_at)).status_code == status


@pytest.mark.parametrize("age", [0, 150, None])
def test_an_age_comes_back_as_told(service: Service, age: int | None) -> None:
    body = {name: value for name, value in arrival(service, age=age).items() if value is not None}
    assert answered(service.app.post("/v1/temporary-cards", body))["resident"]["age"] == age


def test_a_temporary_card_is_made_once_for_a_key(service: Service) -> None:
    post = partial(service.app.post, "/v1/temporary-cards", arrival(service), Idempotency_Key="k1")
    assert answered(post())["code"] == answered(post())["code"]
    assert row_counts(service)["card"] == 1


@pytest.mark.parametrize("typed", ["ｕｎｋｎｏｗｎ", "Unknown", " UNKNOWN "])
def test_unknown_is_unknown_however_it_is_typed(service: Service, typed: str) -> None:
    assert made(service, name=typed)["resident"]["name"] == "未*"


def test_it_is_read_as_what_it_is(service: Service) -> None:
    card = made(service)
    told = answered(service.app.get(f"/v1/cards/{card['card_id']}"))
    assert told == {name: value for name, value in card.items() if name != "code"}
    assert (told["verified"], told["expires_at"]) == (False, card["expires_at"])
    assert told["visit_at"][:19] == service.clock.now().isoformat()[:19]
    formal = service.app.register(1)
    assert (formal["verified"], formal["expires_at"], formal["visit_at"]) == (True, None, None)


def test_it_lives_as_long_as_the_deployment_says(start: Any) -> None:
    service = start(temporary_days=2)
    card = made(service)
    assert card["expires_at"].startswith(str((service.clock.now() + timedelta(days=2)).date()))
    later(service, 2 * 86400 - 1)
    assert service.terminal.scan(card["code"])["outcome"] == "accepted"
    later(service, 2)
    assert service.terminal.scan(card["code"])["reason"] == "expired"
    assert expire(service) == 1


@pytest.mark.parametrize("ended", [False, True])
def test_on_the_eighth_day_it_is_joined_by_the_app_that_made_it(service: Service, *, ended: bool) -> None:
    card, formal = made(service), service.app.register(1)["card_id"]
    service.terminal.scan(card["code"], step="diagnosis")
    later(service, 7 * 86400 + 1)
    if ended:
        assert expire(service) == 1
    service.other_app = Api(service.client(), service.other_app.credentials)
    service.other_app.register(2)
    assert problem(join(service, card["card_id"], formal, service.other_app)) == (404, "card-not-found")
    assert join(service, card["card_id"], formal).status_code == 200
    assert answered(service.app.get(f"/v1/cards/{card['card_id']}"))["cause"] == "joined"
    told = answered(service.app.get(f"/v1/cards/{formal}/verifications"))["items"]
    assert [entry["step"] for entry in told] == ["diagnosis"]
    assert problem(join(service, card["card_id"], formal))[1] in {"card-state", "card-not-found"}
    assert service.terminal.scan(card["code"])["message"] == TEMPORARY_ADVICE[Reason.CARD_CANCELLED].zh


def test_what_its_app_cancelled_is_joined_by_nobody(service: Service) -> None:
    card, formal = made(service)["card_id"], service.app.register(1)["card_id"]
    service.app.post(f"/v1/cards/{card}/cancel", {"reason": "r"})
    assert problem(join(service, card, formal)) == (404, "card-not-found")


@pytest.mark.parametrize("expired", [False, True])
def test_what_staff_suspended_an_app_does_not_join(service: Service, *, expired: bool) -> None:
    card, formal = made(service)["card_id"], service.app.register(1)["card_id"]
    act(service, card, states.SUSPEND)
    if expired:
        later(service, 7 * 86400 + 1)
        assert expire(service) == 1
    assert problem(join(service, card, formal)) == (409, "held-by-staff")
    assert "joined" not in dict(events_of(service, card))


def test_the_history_says_in_which_part_the_app_acted(service: Service) -> None:
    """For the holder of the formal card, or for their guardian; as staff never."""
    guardian = service.app.register(1)["card_id"]
    child = add(service.app, guardian, wanted())["card"]["card_id"]
    for formal, party in ((guardian, "resident"), (child, "guardian")):
        card = made(service)["card_id"]
        service.clock.advance(1)
        assert join(service, card, formal).status_code == 200
        assert events_of(service, card) == [("registered", "resident"), ("joined", party)]
        service.clock.advance(1)


def test_staff_join_one_whose_app_is_gone(service: Service) -> None:
    card, formal = made(service)["card_id"], service.app.register(1)["card_id"]
    act(service, card, states.SUSPEND)
    later(service, 8 * 86400)
    expire(service)
    env = {"EHC_DATABASE_URL": service.settings.database_url}
    words = ["join", card, formal, "--by", "S-7", "--reason", "家属认出"]
    done = CliRunner().invoke(cards_command, words, env=env)
    assert (done.exit_code, done.stdout) == (0, "active\n"), done.output
    assert ("joined", "staff") in events_of(service, card)


def test_histories_of_two_levels_are_read_as_one(service: Service) -> None:
    """A temporary card joined to a formal one, which is joined to another document's."""
    passport = {"id_type": "03", "id_number": "E12345678", "birth_date": "1990-03-07"}
    card, first, last = (
        made(service),
        service.app.register(1, **passport)["card_id"],
        service.app.register(1)["card_id"],
    )
    service.terminal.scan(card["code"], step="diagnosis")
    service.clock.advance(1)
    assert join(service, card["card_id"], first).status_code == 200
    service.clock.advance(1)
    service.terminal.scan(service.app.code(first), step="medicine")
    shown = {"name": "王小明", "id_type": "03", "id_number": "E12345678", "verification": {"method": "document-seen"}}
    answer = service.app.post(f"/v1/cards/{last}/documents", shown)
    assert answer.status_code == 200, answer.text
    told = answered(service.app.get(f"/v1/cards/{last}/verifications"))["items"]
    assert [entry["step"] for entry in told] == ["medicine", "diagnosis"]


def test_one_that_cannot_be_ended_stands_in_nobodys_way(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    three = [made(service)["card_id"] for _ in range(3)]
    apply = lifecycle.apply

    def failing(session: Any, card: Any, *rest: Any, **more: Any) -> None:
        if str(card.id) == three[0]:
            raise LookupError
        apply(session, card, *rest, **more)

    monkeypatch.setattr(lifecycle, "apply", failing)
    later(service, 8 * 86400)
    assert (expire(service), expire(service)) == (2, 0)
    monkeypatch.undo()
    assert expire(service) == 1


def test_joins_told_crosswise_in_the_audit_log_do_not_undo_each_other(service: Service) -> None:
    """One's temporary card is told of in the chain of the other's formal one, and the other way round."""
    chains: dict[int, str] = {}
    temporaries = {chain_of(card): card for card in (made(service)["card_id"] for _ in range(40))}
    for serial in range(200):
        card = service.app.register(serial)["card_id"]
        chains[chain_of(card)] = card
    shared = sorted(temporaries.keys() & chains.keys())
    pairs = list(zip(shared[::2], shared[1::2], strict=False))
    assert len(pairs) >= 4
    for one, other in pairs:
        calls = [
            poster(service, service.app, f"/v1/temporary-cards/{card}/join", {"card_id": formal, "reason": "r"})
            for card, formal in ((temporaries[one], chains[other]), (temporaries[other], chains[one]))
        ]
        assert [answer.status_code for answer in at_once(*calls)] == [200, 200]
