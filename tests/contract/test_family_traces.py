"""What a guardian leaves behind goes with the link: a phone, prints, the switch for static codes. No agreement is theirs."""

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import text

from tests.contract.helpers import problem
from tests.contract.test_family_majority import almost_adult, end_what_is_over, renew
from tests.support.families import add, end, family, member, newborn, post, proved_phone, seen, wanted
from tests.support.national import allow_static, static
from tests.support.service import Api, Service, citizen_number, person
from tests.support.service import told as answered

PARENT, CHILD = "13800138000", "13900139000"


@pytest.fixture
def guardian(service: Service) -> str:
    """The card of 王小明, who is an adult."""
    return str(service.app.register(1, phone=PARENT)["card_id"])


def patch(api: Api, card_id: str, body: dict[str, Any]) -> Any:
    return api.http.patch(f"/v1/cards/{card_id}", json=body, headers=api.headers | {"If-Match": "*"})


def phone(service: Service, api: Api, card_id: str) -> str | None:
    found: str | None = answered(api.get(f"/v1/cards/{card_id}"))["resident"]["phone"]
    return found


def print_of(api: Api, card_id: str) -> str:
    answer = api.post(f"/v1/cards/{card_id}/codes", {"kind": "static"})
    assert answer.status_code == 201, answer.text
    return str(answered(answer)["code"])


def allow_all(service: Service) -> None:
    with service.session() as session:
        session.execute(text("UPDATE institution SET static_allowed = true"))


def grown(service: Service, guardian: str, **given: Any) -> tuple[str, dict[str, Any], datetime]:
    """A child with the parent's phone, on the day of being 18."""
    born, birthday = almost_adult(service)
    body = wanted(born=born) | {"member": member(born=born, phone=PARENT)} | given
    card_id = add(service.app, guardian, body)["card"]["card_id"]
    service.clock.at = birthday
    renew(service)
    return card_id, wanted(born=born), birthday


@pytest.mark.parametrize("proved", [False, True])
@pytest.mark.parametrize("swept", [False, True])
def test_a_guardian_does_not_agree_for_a_grown_child(
    service: Service, guardian: str, *, proved: bool, swept: bool
) -> None:
    given = {"phone_proof": proved_phone(service, service.app, PARENT)} if proved else {}
    card_id, body, _ = grown(service, guardian, **given)
    own = service.other_app.register(**body["member"], phone=CHILD)
    assert own["resident"]["phone"] == "139****9000"
    if swept:
        end_what_is_over(service)
    for whose in (PARENT, CHILD):
        proof = proved_phone(service, service.app, whose)
        assert problem(post(service.app, guardian, body | {"phone_proof": proof})) == (409, "agreement-required")
    assert seen(service.app, card_id) == (404, 404)


def test_at_18_a_phone_that_came_by_the_guardian_goes(service: Service, guardian: str) -> None:
    card_id, body, _ = grown(service, guardian)
    assert end_what_is_over(service) == 1
    with service.session() as session:
        left = session.execute(
            text(
                "SELECT phone, phone_index, phone_proved_at FROM resident JOIN card ON resident.id = resident_id "
                "WHERE card.id = :id"
            ),
            {"id": card_id},
        ).one()
    assert tuple(left) == (None, None, None)
    assert service.other_app.register(**body["member"], phone=CHILD)["resident"]["phone"] == "139****9000"


def test_a_phone_of_the_childs_own_stays(service: Service, guardian: str) -> None:
    proved = proved_phone(service, service.other_app, CHILD)
    card_id = service.other_app.register(**member(), phone=CHILD, phone_proof=proved)["card_id"]
    told = add(service.app, guardian, wanted(phone_proof=proved_phone(service, service.app, CHILD)))
    assert end(service.app, guardian, told["link_id"]).status_code == 200
    assert phone(service, service.other_app, card_id) == "139****9000"


def test_a_phone_that_a_guardian_changed_goes_with_the_link(service: Service, guardian: str) -> None:
    card_id = service.other_app.register(**member(), phone=CHILD)["card_id"]
    told = add(service.app, guardian, wanted())
    assert patch(service.app, card_id, {"phone": PARENT}).status_code == 200
    before = service.other_app.get(f"/v1/cards/{card_id}").headers["ETag"]
    end(service.app, guardian, told["link_id"])
    after = service.other_app.get(f"/v1/cards/{card_id}")
    assert answered(after)["resident"]["phone"] is None
    assert after.headers["ETag"] != before


