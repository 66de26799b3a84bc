"""Coming of age: to the second, on the birthday in China."""

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import text

from ehc.issuer import majority
from tests.contract.helpers import at_once, elsewhere, problem, secrets_of
from tests.support.families import add, anew, end, family, member, proved_phone, seen, today, wanted
from tests.support.service import Service, citizen_number, person
from tests.support.service import told as answered


@pytest.fixture
def guardian(service: Service) -> str:
    """The card of 王小明, who is an adult."""
    return str(service.app.register(1)["card_id"])


def almost_adult(service: Service) -> tuple[str, datetime]:
    """The birth date of somebody who is 18 in a few days, and when that is."""
    soon = today(service) + timedelta(days=2)
    soon += timedelta(days=(soon.month, soon.day) == (2, 29))
    birthday = datetime.combine(soon, datetime.min.time(), UTC) - timedelta(hours=8)
    return f"{soon.year - 18}{soon:%m%d}", birthday


def renew(service: Service) -> None:
    """The clock went on by days: every client needs a new token."""
    for name in ("app", "other_app", "terminal"):
        setattr(service, name, anew(service, getattr(service, name)))


def end_what_is_over(service: Service) -> int:
    with service.session() as session:
        return majority.end_guardianships(session, secrets=secrets_of(service), now=service.clock.now())


@pytest.mark.parametrize(
    ("born", "day"),
    [
        (date(2008, 1, 9), "2026-01-08T16:00:00+00:00"),
        (date(2008, 2, 29), "2026-02-28T16:00:00+00:00"),  # 1 March, as ages are counted
        (date(1982, 2, 28), "2000-02-27T16:00:00+00:00"),
        (date(2082, 2, 28), "2100-02-27T16:00:00+00:00"),
        (date(2084, 2, 29), "2102-02-28T16:00:00+00:00"),
    ],
)
def test_the_day_is_the_eighteenth_birthdays_start_in_china(born: date, day: str) -> None:
    assert majority.comes_of_age(born).astimezone(UTC).isoformat() == day
    turning = datetime.fromisoformat(day)
    assert majority.is_of_age(born, turning)
    assert not majority.is_of_age(born, turning - timedelta(seconds=1))
    assert not majority.is_of_age(None, turning)


def test_the_guardians_access_ends_with_the_second(service: Service, guardian: str) -> None:
    born, birthday = almost_adult(service)
    told = add(service.app, guardian, wanted(born=born))
    card_id = told["card"]["card_id"]
    assert datetime.fromisoformat(told["until"]) == birthday
    service.other_app.register(**member(born=born))
    service.clock.at = birthday - timedelta(seconds=1)
    renew(service)
    assert seen(service.app, card_id) == (200, 201)
    assert answered(service.other_app.get(f"/v1/cards/{card_id}"))["acted_for"] == {"relation": "2"}
    assert service.terminal.scan(service.app.code(card_id))["card"]["acted_for"]["relation"] == "2"
    issued_before = service.app.code(card_id)
    assert end_what_is_over(service) == 0
    service.clock.at = birthday
    assert seen(service.app, card_id) == (404, 404)
    assert "acted_for" not in service.terminal.scan(issued_before)["card"]
    assert answered(service.other_app.get(f"/v1/cards/{card_id}"))["acted_for"] is None
    assert family(service.app, guardian)["items"] == []


def test_the_grown_child_takes_the_card_over(service: Service, guardian: str) -> None:
    born, birthday = almost_adult(service)
    told = add(service.app, guardian, wanted(born=born))
    card_id = told["card"]["card_id"]
    service.clock.at = birthday
    renew(service)
    own = service.other_app.register(**member(born=born), phone="13900139000")
    assert (own["card_id"], own["acted_for"]) == (card_id, None)
    assert seen(service.other_app, card_id) == (200, 201)
    assert end_what_is_over(service) == 1
    assert end_what_is_over(service) == 0
    with service.session() as session:
        ended = session.execute(text("SELECT ended_for, ended_at FROM family_link")).one()
        noted = session.scalars(
            text("SELECT party FROM card_event WHERE action = 'family-ended' ORDER BY card_serial")
        ).all()
        acts = session.scalar(text("SELECT count(*) FROM audit WHERE action = 'card.family-ended'"))
    assert tuple(ended) == ("majority", birthday)
    assert (noted, acts) == (["system", "system"], 2)
    assert problem(service.app.get(f"/v1/cards/{card_id}")) == (404, "card-not-found")
    assert seen(service.other_app, card_id) == (200, 201)
    assert problem(end(service.app, guardian, told["link_id"])) == (404, "family-link-not-found")


