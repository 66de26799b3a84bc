"""`/v1/webhooks` and `/v1/admin/webhooks`: who may do what, and every refusal."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from ehc.access import webhooks
from ehc.callers import Role
from ehc.commands import main
from ehc.settings import Settings, SettingsError
from ehc.worker import drain
from tests.contract.helpers import at_once
from tests.support.service import Api, told
from tests.support.webhooks import ALL, Hooks, kinds, receiving

NOBODY = "http://127.0.0.1:9/hook"


@pytest.fixture
def hooks(settings: Settings) -> Iterator[Hooks]:
    made = Hooks.start(settings)
    yield made
    made.stop()


def path(made: dict[str, Any], more: str = "") -> str:
    return f"/v1/webhooks/{made['webhook_id']}{more}"


def patch(app: Api, made: dict[str, Any], tag: str | None, **changes: Any) -> Any:
    headers = app.headers | ({"If-Match": tag} if tag is not None else {})
    return app.http.patch(path(made), json=changes, headers=headers)


def test_a_subscription_tells_its_secret_once(hooks: Hooks) -> None:
    app = hooks.service.app
    made = hooks.subscribe(NOBODY, ["card.used", "card.changed"])
    assert made["secret"].startswith("whsec_")
    assert made["state"] == "live"
    assert made["kinds"] == ["card.changed", "card.used"]
    for answer in (app.get(path(made)), app.get("/v1/webhooks"), app.get(path(made, "/deliveries"))):
        assert answer.status_code == 200
        assert "secret" not in answer.text.replace("old_secret_until", "")
        assert made["secret"] not in answer.text
    with hooks.service.session() as session:
        kept = session.execute(text("SELECT * FROM webhook")).one()
    assert made["secret"][6:30] not in str(kept)


def test_the_answer_with_the_secret_is_not_stored_for_an_idempotency_key(hooks: Hooks) -> None:
    app = hooks.service.app
    body = {"url": NOBODY, "kinds": ["card.used"]}
    assert app.post("/v1/webhooks", body, Idempotency_Key="k1").status_code == 201
    assert told(app.post("/v1/webhooks", body, Idempotency_Key="k1"))["code"] == "webhook-exists"
    with hooks.service.session() as session:
        assert session.execute(text("SELECT count(*) FROM idempotency")).scalar_one() == 0


@pytest.mark.parametrize(
    "url",
    ["http://example.com/", "https://10.0.0.1/", "https://localhost.localdomain/", "https://user@example.com/", "x"],
)
def test_a_target_that_leads_inside_is_refused_and_not_repeated(hooks: Hooks, url: str) -> None:
    answer = hooks.service.app.post("/v1/webhooks", {"url": url, "kinds": ALL})
    assert (answer.status_code, told(answer)["code"]) == (422, "target-refused")
    assert url == "x" or url not in answer.text
    made = hooks.subscribe(NOBODY)
    answer = patch(hooks.service.app, made, "*", url=url)
    assert (answer.status_code, told(answer)["code"]) == (422, "target-refused")


def test_a_name_that_leads_inside_later_is_not_sent_to(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    from ehc.outside import guarded_http

    app = hooks.service.app
    addresses = ["8.8.8.8"]
    monkeypatch.setattr(guarded_http, "system_lookup", lambda *_: addresses)
    monkeypatch.setattr(guarded_http, "checked", _with_lookup(guarded_http.checked, lambda *_: addresses))
    answer = app.post("/v1/webhooks", {"url": "https://hooks.example.com/x", "kinds": ALL})
    assert answer.status_code == 201, answer.text
    addresses[:] = ["169.254.169.254"]
    hooks.act(app.register(), "suspend")
    hooks.deliver()
    shown = told(app.get(path(told(answer))))
    assert (shown["last_error"], shown["last_status"]) == ("refused", None)


def _with_lookup(function: Any, lookup: Any) -> Any:
    return lambda target, **words: function(target, **words | {"lookup": lookup})


def test_without_the_setting_this_machine_is_no_target(settings: Settings) -> None:
    from tests.support.service import Service

    service = Service.start(settings)
    try:
        answer = service.app.post("/v1/webhooks", {"url": NOBODY, "kinds": ALL})
        assert (answer.status_code, told(answer)["code"]) == (422, "target-refused")
    finally:
        service.stop()


def test_what_was_allowed_in_a_demo_is_not_sent_to_in_production(hooks: Hooks) -> None:
    with receiving() as receiver:
        made = hooks.subscribe(receiver.url)
        hooks.act(hooks.service.app.register(), "suspend")
        hooks.place.settings = Settings(**{**vars(hooks.place.settings), "webhook_loopback": False})
        hooks.deliver()
        assert kinds(receiver) == []
        assert hooks.shown(made)["last_error"] == "refused"


def test_the_setting_is_for_demos_only() -> None:
    least = {"EHC_DATABASE_URL": "postgresql://u@h/d", "EHC_KEK_FILE": "/k", "EHC_WEBHOOK_LOOPBACK": "1"}
    with pytest.raises(SettingsError, match="EHC_WEBHOOK_LOOPBACK"):
        Settings.from_env(least)
    assert Settings.from_env(least | {"EHC_DEMO": "1"}).webhook_loopback
    assert not Settings.from_env(least | {"EHC_WEBHOOK_LOOPBACK": "0"}).webhook_loopback


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": NOBODY},
        {"kinds": ["card.used"]},
        {"url": NOBODY, "kinds": []},
        {"url": NOBODY, "kinds": ["webhook.test"]},
        {"url": NOBODY, "kinds": ["card.*"]},
        {"url": NOBODY, "kinds": "card.used"},
        {"url": NOBODY, "kinds": ["card.used"] * 8},
        {"url": NOBODY, "kinds": ["card.used"], "secret": "whsec_mine"},
        {"url": "http://127.0.0.1/" + "a" * 500, "kinds": ["card.used"]},
    ],
)
def test_a_subscription_that_is_not_whole_is_refused(hooks: Hooks, body: dict[str, Any]) -> None:
    answer = hooks.service.app.post("/v1/webhooks", body)
    assert (answer.status_code, told(answer)["code"]) == (422, "invalid-request")


def test_events_of_bindings_need_their_scope(hooks: Hooks) -> None:
    from ehc.access import clients
    from ehc.callers import Scope

    service = hooks.service
    with service.session() as session:
        made = clients.add_app(session, name="x", scopes=frozenset({Scope.CARDS}), now=service.clock.now())
    app = Api(service.flask.test_client(), made)
    answer = app.post("/v1/webhooks", {"url": NOBODY, "kinds": ALL})
    assert (answer.status_code, told(answer)["code"]) == (403, "kind-not-allowed")
    hook = hooks.subscribe(NOBODY, ["card.used"], app)
    assert patch(app, hook, "*", kinds=["binding.changed"]).status_code == 403


def test_an_app_has_twenty_subscriptions_at_most_also_when_it_asks_at_once(hooks: Hooks) -> None:
    app, service = hooks.service.app, hooks.service
    for number in range(18):
        hooks.subscribe(f"{NOBODY}/{number}")
    codes: list[int] = []

    def ask(number: int) -> None:
        headers = app.headers | {"Content-Type": "application/json"}
        answer = service.flask.test_client().post(
            "/v1/webhooks", json={"url": f"{NOBODY}/more-{number}", "kinds": ["card.used"]}, headers=headers
        )
        codes.append(answer.status_code)

    threads = [threading.Thread(target=ask, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [201, 201, *[409] * 6]
    assert told(app.post("/v1/webhooks", {"url": f"{NOBODY}/z", "kinds": ALL}))["code"] == "too-many-webhooks"
    assert len(told(app.get("/v1/webhooks"))["items"]) == webhooks.MOST


def test_one_url_has_one_subscription_of_an_app(hooks: Hooks) -> None:
    service = hooks.service
    made, second = hooks.subscribe(NOBODY), hooks.subscribe(NOBODY + "/2")
    answer = service.app.post("/v1/webhooks", {"url": NOBODY, "kinds": ALL})
    assert (answer.status_code, told(answer)["code"]) == (409, "webhook-exists")
    assert told(patch(service.app, second, "*", url=NOBODY))["code"] == "webhook-exists"
    hooks.subscribe(NOBODY, app=service.other_app)
    assert service.app.http.delete(path(made), headers=service.app.headers).status_code == 204
    hooks.subscribe(NOBODY)


def test_another_apps_subscription_is_not_there(hooks: Hooks) -> None:
    made, other = hooks.subscribe(NOBODY), hooks.service.other_app
    answers = [
        other.get(path(made)),
        other.get(path(made, "/deliveries")),
        patch(other, made, "*", state="paused"),
        other.http.delete(path(made), headers=other.headers),
        other.post(path(made, "/secret"), {}),
        other.post(path(made, "/test")),
        other.post(path(made, "/replay"), {"since": hooks.service.clock.now().isoformat()}),
        other.post(path(made, "/redeliver"), {}),
    ]
    assert {(answer.status_code, told(answer)["code"]) for answer in answers} == {(404, "webhook-not-found")}
    assert told(other.get("/v1/webhooks"))["items"] == []
    assert hooks.shown(made)["state"] == "live"


def test_a_deleted_subscription_is_not_there_and_nothing_is_sent(hooks: Hooks) -> None:
    app = hooks.service.app
    with receiving() as receiver:
        made = hooks.subscribe(receiver.url)
        hooks.act(app.register(), "suspend")
        hooks.place_events()
        assert app.http.delete(path(made), headers=app.headers).status_code == 204
        assert app.get(path(made)).status_code == 404
        assert app.http.delete(path(made), headers=app.headers).status_code == 404
        hooks.deliver()
        assert kinds(receiver) == []


def test_terminals_staff_and_strangers_have_no_subscriptions(hooks: Hooks) -> None:
    service = hooks.service
    assert service.terminal.get("/v1/webhooks").status_code == 403
    assert service.client().get("/v1/webhooks").status_code == 401
    assert service.staff(Role.SYSTEM_ADMIN).get("/v1/webhooks").status_code == 401


@pytest.mark.parametrize(
    ("tag", "status"), [(None, 428), ("", 428), ('"1"', 200), ('W/"1"', 200), ("*", 200), ('"2"', 412), ("x", 422)]
)
def test_a_change_needs_what_was_read(hooks: Hooks, tag: str | None, status: int) -> None:
    made = hooks.subscribe(NOBODY)
    answer = patch(hooks.service.app, made, tag, state="paused")
    assert answer.status_code == status, answer.text
    assert hooks.shown(made)["state"] == ("paused" if status == 200 else "live")


@pytest.mark.parametrize("body", [{}, {"state": "deleted"}, {"kinds": []}, {"url": ""}, {"state": None}, {"x": 1}])
def test_a_change_that_is_none_is_refused(hooks: Hooks, body: dict[str, Any]) -> None:
    assert patch(hooks.service.app, hooks.subscribe(NOBODY), "*", **body).status_code == 422


def test_a_paused_subscription_goes_on_with_what_it_gathered(hooks: Hooks) -> None:
    app = hooks.service.app
    with receiving() as receiver:
        made = hooks.subscribe(NOBODY)
        assert patch(app, made, "*", state="paused", url=receiver.url).status_code == 200
        assert [len(told(app.get(f"/v1/webhooks?state={state}"))["items"]) for state in ("live", "paused")] == [0, 1]
        shown = hooks.shown(made)
        assert (shown["state"], shown["paused_by"], shown["url"]) == ("paused", "app", receiver.url)
        hooks.act(app.register(), "suspend")
        hooks.deliver()
        assert kinds(receiver) == []
        assert hooks.shown(made)["waiting"] == 1
        assert patch(app, made, "*", state="live").status_code == 200
        hooks.deliver()
        assert kinds(receiver) == ["card.suspended"]


def test_a_secret_is_given_anew_with_an_overlap_of_a_week_at_most(hooks: Hooks) -> None:
    app, made = hooks.service.app, hooks.subscribe(NOBODY)
    for hours, status in ((0, 200), (168, 200), (169, 422), (-1, 422)):
        assert app.post(path(made, "/secret"), {"overlap_hours": hours}).status_code == status
    until = hooks.shown(made)["old_secret_until"]
    assert until.startswith(f"{hooks.service.clock.now() + timedelta(hours=168):%Y-%m-%dT%H:%M}")
    app.post(path(made, "/secret"), {"overlap_hours": 0})
    assert hooks.shown(made)["old_secret_until"] is None


def test_a_test_event_goes_to_the_one_that_asked(hooks: Hooks) -> None:
    app = hooks.service.app
    with receiving() as receiver, receiving() as other:
        made = hooks.subscribe(receiver.url, ["card.used"])
        hooks.subscribe(other.url)
        answer = app.post(path(made, "/test"))
        assert answer.status_code == 202
        hooks.deliver()
        (event,) = receiver.manners.seen
        assert (event["type"], event["id"], event["data"]) == ("webhook.test", told(answer)["event_id"], {})
        assert kinds(other) == []


def test_five_test_events_wait_at_most(hooks: Hooks) -> None:
    app, made = hooks.service.app, hooks.subscribe(NOBODY)
    assert [app.post(path(made, "/test")).status_code for _ in range(6)] == [202] * 5 + [409]


def test_one_replay_of_a_subscription_waits_or_runs_at_a_time(hooks: Hooks) -> None:
    """Each goes over thirty days of events: an app that asks again and again would have all of the worker's time."""
    app, made, since = hooks.service.app, hooks.subscribe(NOBODY), hooks.service.clock.now().isoformat()
    other = hooks.subscribe(NOBODY + "/2")
    answers = at_once(*[lambda: hooks.service.client().post(
        path(made, "/replay"), json={"since": since}, headers=app.headers
    )] * 5)  # fmt: skip
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409, 409]
    assert {told(answer)["code"] for answer in answers if answer.status_code == 409} == {"replay-waits"}
    assert app.post(path(other, "/replay"), {"since": since}).status_code == 202
    drain(hooks.place)
    assert app.post(path(made, "/replay"), {"since": since}).status_code == 202