@pytest.mark.parametrize("body", [{"phone": PARENT}, {"phone_proof": None}])
def test_a_guardian_changes_and_proves_no_adults_phone(service: Service, guardian: str, body: dict[str, Any]) -> None:
    elder = person(3, id_number=citizen_number(3, born="19550101"), phone=CHILD)
    card_id = add(service.app, guardian, wanted(relation="5", member=elder))["card"]["card_id"]
    if "phone_proof" in body:
        body = {"phone_proof": proved_phone(service, service.app, CHILD)}
    assert problem(patch(service.app, card_id, body)) == (409, "holder-only")
    assert patch(service.app, card_id, {"employer": "厂"}).status_code == 200


@pytest.mark.parametrize(("method", "status"), [("document-seen", 409), ("clerk", 201)])
def test_without_a_phone_that_the_adult_proved_a_clerk_sees_them(
    service: Service, guardian: str, method: str, status: int
) -> None:
    service.other_app.register(2, phone=CHILD)
    shown = {"method": method} | ({"clerk": {"name": "李四", "number": "C1"}} if method == "clerk" else {})
    body = wanted(relation="1", member=person(2) | {"verification": shown})
    proof = {"phone_proof": proved_phone(service, service.app, CHILD)} if method != "clerk" else {}
    assert post(service.app, guardian, body | proof).status_code == status


@pytest.mark.parametrize("how", ["guardian", "member", "majority", "cancel"])
def test_prints_that_the_guardians_app_made_stop_with_its_access(service: Service, guardian: str, how: str) -> None:
    allow_all(service)
    born, birthday = almost_adult(service)
    told = add(service.app, guardian, wanted(born=born))
    card_id = told["card"]["card_id"]
    service.other_app.register(**member(born=born))
    assert patch(service.other_app, card_id, {"static_codes": True}).status_code == 200
    printed = print_of(service.app, card_id)
    assert service.terminal.scan(printed)["outcome"] == "accepted"
    if how == "majority":
        service.clock.at = birthday
        renew(service)
        end_what_is_over(service)
    elif how == "cancel":
        service.app.post(f"/v1/cards/{guardian}/cancel", {"reason": "r"})
    else:
        api, whose = (service.app, guardian) if how == "guardian" else (service.other_app, card_id)
        end(api, whose, told["link_id"])
    assert service.terminal.scan(printed)["reason"] == "expired"
    assert (
        service.terminal.scan(print_of(service.other_app, card_id))["outcome"] == "accepted"
    )  # the holder's own switch


def test_static_codes_that_a_guardian_allowed_are_off_when_the_link_ends(service: Service, guardian: str) -> None:
    allow_all(service)
    told = add(service.app, guardian, wanted())
    card_id = told["card"]["card_id"]
    service.other_app.register(**member())
    assert patch(service.app, card_id, {"static_codes": True}).status_code == 200
    codes = [print_of(service.other_app, card_id), static(answered(service.other_app.get(f"/v1/cards/{card_id}")))]
    assert [service.terminal.scan(code)["outcome"] for code in codes] == ["accepted"] * 2
    end(service.app, guardian, told["link_id"])
    assert [service.terminal.scan(code)["reason"] for code in codes] == ["static-not-allowed"] * 2
    assert answered(service.other_app.get(f"/v1/cards/{card_id}"))["static_codes"] is False


def test_a_print_of_the_holders_own_app_stays(service: Service, guardian: str) -> None:
    allow_all(service)
    told = add(service.app, guardian, wanted())
    card_id = service.other_app.register(**member())["card_id"]
    patch(service.other_app, card_id, {"static_codes": True})
    printed = print_of(service.other_app, card_id)
    end(service.app, guardian, told["link_id"])
    assert service.terminal.scan(printed)["outcome"] == "accepted"


@pytest.mark.parametrize("sharing", [True, False])
def test_every_check_says_that_somebody_acts_for_the_holder(service: Service, guardian: str, *, sharing: bool) -> None:
    """By name only where the name may be told."""
    card = add(service.app, guardian, wanted())["card"]
    allow_static(service, card)
    with service.session() as session:
        session.execute(text("UPDATE card SET sharing = :sharing"), {"sharing": sharing})
    named = {"relation": "2", "guardian": "王**"} if sharing else {"relation": "2"}
    for code, expected in (
        (service.app.code(card["card_id"]), named),
        (print_of(service.app, card["card_id"]), {"relation": "2"}),
        (static(card), {"relation": "2"}),
    ):
        told = service.terminal.scan(code)
        assert (told["card"]["acted_for"], told["resident"] is None) == (expected, not sharing)