def test_one_app_serves_the_child_first_for_the_guardian_then_for_themselves(service: Service, guardian: str) -> None:
    born, birthday = almost_adult(service)
    card_id = add(service.app, guardian, wanted(born=born))["card"]["card_id"]
    service.clock.at = birthday
    renew(service)
    service.app.register(**member(born=born), phone="13900139000")
    assert end_what_is_over(service) == 1
    assert seen(service.app, card_id) == (200, 201)


def test_a_grown_child_is_added_anew_only_if_they_agree(service: Service, guardian: str) -> None:
    """Before any job has ended the old link."""
    born, birthday = almost_adult(service)
    first = add(service.app, guardian, wanted(born=born))
    service.clock.at = birthday
    renew(service)
    proved = proved_phone(service, service.other_app, "13900139000")
    service.other_app.register(**member(born=born), phone="13900139000", phone_proof=proved)
    body = wanted(born=born)
    assert problem(service.app.post(f"/v1/cards/{guardian}/family", body)) == (409, "agreement-required")
    body["phone_proof"] = proved_phone(service, service.app, "13900139000")
    again = add(service.app, guardian, body)
    assert again["link_id"] != first["link_id"]
    assert again["until"] is None
    assert end_what_is_over(service) == 0
    assert seen(service.app, again["card"]["card_id"]) == (200, 201)


def test_many_links_end_in_some_rounds(service: Service, guardian: str) -> None:
    add(service.app, guardian, wanted())
    with service.session() as session:
        session.execute(text("UPDATE family_link SET until = now() - interval '1 day'"))
        session.execute(
            text("""
                INSERT INTO family_link (id, guardian_id, member_id, relation, method, until, created_at)
                SELECT gen_random_uuid(), member_id, guardian_id, '8', method, until, created_at FROM family_link
            """)
        )
    assert end_what_is_over(service) == 2
    assert end_what_is_over(service) == 0


@pytest.mark.parametrize(("serial", "until"), [(5, "2038-06-01"), (6, None)])
def test_a_birth_date_that_is_put_right_moves_the_day(
    service: Service, guardian: str, serial: int, until: str | None
) -> None:
    """To another day of a child's; or to an adult's, who is acted for by nobody without having agreed."""
    born = "20200602" if until else "19900101"
    card_id = add(service.app, guardian, wanted())["card"]["card_id"]
    read = service.app.get(f"/v1/cards/{card_id}")
    body = {
        "id_number": citizen_number(serial, born=born),
        "replaced": "corrected",
        "verification": {"method": "document-seen"},
    }
    headers = service.app.headers | {"If-Match": read.headers["ETag"]}
    answer = service.app.http.patch(f"/v1/cards/{card_id}", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    with service.session() as session:
        ends = session.execute(
            text(
                "SELECT family_link.until, card_grant.until FROM family_link JOIN card_grant ON link_id = family_link.id"
            )
        ).one()
    assert ends[0] == ends[1]
    if until:
        assert ends[0].isoformat() == f"{until}T16:00:00+00:00"
        assert seen(service.app, card_id) == (200, 201)
    else:
        assert seen(service.app, card_id) == (404, 404)


def test_two_workers_end_one_guardianship_once(service: Service, guardian: str) -> None:
    born, birthday = almost_adult(service)
    add(service.app, guardian, wanted(born=born))
    service.clock.at = birthday
    at_once(*[lambda: end_what_is_over(service)] * 4)
    with service.session() as session:
        noted = session.scalar(text("SELECT count(*) FROM card_event WHERE action = 'family-ended'"))
    assert noted == 2
    assert seen(elsewhere(anew(service, service.app), service.flask), guardian) == (200, 201)


def test_a_person_of_unknown_age_who_proves_a_childs_is_acted_for_until_18(service: Service, guardian: str) -> None:
    """A passport says no birth date; the citizen id does."""
    passport = person(2, name="王小宝", id_type="03", id_number="E12345678", phone="13900139000")
    own = proved_phone(service, service.other_app, "13900139000")
    card_id = service.other_app.register(**passport, phone_proof=own)["card_id"]
    proof = proved_phone(service, service.app, "13900139000")
    body = wanted(member=passport | {"birth_date": "2020-06-01"}) | {"phone_proof": proof}
    assert add(service.app, guardian, body)["until"] is None
    read = service.other_app.get(f"/v1/cards/{card_id}")
    changed = {
        "id_type": "01",
        "id_number": citizen_number(5, born="20200601"),
        "verification": {"method": "document-seen"},
    }
    headers = service.other_app.headers | {"If-Match": read.headers["ETag"]}
    assert service.other_app.http.patch(f"/v1/cards/{card_id}", json=changed, headers=headers).status_code == 200
    assert family(service.app, guardian)["items"][0]["until"] == "2038-05-31T16:00:00.000Z"