def test_a_replay_begins_within_the_last_thirty_days(hooks: Hooks) -> None:
    app, made, now = hooks.service.app, hooks.subscribe(NOBODY), hooks.service.clock.now()
    for since, status in (
        (now - timedelta(days=30), 202),
        (now - timedelta(days=30, seconds=1), 422),
        (now, 202),
        (now + timedelta(seconds=1), 422),
    ):
        assert app.post(path(made, "/replay"), {"since": since.isoformat()}).status_code == status
        drain(hooks.place)
    assert app.post(path(made, "/replay"), {"since": "2026-01-01T00:00:00"}).status_code == 422
    assert app.post(path(made, "/replay"), {}).status_code == 422


def test_deliveries_come_in_pages_the_newest_first_and_do_not_say_whose_card(hooks: Hooks) -> None:
    app = hooks.service.app
    with receiving() as receiver:
        made = hooks.subscribe(receiver.url)
        card = app.register()
        hooks.act(card, *["suspend", "resume"] * 3)
        hooks.deliver()
        found: list[str] = []
        cursor = ""
        while cursor is not None:
            answer = app.get(path(made, f"/deliveries?limit=4{'&cursor=' + cursor if cursor else ''}"))
            assert card["card_id"] not in answer.text
            found += [one["event_id"] for one in told(answer)["items"]]
            cursor = told(answer)["next"]
        assert found == [event["id"] for event in receiver.manners.seen][::-1]
    for query in ("state=sent", "limit=0", "limit=101", "cursor=x", "x=1"):
        assert app.get(path(made, f"/deliveries?{query}")).status_code == 422
    wild = __import__("ehc.web.paging", fromlist=["cursor"]).cursor((hooks.service.clock.now(), uuid4()))
    assert app.get(path(made, f"/deliveries?cursor={wild}")).status_code == 200