def test_a_kept_answer_goes_on_saying_so_when_sharing_has_ended(service: Service, guardian: str) -> None:
    card = add(service.app, guardian, wanted())["card"]
    body = {"code": service.app.code(card["card_id"]), "step": "registration"}
    first = answered(service.terminal.post("/v1/verifications", body, Idempotency_Key="k1"))
    assert first["card"]["acted_for"] == {"relation": "2", "guardian": "王**"}
    with service.session() as session:
        session.execute(text("UPDATE card SET sharing = false"))
    again = answered(service.terminal.post("/v1/verifications", body, Idempotency_Key="k1"))
    assert (again["card"]["acted_for"], again["resident"]) == ({"relation": "2"}, None)


def two_records(service: Service) -> tuple[str, str, dict[str, Any]]:
    """The cards of one adult known by two documents, and the second document."""
    passport = {"id_type": "03", "id_number": "E12345678", "birth_date": "1990-03-07"}
    kept = service.app.register(2)["card_id"]
    other = service.app.register(2, **passport)["card_id"]
    shown = {name: person(2, **passport)[name] for name in ("name", "id_type", "id_number", "verification")}
    return kept, other, shown


def test_a_join_makes_no_ring(service: Service, guardian: str) -> None:
    """The one record of an adult acts for an elder, who acts for the other."""
    kept, other, shown = two_records(service)
    clerk = {"verification": {"method": "clerk", "clerk": {"name": "李四", "number": "C1"}}}
    add(service.app, guardian, wanted(relation="1", member=person(2) | clerk))
    add(service.app, other, wanted(relation="5", member=person(1) | clerk))
    answer = service.app.post(f"/v1/cards/{kept}/documents", shown)
    assert answer.status_code == 200, answer.text
    assert [item["card_id"] for item in family(service.app, guardian)["items"]] == [kept]
    assert family(service.app, kept)["items"] == []
    with service.session() as session:
        assert session.scalars(text("SELECT ended_for FROM family_link WHERE ended_at IS NOT NULL")).all() == [
            "family-loop"
        ]


def test_a_join_gives_nobody_more_members_than_may_be(service: Service) -> None:
    kept, other, shown = two_records(service)
    for serial in range(3):
        add(service.app, kept, wanted(serial))
        service.clock.advance(1)
    for serial in range(3, 6):
        add(service.app, other, wanted(serial))
        service.clock.advance(1)
    assert service.app.post(f"/v1/cards/{kept}/documents", shown).status_code == 200
    assert len(family(service.app, kept)["items"]) == 5
    with service.session() as session:
        assert session.scalars(text("SELECT ended_for FROM family_link WHERE ended_at IS NOT NULL")).all() == [
            "family-full"
        ]


def test_nobody_is_asked_about_a_member_for_a_card_of_somebody_elses(
    service: Service, guardian: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ehc.issuer.family_api._applicant", lambda *_: pytest.fail("asked"))
    assert problem(post(service.other_app, guardian, wanted())) == (404, "card-not-found")


def test_a_newborn_of_a_mother_whose_number_was_put_right_is_found_by_the_old_one(
    service: Service, guardian: str
) -> None:
    first = add(service.app, guardian, newborn(service))["card"]["card_id"]
    body = {"id_number": citizen_number(7), "replaced": "corrected", "verification": {"method": "document-seen"}}
    assert patch(service.app, guardian, body).status_code == 200
    mother = {"name": "王小明", "id_type": "01", "id_number": citizen_number(7)}
    again = add(service.app, guardian, newborn(service, mother=mother), status=200)
    assert again["card"]["card_id"] == first


def test_a_guardian_suspends_loses_and_resumes_the_members_card_as_guardian(service: Service, guardian: str) -> None:
    card_id = add(service.app, guardian, wanted())["card"]["card_id"]
    child = member()
    proof = {name: child[name] for name in ("name", "id_type", "id_number", "verification")}
    moves: list[tuple[str, dict[str, Any], str]] = [
        ("suspend", {}, "suspended"),
        ("resume", {}, "active"),
        ("report-loss", {}, "lost"),
        ("resume", {"proof": proof}, "active"),
    ]
    for how, more, status in moves:
        service.clock.advance(1)
        answer = service.app.post(f"/v1/cards/{card_id}/{how}", {"reason": "r"} | more)
        assert (answer.status_code, answered(answer)["status"]) == (200, status)
    names = ("suspended", "resumed", "loss-reported", "recovered")
    with service.session() as session:
        rows = session.execute(
            text("SELECT action, party FROM card_event WHERE action = ANY(:names) ORDER BY at"), {"names": list(names)}
        ).all()
        parties = session.scalars(
            text("SELECT entry::json -> 'facts' ->> 'party' FROM audit WHERE action = ANY(:names)"),
            {"names": [f"card.{name}" for name in names]},
        ).all()
    assert [tuple(row) for row in rows] == [(name, "guardian") for name in names]
    assert parties == ["guardian"] * 4
