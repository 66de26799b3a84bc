"""Families at one moment: real threads, each on a connection of its own."""

from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import text
from werkzeug.test import TestResponse

from ehc.commands.family import family as family_command
from ehc.issuer.family_ties import NoSuchLink
from tests.contract.helpers import at_once, elsewhere, poster, problem, row_counts
from tests.support.families import add, end, family, member, newborn, seen, wanted
from tests.support.service import Service, person


@pytest.fixture
def guardian(service: Service) -> str:
    """The card of 王小明, who is an adult."""
    return str(service.app.register(1)["card_id"])


def asking(service: Service, guardian: str, body: dict[str, Any]) -> Any:
    return poster(service, service.app, f"/v1/cards/{guardian}/family", body)


def statuses(answers: list[TestResponse]) -> list[int]:
    return sorted(answer.status_code for answer in answers)


def one(service: Service, query: str) -> Any:
    with service.session() as session:
        return session.scalar(text(query))


def test_of_ten_members_at_once_five_are_added(service: Service, guardian: str) -> None:
    answers = at_once(*[asking(service, guardian, wanted(serial)) for serial in range(10)])
    assert statuses(answers) == [201] * 5 + [409] * 5
    assert {problem(answer)[1] for answer in answers if answer.status_code == 409} == {"family-full"}
    assert len(family(service.app, guardian)["items"]) == 5
    assert one(service, "SELECT count(*) FROM card") == 6  # who was refused was not registered either


def test_the_same_child_at_once_is_one_card_and_one_link(service: Service, guardian: str) -> None:
    answers = at_once(*[asking(service, guardian, wanted()) for _ in range(8)])
    assert statuses(answers) == [200] * 7 + [201]
    assert one(service, "SELECT count(*) FROM family_link") == 1
    assert one(service, "SELECT count(*) FROM card_event WHERE action = 'family-added'") == 2


def test_two_guardians_at_once_register_one_child(service: Service) -> None:
    guardians = [service.app.register(serial)["card_id"] for serial in range(1, 7)]
    answers = at_once(*[asking(service, guardian, wanted()) for guardian in guardians])
    assert statuses(answers) == [201] * 6
    assert one(service, "SELECT count(*) FROM card") == 7
    assert one(service, "SELECT count(*) FROM family_link") == 6
    assert one(service, "SELECT count(*) FROM card WHERE guardian_id IS NOT NULL") == 1


def test_a_child_registered_and_added_at_once_is_one_card(service: Service, guardian: str) -> None:
    by_itself = poster(service, service.other_app, "/v1/cards", member(phone="13800138000"))
    answers = at_once(*[call for _ in range(4) for call in (by_itself, asking(service, guardian, wanted()))])
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert one(service, "SELECT count(*) FROM card") == 2


def test_one_newborn_at_once_is_one_card(service: Service, guardian: str) -> None:
    answers = at_once(*[asking(service, guardian, newborn(service)) for _ in range(6)])
    assert statuses(answers) == [200] * 5 + [201]
    assert one(service, "SELECT count(*) FROM card") == 2


def test_two_adults_who_add_each_other_at_once_make_no_ring(service: Service) -> None:
    """Both are known through nobody's app but a guardian's, so neither is asked to agree."""
    elders = [service.app.register(serial)["card_id"] for serial in (1, 2)]
    with service.session() as session:
        session.execute(text("UPDATE resident SET phone = NULL, phone_index = NULL"))
    shown = {"verification": {"method": "clerk", "clerk": {"name": "李四", "number": "C1"}}}
    calls = [
        asking(service, elders[0], wanted(relation="1", member=person(2) | shown)),
        asking(service, elders[1], wanted(relation="1", member=person(1) | shown)),
    ]
    answers = at_once(*calls * 3)
    assert one(service, "SELECT count(*) FROM family_link") == 1
    assert statuses(answers) == [200, 200, 201, 409, 409, 409]


