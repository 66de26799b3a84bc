"""Apps: who may move them where, two people for what counts, and credentials that are told once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any
from uuid import UUID

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from ehc.access.app_models import AppRow, SecretRow
from ehc.access.app_states import MOVES, AppState
from ehc.access.roles import RIGHTS
from ehc.access.staff_models import StaffRow
from ehc.callers import Right, Role
from ehc.web.answers import instant
from tests.contract.helpers import problem
from tests.support.apps import APPS, Office, ask_token, public_jwk
from tests.support.service import Api, Service, StaffApi, told


@pytest.fixture
def office(service: Service) -> Office:
    return Office(service)


def test_an_app_goes_from_draft_to_live_through_two_people(service: Service, office: Office) -> None:
    made = office.draft()
    assert (made["state"], made["scopes"], made["secrets"]) == ("draft", ["cards", "codes"], [])
    credentials = office.secret(made["app_id"])
    assert ask_token(service, credentials).status_code == 401
    assert told(office.approve(made["app_id"]))["state"] == "approved"
    assert ask_token(service, credentials).status_code == 401
    live = told(office.move(made["app_id"], "go-live"))
    assert (live["state"], live["made_by"], live["approved_by"]) == (
        "live",
        f"staff:{office.writer.id}",
        f"staff:{office.approver.id}",
    )
    assert Api(service.client(), credentials).register()["card_id"]


def test_every_move_starts_from_its_own_states_alone(office: Office) -> None:
    starts: dict[AppState, list[str]] = {
        AppState.DRAFT: [],
        AppState.APPROVED: ["approve"],
        AppState.LIVE: ["approve", "go-live"],
        AppState.SUSPENDED: ["approve", "go-live", "suspend"],
    }
    for state, way in starts.items():
        for how in MOVES:
            app_id = office.draft()["app_id"]
            office.secret(app_id)
            for step in way:
                assert (office.approve(app_id) if step == "approve" else office.move(app_id, step)).status_code == 200
            answer = office.approve(app_id) if how.name == "approve" else office.move(app_id, how.name)
            if state in how.sources:
                assert told(answer)["state"] == how.target
            else:
                assert problem(answer) == (409, "app-state"), (state, how.name)


@pytest.mark.parametrize("how", MOVES, ids=lambda how: how.name)
def test_a_move_takes_its_right(service: Service, office: Office, how: Any) -> None:
    app_id = office.draft()["app_id"]
    for role in Role:
        if how.right in RIGHTS[role]:
            continue
        who = service.staff(role)
        answer = office.approve(app_id, who) if how.name == "approve" else office.move(app_id, how.name, who)
        assert problem(answer) == (403, "right-missing")


def test_only_who_may_write_drafts_or_touches_credentials(service: Service, office: Office) -> None:
    app_id = office.draft()["app_id"]
    for role in Role:
        if Right.APPS_WRITE in RIGHTS[role]:
            continue
        who = service.staff(role)
        for answer in (
            who.post(APPS, {"name": "x", "scopes": ["cards"]}),
            who.post(f"{APPS}/{app_id}/secrets"),
            who.post(f"{APPS}/{app_id}/keys", {"jwk": public_jwk()}),
            who.call("DELETE", f"{APPS}/{app_id}/secrets/{app_id}"),
            who.call("DELETE", f"{APPS}/{app_id}/keys/{app_id}"),
            office.patch(app_id, who, name="y"),
        ):
            assert problem(answer) == (403, "right-missing")


def test_what_is_dangerous_takes_a_fresh_proof(service: Service, office: Office) -> None:
    app_id = office.draft()["app_id"]
    service.clock.advance(301)
    assert problem(office.approve(app_id)) == (403, "proof-too-old")
    assert problem(office.patch(app_id, name="y")) == (403, "proof-too-old")
    assert problem(office.writer.post(f"{APPS}/{app_id}/secrets")) == (403, "proof-too-old")
    assert problem(office.writer.post(f"{APPS}/{app_id}/keys", {"jwk": public_jwk()})) == (403, "proof-too-old")
    assert problem(office.move(app_id, "go-live")) == (403, "proof-too-old")
    assert problem(office.move(app_id, "resume")) == (403, "proof-too-old")
    assert problem(office.move(app_id, "suspend")) == (409, "app-state")  # stopping an app must not wait


def _both(service: Service) -> StaffApi:
    """Somebody who may do both, as no role allows: the rule of two people holds by itself."""
    return service.staff(Role.SYSTEM_ADMIN)


def test_nobody_approves_their_own_draft(service: Service, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RIGHTS, Role.SYSTEM_ADMIN, RIGHTS[Role.SYSTEM_ADMIN] | {Right.APPS_APPROVE})
    app_id = office.draft()["app_id"]
    assert problem(office.approve(app_id, office.writer)) == (403, "own-draft")
    assert office.approve(app_id, _both(service)).status_code == 200


def test_who_changes_a_draft_has_made_it(service: Service, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RIGHTS, Role.SYSTEM_ADMIN, RIGHTS[Role.SYSTEM_ADMIN] | {Right.APPS_APPROVE})
    app_id, second = office.draft()["app_id"], _both(service)
    assert office.patch(app_id, second, name="别名").status_code == 200
    assert problem(office.approve(app_id, second)) == (403, "own-draft")


def test_nobody_who_had_a_hand_in_it_approves_it_also_in_another_role_later(service: Service, office: Office) -> None:
    """One drafts, a colleague corrects the name, and the first, a security administrator by now, comes to approve."""
    app_id, colleague = office.draft()["app_id"], service.staff(Role.SYSTEM_ADMIN)
    assert office.patch(app_id, colleague, name="别名").status_code == 200
    live_id, _ = office.live(scopes=["cards"])
    assert office.patch(live_id, scopes=["cards", "codes"]).status_code == 200
    assert office.patch(live_id, colleague, scopes=["cards", "codes", "verify"]).status_code == 200
    with service.session() as session:
        session.get_one(StaffRow, office.writer.id).roles = ["security-admin"]
    for each in (app_id, live_id):
        tag = colleague.get(f"{APPS}/{each}").headers["ETag"]
        answer = office.writer.post(f"{APPS}/{each}/approve", {}, If_Match=tag)
        assert problem(answer) == (403, "own-draft")
        with pytest.raises(IntegrityError, match="no_author"), service.session() as session:
            session.get_one(AppRow, UUID(each)).approved_by = f"staff:{office.writer.id}"
        assert office.approver.post(f"{APPS}/{each}/approve", {}, If_Match=tag).status_code == 200


def test_who_had_a_hand_in_what_was_approved_may_approve_what_comes_after(service: Service, office: Office) -> None:
    app_id, _ = office.live(scopes=["cards"])
    colleague = service.staff(Role.SYSTEM_ADMIN)
    assert office.patch(app_id, colleague, scopes=["cards", "codes"]).status_code == 200
    with service.session() as session:
        session.get_one(StaffRow, office.writer.id).roles = ["security-admin"]
    tag = colleague.get(f"{APPS}/{app_id}").headers["ETag"]
    assert office.writer.post(f"{APPS}/{app_id}/approve", {}, If_Match=tag).status_code == 200


def test_other_scopes_of_a_live_app_wait_for_approval(service: Service, office: Office) -> None:
    app_id, api = office.live(scopes=["cards"])
    changed = told(office.patch(app_id, scopes=["cards", "codes"]))
    assert (changed["state"], changed["scopes"], changed["asked_scopes"]) == ("live", ["cards"], ["cards", "codes"])
    assert changed["approved_by"] is None
    assert told(ask_token(service, api.credentials))["scope"] == "cards"
    approved = told(office.approve(app_id))
    assert (approved["state"], approved["scopes"], approved["asked_scopes"]) == ("live", ["cards", "codes"], None)
    assert told(ask_token(service, api.credentials))["scope"] == "cards codes"


def test_fewer_scopes_of_a_live_app_wait_too_and_can_be_taken_back(office: Office) -> None:
    app_id, _ = office.live(scopes=["cards", "codes"])
    assert told(office.patch(app_id, scopes=["cards"]))["asked_scopes"] == ["cards"]
    assert told(office.patch(app_id, scopes=["codes", "cards"]))["asked_scopes"] is None
    assert problem(office.approve(app_id)) == (409, "app-state")


def test_other_scopes_of_an_approved_app_make_it_a_draft_again(office: Office) -> None:
    app_id = office.draft()["app_id"]
    office.approve(app_id)
    changed = told(office.patch(app_id, scopes=["batch"]))
    assert (changed["state"], changed["scopes"], changed["approved_by"]) == ("draft", ["batch"], None)
    office.secret(app_id)
    assert problem(office.move(app_id, "go-live")) == (409, "app-state")


def test_what_is_approved_is_what_was_read(office: Office) -> None:
    app_id = office.draft(scopes=["cards"])["app_id"]
    read = office.read(app_id).headers["ETag"]
    assert office.patch(app_id, scopes=["cards", "batch"]).status_code == 200
    answer = office.approver.post(f"{APPS}/{app_id}/approve", {}, If_Match=read)
    assert problem(answer) == (412, "precondition-failed")
    assert problem(office.approver.post(f"{APPS}/{app_id}/approve", {})) == (428, "precondition-required")
    assert problem(office.writer.call("PATCH", f"{APPS}/{app_id}", {"name": "y"})) == (428, "precondition-required")
    stale = office.writer.call("PATCH", f"{APPS}/{app_id}", {"name": "y"}, If_Match=read)
    assert problem(stale) == (412, "precondition-failed")
    assert problem(office.approver.post(f"{APPS}/{app_id}/approve", {}, If_Match="x"))[0] == 422


def test_an_app_without_a_credential_does_not_go_live(service: Service, office: Office) -> None:
    app_id = office.draft()["app_id"]
    office.approve(app_id)
    assert problem(office.move(app_id, "go-live")) == (409, "no-credential")
    office.secret(app_id, ends_at=instant(service.clock.now() + timedelta(seconds=60)))
    service.clock.advance(60)
    assert problem(office.move(app_id, "go-live")) == (409, "no-credential")
    assert office.writer.post(f"{APPS}/{app_id}/keys", {"jwk": public_jwk()}).status_code == 201
    assert office.move(app_id, "go-live").status_code == 200


def test_a_suspended_app_stops_within_ten_seconds(
    service: Service, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    app_id, api = office.live()
    card = api.register()["card_id"]
    assert office.move(app_id, "suspend").status_code == 200
    assert ask_token(service, api.credentials).status_code == 401
    monkeypatch.setattr("ehc.access.tokens.RECHECK_SECONDS", 0)
    assert problem(api.get(f"/v1/cards/{card}")) == (401, "token-invalid")
    assert office.move(app_id, "resume").status_code == 200
    assert api.get(f"/v1/cards/{card}").status_code == 200


def test_two_secrets_live_side_by_side_and_a_third_is_refused(service: Service, office: Office) -> None:
    app_id, api = office.live()
    service.clock.advance(1)
    second = office.secret(app_id)
    assert [ask_token(service, held).status_code for held in (api.credentials, second)] == [200, 200]
    assert problem(office.writer.post(f"{APPS}/{app_id}/secrets")) == (409, "too-many-secrets")
    oldest = told(office.read(app_id))["secrets"][0]["secret_id"]
    assert office.writer.call("DELETE", f"{APPS}/{app_id}/secrets/{oldest}").status_code == 204
    assert [ask_token(service, held).status_code for held in (api.credentials, second)] == [401, 200]
    assert problem(office.writer.call("DELETE", f"{APPS}/{app_id}/secrets/{oldest}")) == (404, "secret-not-found")
    third = office.secret(app_id)
    assert ask_token(service, third).status_code == 200


def test_a_secret_stops_at_its_end_and_makes_room(service: Service, office: Office) -> None:
    app_id, api = office.live()
    until = service.clock.now() + timedelta(seconds=100)
    short = office.secret(app_id, ends_at=instant(until))
    service.clock.advance(99.9)
    assert ask_token(service, short).status_code == 200
    assert problem(office.writer.post(f"{APPS}/{app_id}/secrets")) == (409, "too-many-secrets")
    service.clock.advance(0.1)
    assert ask_token(service, short).status_code == 401
    assert ask_token(service, api.credentials).status_code == 200
    assert office.secret(app_id)
    past = {"ends_at": instant(service.clock.now())}
    assert problem(office.writer.post(f"{APPS}/{app_id}/secrets", past))[0] == 422


def test_a_secret_of_another_app_is_not_this_ones(service: Service, office: Office) -> None:
    one, api = office.live()
    other, other_api = office.live()
    theirs = told(office.read(other))["secrets"][0]["secret_id"]
    assert problem(office.writer.call("DELETE", f"{APPS}/{one}/secrets/{theirs}")) == (404, "secret-not-found")
    mixed = type(api.credentials)(api.credentials.client_id, other_api.credentials.client_secret)
    assert ask_token(service, mixed).status_code == 401


def test_of_twenty_that_add_a_secret_at_once_two_succeed(service: Service, office: Office) -> None:
    app_id = office.draft()["app_id"]
    at_once = Barrier(20)

    def add(_: int) -> int:
        at_once.wait()
        http, path = service.client(), f"{APPS}/{app_id}/secrets"
        return http.post(path, json={}, headers=office.writer.headers).status_code

    with ThreadPoolExecutor(20) as pool:
        found = sorted(pool.map(add, range(20)))
    assert found == [201, 201, *[409] * 18]
    assert len(told(office.read(app_id))["secrets"]) == 2


def test_of_an_approval_and_a_change_at_once_one_fails(service: Service, office: Office) -> None:
    for _ in range(10):
        app_id = office.draft(scopes=["cards"])["app_id"]
        tag, at_once = office.read(app_id).headers["ETag"], Barrier(2)

        def change(app_id: str = app_id, tag: str = tag, at_once: Barrier = at_once) -> int:
            headers = office.writer.headers | {"If-Match": tag}
            at_once.wait()
            return service.client().patch(f"{APPS}/{app_id}", json={"scopes": ["batch"]}, headers=headers).status_code

        def approve(app_id: str = app_id, tag: str = tag, at_once: Barrier = at_once) -> int:
            headers = office.approver.headers | {"If-Match": tag}
            at_once.wait()
            return service.client().post(f"{APPS}/{app_id}/approve", json={}, headers=headers).status_code

        with ThreadPoolExecutor(2) as pool:
            changed, approved = pool.submit(change), pool.submit(approve)
        assert sorted((changed.result(), approved.result())) == [200, 412]
        told_now = told(office.read(app_id))
        assert (told_now["state"], told_now["scopes"]) in [("approved", ["cards"]), ("draft", ["batch"])]


def test_a_secret_is_told_once_and_only_its_hash_is_kept(service: Service, office: Office) -> None:
    app_id, api = office.live()
    secret = api.credentials.client_secret
    assert secret not in office.read(app_id).text
    with service.session() as session:
        assert all(len(each) == 32 and secret.encode() not in each for each in session.scalars(select(SecretRow.hash)))
        log = "".join(session.scalars(text("SELECT entry::text FROM audit")))
    assert secret not in log
    answer = office.writer.post(f"{APPS}/{office.draft()['app_id']}/secrets")
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_draft_sent_twice_with_one_key_is_one_app(office: Office) -> None:
    body = {"name": "一次", "scopes": ["cards"]}
    first, again = (office.writer.post(APPS, body, Idempotency_Key="a-1") for _ in range(2))
    assert told(first)["app_id"] == told(again)["app_id"]
    assert again.headers["Idempotency-Replayed"] == "true"


def test_every_change_is_in_the_audit_log_with_who_from_where_before_and_after(
    service: Service, office: Office
) -> None:
    app_id, _ = office.live(scopes=["cards"])
    office.patch(app_id, networks=["203.0.113.7/32"], per_minute=7)
    with service.session() as session:
        rows = session.execute(
            text("SELECT action, entry FROM audit WHERE subject = :id ORDER BY at, seq"), {"id": app_id}
        ).all()
    assert {row.action for row in rows} == {
        "app.drafted",
        "app.secret-added",
        "app.approved",
        "app.go-live",
        "app.changed",
    }
    told_of = orjson.loads(next(row.entry for row in rows if row.action == "app.changed"))
    assert told_of["actor"] == f"staff:{office.writer.id}"
    facts = told_of["facts"]
    assert (facts["before"]["networks"], facts["after"]["networks"]) == ([], ["203.0.113.7/32"])
    assert (facts["before"]["per_minute"], facts["after"]["per_minute"]) == (None, 7)
    assert len(facts["from"]) == 32


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["everything"]}, "/scopes/0"),
        ({"name": ""}, "/name"),
        ({"name": "x" * 81}, "/name"),
        ({"networks": ["10.0.0.0/33"]}, "/networks/0"),
        ({"networks": ["10.0.0.1/8"]}, "/networks/0"),
        ({"networks": ["10.0.0.0/8"] * 51}, "/networks"),
        ({"per_minute": 0}, "/per_minute"),
        ({"per_day": 1_000_000_001}, "/per_day"),
        ({"sandbox": "yes"}, "/sandbox"),
        ({"state": "live"}, "/state"),
        ({"sandbox": True, "scopes": ["batch"]}, "/scopes"),
        ({"sandbox": True, "scopes": ["bindings"]}, "/scopes"),
        ({"jwks_url": "http://example.org/keys"}, "/jwks_url"),
        ({"jwks_url": "https://u:p@example.org/"}, "/jwks_url"),
        ({"jwks_url": "https://example.org/#x"}, "/jwks_url"),
        ({"jwks_url": "https://10.0.0.1/keys"}, "/jwks_url"),
        ({"jwks_url": "https://[::1]/keys"}, "/jwks_url"),
        ({"jwks_url": "https://127.1/keys"}, "/jwks_url"),
        ({"jwks_url": "https://example.org/" + "x" * 1000}, "/jwks_url"),
    ],
    ids=repr,
)
def test_a_draft_that_breaks_a_rule_is_refused(office: Office, changes: dict[str, Any], pointer: str) -> None:
    answer = office.writer.post(APPS, {"name": "x", "scopes": ["cards"], **changes})
    assert answer.status_code == 422
    assert [error["pointer"] for error in told(answer)["errors"]] == [pointer]


def test_the_sandbox_of_an_app_never_changes(office: Office) -> None:
    app_id = office.draft()["app_id"]
    answer = office.patch(app_id, sandbox=True)
    assert told(answer)["errors"][0]["code"] == "unknown-member"


def test_apps_are_listed_newest_first_by_state(service: Service, office: Office) -> None:
    made = []
    for number in range(3):
        service.clock.advance(1)
        made.append(office.draft(name=f"应用{number}")["app_id"])
    office.approve(made[1])
    first = told(office.approver.get(f"{APPS}?limit=2&state=draft"))
    assert [app["app_id"] for app in first["apps"]] == [made[2], made[0]]
    whole = told(office.approver.get(f"{APPS}?limit=2"))
    rest = told(office.approver.get(f"{APPS}?limit=100&cursor={whole['next']}"))
    assert [app["app_id"] for app in whole["apps"] + rest["apps"]][:3] == made[::-1]
    assert rest["next"] is None
    assert problem(office.approver.get(f"{APPS}?state=gone"))[0] == 422


def test_an_app_that_is_not_there_is_not_found(office: Office) -> None:
    for path, method in (("", "GET"), ("/secrets", "POST"), ("/suspend", "POST")):
        body = {"reason": "x"} if path == "/suspend" else {} if method == "POST" else None
        who = office.approver if path == "/suspend" else office.writer
        gone = f"{APPS}/019a0000-0000-7000-8000-000000000000{path}"
        assert problem(who.call(method, gone, body)) == (404, "app-not-found")


def test_keys_by_value_are_added_known_by_thumbprint_and_ended(office: Office) -> None:
    app_id, jwk = office.draft()["app_id"], public_jwk()
    made = told(office.writer.post(f"{APPS}/{app_id}/keys", {"jwk": jwk}))
    assert made["kid"] == made["thumbprint"]
    assert problem(office.writer.post(f"{APPS}/{app_id}/keys", {"jwk": jwk})) == (409, "key-known")
    named = told(office.writer.post(f"{APPS}/{app_id}/keys", {"jwk": public_jwk(kid="k1")}))
    assert named["kid"] == "k1"
    assert problem(office.writer.post(f"{APPS}/{app_id}/keys", {"jwk": public_jwk(kid="k1")})) == (409, "key-known")
    for _ in range(3):
        assert office.writer.post(f"{APPS}/{app_id}/keys", {"jwk": public_jwk()}).status_code == 201
    assert problem(office.writer.post(f"{APPS}/{app_id}/keys", {"jwk": public_jwk()})) == (409, "too-many-keys")
    assert office.writer.call("DELETE", f"{APPS}/{app_id}/keys/{named['key_id']}").status_code == 204
    assert problem(office.writer.call("DELETE", f"{APPS}/{app_id}/keys/{named['key_id']}")) == (
        404,
        "app-key-not-found",
    )
    assert len(told(office.read(app_id))["keys"]) == 4


_RSA = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key(), as_dict=True)
_ED = OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key(), as_dict=True)
_P384 = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True)
_PRIVATE = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)


@pytest.mark.parametrize(
    ("jwk", "code"),
    [
        (_RSA, "key-kind"),
        (_ED, "key-kind"),
        (_P384, "key-kind"),
        ({"kty": "oct", "k": "c2VjcmV0"}, "private-key"),
        (_PRIVATE, "private-key"),
        (public_jwk(alg="HS256"), "key-kind"),
        (public_jwk(alg="none"), "key-kind"),
        (public_jwk(use="enc"), "key-use"),
        (public_jwk(x="A" * 43), "key-shape"),
        (public_jwk(x="A" * 42), "key-shape"),
        (public_jwk(y=7), "key-shape"),
        (public_jwk(kid="x" * 101), "key-shape"),
        (public_jwk(kid="空"), "key-shape"),
        (public_jwk(kid=""), "key-shape"),
        (public_jwk(crv="secp256k1"), "key-kind"),
    ],
    ids=[
        *("rsa", "ed25519", "p384", "oct", "private", "hs", "none", "enc", "off curve", "short", "number", "long kid"),
        *("chinese kid", "empty kid", "k1 curve"),
    ],
)
def test_a_key_of_another_kind_is_refused(office: Office, jwk: dict[str, Any], code: str) -> None:
    answer = office.writer.post(f"{APPS}/{office.draft()['app_id']}/keys", {"jwk": jwk})
    assert answer.status_code == 422
    assert told(answer)["errors"][0]["code"] == code