def test_every_change_is_audited_with_the_host_alone_and_no_secret(hooks: Hooks) -> None:
    app, service = hooks.service.app, hooks.service
    made = hooks.subscribe(NOBODY + "?token=t0ken")
    patch(app, made, "*", kinds=["card.used"])
    new = told(app.post(path(made, "/secret"), {}))["secret"]
    app.post(path(made, "/replay"), {"since": service.clock.now().isoformat()})
    app.post(path(made, "/redeliver"), {})
    app.http.delete(path(made), headers=app.headers)
    with service.session() as session:
        rows = session.execute(text("SELECT action, entry FROM audit WHERE action LIKE 'webhook.%' ORDER BY at")).all()
    assert {row.action for row in rows} == {
        f"webhook.{what}" for what in ("created", "changed", "secret-rotated", "replayed", "redelivered", "deleted")
    }
    whole = " ".join(str(bytes(row.entry) if not isinstance(row.entry, str) else row.entry) for row in rows)
    assert "127.0.0.1" in whole
    assert "before" in whole
    for secret in ("t0ken", made["secret"][6:], new[6:]):
        assert secret not in whole


ADMIN = "/v1/admin/webhooks"
READERS = {Role.SYSTEM_ADMIN, Role.SECURITY_ADMIN}


def test_staff_see_and_pause_by_their_roles(hooks: Hooks) -> None:
    from ehc.access.models import InstitutionRow
    from ehc.callers import Branch

    service, made = hooks.service, hooks.subscribe(NOBODY)
    with service.session() as session:
        institution = session.query(InstitutionRow).first()
        assert institution is not None
        at_one = Branch(institution_id=institution.id)
    for role in Role:
        branch = Branch(region="370000") if role is Role.REGION_OPERATOR else None
        if role in {Role.INSTITUTION_OPERATOR, Role.CLERK}:
            branch = at_one
        staff = service.staff(role, branch=branch)
        reads, writes = (200 if role in READERS else 403), (200 if role is Role.SYSTEM_ADMIN else 403)
        one = f"{ADMIN}/{made['webhook_id']}"
        assert staff.get(ADMIN).status_code == reads
        assert staff.get(f"{one}/deliveries").status_code == reads
        assert staff.post(f"{one}/pause", {"reason": "x"}).status_code == writes
        assert staff.post(f"{one}/resume", {"reason": "x"}).status_code == writes
        assert staff.post(f"{one}/redeliver").status_code == writes
    assert service.app.get(ADMIN).status_code == 401
    assert service.client().get(ADMIN).status_code == 401