@pytest.mark.parametrize("turn", range(4))
def test_a_guardian_who_is_cancelled_meanwhile_is_left_with_nobody(service: Service, turn: int) -> None:
    guardian = service.app.register(1 + turn)["card_id"]
    cancel = poster(service, service.app, f"/v1/cards/{guardian}/cancel", {"reason": "r"})
    added, cancelled = at_once(asking(service, guardian, wanted()), cancel)
    assert cancelled.status_code == 200
    assert added.status_code in {201, 404, 409}
    assert one(service, "SELECT count(*) FROM family_link WHERE ended_at IS NULL") == 0
    assert one(service, "SELECT count(*) FROM card_grant WHERE link_id IS NOT NULL") == 0
    assert one(service, "SELECT count(*) FROM card WHERE guardian_id IS NOT NULL") == 0


@pytest.mark.parametrize("turn", range(4))
def test_guardian_and_member_may_be_cancelled_at_once(service: Service, guardian: str, turn: int) -> None:
    told = add(service.app, guardian, wanted(turn))
    service.other_app.register(**member(turn))
    cancels = [
        poster(service, service.app, f"/v1/cards/{guardian}/cancel", {"reason": "r"}),
        poster(service, service.other_app, f"/v1/cards/{told['card']['card_id']}/cancel", {"reason": "r"}),
    ]
    # The member's card is written by the guardian's end too: who read it before that reads it again.
    assert statuses(at_once(*cancels)) in ([200, 200], [200, 409])
    assert one(service, "SELECT count(*) FROM family_link WHERE ended_at IS NULL") == 0
    assert one(service, "SELECT count(*) FROM card WHERE guardian_id IS NOT NULL") == 0


def test_codes_asked_for_while_a_link_ends_are_issued_before_or_not_at_all(service: Service, guardian: str) -> None:
    told = add(service.app, guardian, wanted())
    card_id = told["card"]["card_id"]
    ask = poster(service, service.app, f"/v1/cards/{card_id}/codes", {})
    stop = poster(service, service.app, f"/v1/cards/{guardian}/family/{told['link_id']}/end", {"reason": "r"})
    answers = at_once(*[ask] * 7, stop)
    assert answers[-1].status_code == 200
    assert {answer.status_code for answer in answers[:-1]} <= {201, 404}
    assert seen(elsewhere(service.app, service.flask), card_id) == (404, 404)


def test_a_link_ends_once(service: Service, guardian: str) -> None:
    told = add(service.app, guardian, wanted())
    stop = poster(service, service.app, f"/v1/cards/{guardian}/family/{told['link_id']}/end", {"reason": "r"})
    assert statuses(at_once(*[stop] * 6)) == [200] + [404] * 5
    assert one(service, "SELECT count(*) FROM card_event WHERE action = 'family-ended'") == 2


def test_staff_read_and_end_links(service: Service, guardian: str) -> None:
    told = add(service.app, guardian, wanted())
    card_id = told["card"]["card_id"]
    env = {"EHC_DATABASE_URL": service.settings.database_url}

    def run(*words: str) -> Any:
        return CliRunner().invoke(family_command, list(words), env=env)

    assert run("list", guardian).stdout == f"{told['link_id']} acts-for     2 2038-05-31T16:00:00Z {card_id}\n"
    assert run("list", card_id).stdout == f"{told['link_id']} acted-for-by 2 2038-05-31T16:00:00Z {guardian}\n"
    assert run("end", told["link_id"], "--by", "S1", "--reason", "监护权变更").stdout == "ended\n"
    assert seen(service.app, card_id) == (404, 404)
    assert isinstance(run("end", told["link_id"], "--by", "S1", "--reason", "r").exception, NoSuchLink)
    assert one(service, "SELECT ended_for FROM family_link") == "staff"
    assert row_counts(service)["family_link"] == 1
    assert problem(end(service.app, guardian, told["link_id"])) == (404, "family-link-not-found")
