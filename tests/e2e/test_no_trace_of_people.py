"""A whole run, with values in every wrong place, and then a search: no log and no metric tells of a person."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ehc.dev import main_job
from ehc.dev.postgres import EmbeddedPostgres
from tests.e2e.conftest import Found
from tests.e2e.peers import Peer, Unanswered
from tests.e2e.sites import Site, own_database
from tests.support.service import citizen_number, person

PEOPLE = [
    {
        "name": "欧阳晓燕",
        "phone": "13912345678",
        "id_number": citizen_number(711),
        "address": "济南市历下区泺源大街六号",
    },
    {
        "name": "买买提·吐尔逊",
        "phone": "18687654321",
        "id_number": citizen_number(722),
        "address": "喀什市艾提尕尔路九号",
    },
    {"name": "Quentin Featherstone", "phone": "+442079460958", "id_type": "03", "id_number": "E98765432"},
]
OPERATOR = "挂号员欧阳"
EVIDENCE = "柜台影像七七四"

pytestmark = pytest.mark.xdist_group("heavy")


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path / "postgres", durable=False) as server:
        yield server


@pytest.fixture
def talkative(found: Found, postgres: EmbeddedPostgres) -> Site:
    """A site that logs all it ever logs, on a PostgreSQL whose log is ours to read."""
    site = found(own_database(postgres))
    site.launch(workers=2, EHC_LOG_LEVEL="DEBUG", EHC_CODES_PER_MINUTE="3")
    return site


def test_no_log_and_no_metric_holds_anything_of_a_person(
    talkative: Site, postgres: EmbeddedPostgres, capsys: pytest.CaptureFixture[str]
) -> None:
    app, terminal = talkative.peer("app"), talkative.peer("terminal-0")
    demo = {"base_url": talkative.servers[0].url} | {
        role: vars(talkative.credentials[name]) | {"terminal_code": name}
        for role, name in {"app": "app", "terminal": "terminal-0", "second_terminal": "terminal-1"}.items()
    }
    assert [step.result for step in main_job.run(demo)] == ["active", "accepted", "rejected"]
    capsys.readouterr()  # the terminal of `make run` shows the code; that is what it is for
    secrets: set[str] = {OPERATOR, EVIDENCE, app.token, terminal.token}
    secrets |= {str(main_job.PERSON[fact]) for fact in ("name", "id_number", "phone")}
    secrets |= {one.client_secret for one in talkative.credentials.values()}
    for serial, extra in enumerate(PEOPLE):
        someone = person(serial, **extra) | {"verification": {"method": "document-seen", "reference": EVIDENCE}}
        secrets |= {value for name, value in extra.items() if name != "id_type"}
        secrets |= lead_a_life(app, terminal, someone)
    for value in sorted(secrets):
        misplace(app, value)
        misplace(terminal, value)
    refused_tokens(app, secrets)

    told = {"log": talkative.log_text(), "metrics": everything_measured(app)}
    told["postgres"] = postgres.log.read_text(encoding="utf-8")
    assert told["log"].count('"event":"request"') > 300
    assert "unhandled error" not in told["log"]
    assert "ehc_requests_total" in told["metrics"]
    assert "system is ready" in told["postgres"]
    leaks = {
        (place, value) for place, whole in told.items() for value in secrets for form in forms(value) if form in whole
    }
    assert leaks == set()


def lead_a_life(app: Peer, terminal: Peer, someone: dict[str, Any]) -> set[str]:
    """Registration, codes, checks, states, refusals of every kind; the ids and texts that came up."""
    reply = app.post("/v1/cards", someone, Idempotency_Key=f"key-{someone['id_number']}")
    assert reply.status == 201, reply.raw
    card = reply.body["card_id"]
    answers = [app.post(f"/v1/cards/{card}/codes", {"image": "svg"}) for _ in range(4)]
    assert [answer.status for answer in answers] in ([201] * 4, [201, 201, 201, 429])
    codes = [answer.body["code"] for answer in answers[:3]]
    shown = {"code": codes[0], "step": "registration", "operator": OPERATOR, "department": "内科", "request_id": "r-1"}
    assert terminal.post("/v1/verifications", shown).body["outcome"] == "accepted"
    for code in (codes[0], codes[1][:-1], codes[1] + "1", codes[2].replace("7", "8")):
        terminal.post("/v1/verifications", shown | {"code": code})
    for wrong in (
        {"name": someone["name"] + "\0"},
        {"name": "别人"},
        {"id_number": someone["id_number"][:-1]},
        {"sex": "9" * 300},
    ):
        app.post("/v1/cards", someone | wrong)
    app.post(f"/v1/cards/{card}/suspend", {"reason": f"{someone['name']}的手机丢了"})
    terminal.post("/v1/verifications", shown | {"code": codes[1]})
    app.get(f"/v1/cards/{card}")
    return {*codes, reply.body["ehc_id"], reply.body["index_id"]}


def misplace(peer: Peer, value: str) -> None:
    """Send a value where it does not belong. What is answered does not matter here."""
    plain = quote(value)
    paths = (f"/v1/cards/{plain}", f"/{plain}", f"/v1/cards?{plain}={plain}", f"/healthz?name={plain}")
    bearer = {"Authorization": f"Bearer {peer.token}", "Content-Type": "application/json"}
    bodies = [
        (
            "/v1/verifications",
            json.dumps({value: value, "code": {value: [value]}, "step": value, "channel": value}).encode(),
        ),
        (
            "/v1/cards",
            json.dumps({value: 1, "name": [value], "verification": {"method": value, value: value}}).encode(),
        ),
        ("/v1/cards", f'{{"name": "{value}", oops'.encode()),
    ]
    word = value if value.isascii() else quote(value, safe="")
    for path in paths:
        sent(peer, "GET", path, None, bearer)
        sent(peer, "POST", path, b"{}", bearer)
    for path, body in bodies:
        sent(peer, "POST", path, body, bearer)
    sent(peer, "POST", "/v1/cards", f"name={value}".encode(), bearer | {"Content-Type": "text/plain"})
    for header in ("X-Request-Id", "Idempotency-Key", "If-Match", "Accept-Language", "User-Agent", "Cookie", "X-Name"):
        sent(peer, "GET", "/healthz", None, {header: word})
        sent(peer, "POST", *bodies[0], bearer | {header: word})
    if word.isalnum():
        sent(peer, "GET", "/healthz", None, {word: word})  # as the name of a header
        sent(peer, word, f"/v1/cards/{plain}", b"", {})  # as a method


def sent(peer: Peer, *request: Any) -> None:
    for _ in range(2):  # a connection that was closed after a refusal is noticed only when it is used
        with suppress(*Unanswered):
            peer.send(*request)
            return


def refused_tokens(peer: Peer, values: set[str]) -> None:
    for value in sorted(values):
        form = f"grant_type=client_credentials&client_id={quote(value)}&client_secret={quote(value)}".encode()
        urlencoded = {"Content-Type": "application/x-www-form-urlencoded"}
        assert peer.send("POST", "/oauth/token", form, urlencoded).status == 401
        for authorization in (f"Bearer {quote(value)}", quote(value)):
            sent(peer, "GET", "/v1/cards/01890000-0000-7000-8000-000000000000", None, {"Authorization": authorization})


def everything_measured(peer: Peer) -> str:
    return peer.get("/metrics").raw.decode()


def forms(value: str) -> set[str]:
    """A value as it may stand in a log: plain, escaped as JSON or an URL has it, or as Python writes bytes."""
    return {value, json.dumps(value)[1:-1], quote(value), quote(value, safe=""), repr(value.encode())[2:-1]}