def test_what_staff_paused_the_app_cannot_set_going(hooks: Hooks) -> None:
    service, made = hooks.service, hooks.subscribe(NOBODY)
    staff = service.staff(Role.SYSTEM_ADMIN)
    one = f"{ADMIN}/{made['webhook_id']}"
    answer = told(staff.post(f"{one}/pause", {"reason": "接收端异常"}))
    assert (answer["state"], answer["paused_by"], answer["client_id"]) == (
        "paused",
        "staff",
        service.app.credentials.client_id,
    )
    assert hooks.shown(made)["notice"]
    for state in ("live",):
        refused = patch(service.app, made, "*", state=state)
        assert (refused.status_code, told(refused)["code"]) == (409, "webhook-held")
    assert patch(service.app, made, "*", kinds=["card.used"]).status_code == 200
    assert patch(service.app, made, "*", state="paused").status_code == 200  # it is
    assert hooks.shown(made)["paused_by"] == "staff"
    assert told(staff.post(f"{one}/resume", {"reason": "已修复"}))["state"] == "live"
    assert staff.post(f"{one}/pause", {}).status_code == 422
    assert staff.post(f"{one}/pause", {"reason": "x" * 201}).status_code == 422
    unknown = f"{ADMIN}/{uuid4()}"
    for act in ("pause", "resume", "redeliver"):
        assert staff.post(f"{unknown}/{act}", {"reason": "x"} if act != "redeliver" else {}).status_code == 404
    assert staff.get(f"{unknown}/deliveries").status_code == 404


def test_what_staff_paused_the_app_cannot_replace(hooks: Hooks) -> None:
    app, staff = hooks.service.app, hooks.service.staff(Role.SYSTEM_ADMIN)
    held, free = hooks.subscribe(NOBODY), hooks.subscribe(NOBODY + "/2")
    staff.post(f"{ADMIN}/{held['webhook_id']}/pause", {"reason": "接收端异常"})
    for url in (NOBODY + "/3", NOBODY):
        refused = app.post("/v1/webhooks", {"url": url, "kinds": ["card.used"]})
        assert (refused.status_code, told(refused)["code"]) == (409, "webhook-held")
    gone = app.http.delete(path(held), headers=app.headers)
    assert (gone.status_code, told(gone)["code"]) == (409, "webhook-held")
    assert app.http.delete(path(free), headers=app.headers).status_code == 204
    hooks.subscribe(NOBODY, app=hooks.service.other_app)
    staff.post(f"{ADMIN}/{held['webhook_id']}/resume", {"reason": "已修复"})
    hooks.subscribe(NOBODY + "/3")
    assert app.http.delete(path(held), headers=app.headers).status_code == 204


def test_staff_find_the_subscriptions_that_fail_page_by_page(hooks: Hooks) -> None:
    service = hooks.service
    ids = []
    for number in range(3):
        service.clock.advance(1)
        ids.append(hooks.subscribe(f"{NOBODY}/{number}")["webhook_id"])
    staff = service.staff(Role.SECURITY_ADMIN)
    first = told(staff.get(f"{ADMIN}?limit=2"))
    second = told(staff.get(f"{ADMIN}?limit=2&cursor={first['next']}"))
    assert [one["webhook_id"] for one in first["items"] + second["items"]] == ids[::-1]
    assert second["next"] is None
    assert "secret" not in str(first).replace("old_secret_until", "")
    assert told(staff.get(f"{ADMIN}?failing=true"))["items"] == []
    hooks.act(service.app.register(), "suspend")
    hooks.deliver()
    assert {one["webhook_id"] for one in told(staff.get(f"{ADMIN}?failing=true"))["items"]} == set(ids)


def test_the_command_line_lists_pauses_resumes_and_sends_again(hooks: Hooks, database_url: str) -> None:
    def ehc(*words: str) -> str:
        result = CliRunner().invoke(main, ["webhooks", *words], env={"EHC_DATABASE_URL": database_url})
        return result.output if result.exit_code == 0 else f"failed: {result.output}"

    made = hooks.subscribe(NOBODY)
    one = made["webhook_id"]
    assert one in ehc("list")
    assert ehc("list", "--failing") == ""
    assert "paused" in ehc("pause", one, "--by", "0042", "--reason", "x")
    assert "paused:staff" in ehc("list", "--failing")
    assert "live" in ehc("resume", one, "--by", "0042", "--reason", "x")
    hooks.act(hooks.service.app.register(), "suspend")
    hooks.deliver()
    with hooks.service.session() as session:
        session.execute(text("UPDATE webhook_delivery SET state = 'dead'"))
    assert "card.suspended" in ehc("dead", one)
    assert ehc("redeliver", one).strip() == "1"
    assert ehc("dead", one) == ""
    assert ehc("replay", one, "2020-01-01").strip() == "1"
    for words in (("pause", str(uuid4()), "--by", "1", "--reason", "x"), ("dead", str(uuid4()))):
        assert ehc(*words).startswith("failed")
