"""A whole run, with values in every wrong place, and then a search: no log and no metric tells of a person."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from ehc.access import clients
from ehc.callers import Scope
from ehc.clock import SystemClock
from ehc.dev import main_job
from ehc.dev.postgres import EmbeddedPostgres
from tests.e2e.conftest import Found
from tests.e2e.peers import Peer, Unanswered
from tests.e2e.sites import HOST, Site, own_database
from tests.support.imports import row, written
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
IMPORTED = [
    row(733, "司马独行", phone="13511112222", address="聊城市东昌路七号", employer="独行煤矿", reference="独行卷宗"),
    row(744, "公孙异名", phone="13533334444", address="菏泽市牡丹路八号", employer="异名药厂", reference="异名卷宗"),
    row(755, "尉迟无踪", phone="13555556666", address="临沂市沂蒙路九号", employer="无踪书店", reference="无踪卷宗"),
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
    talkative: Site, postgres: EmbeddedPostgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
    queued, commands = come_and_go(talkative, tmp_path)
    secrets |= {value for someone in IMPORTED for name, value in someone.items() if name != "id_type"}

    told = {"log": talkative.log_text(), "metrics": everything_measured(app), "jobs": queued, "commands": commands}
    told["postgres"] = postgres.log.read_text(encoding="utf-8")
    assert told["log"].count('"event":"request"') > 300
    assert "unhandled error" not in told["log"]
    assert "ehc_requests_total" in told["metrics"]
    assert "system is ready" in told["postgres"]
    assert "issuer.run-import" in told["jobs"]
    assert not [mark for mark in ("rows    4", "known   2", "bad     2", "Stopped: ", "cards ") if mark not in commands]
    leaks = {
        (place, value) for place, whole in told.items() for value in secrets for form in forms(value) if form in whole
    }
    assert leaks == set()


def come_and_go(site: Site, folder: Path) -> tuple[str, str]:
    """Imports over the API and from a file, bad rows among them, one broken by a database that fails; an export.

    Answers with the arguments of the job that did the first, and all that the commands and the worker said.
    """
    with Session(site.engine) as session, session.begin():
        scopes = frozenset({Scope.CARDS, Scope.BATCH})
        sender = clients.add_app(session, name="批量", scopes=scopes, now=SystemClock().now())
    peer = Peer(HOST, site.servers[0].port, sender, site.wires).log_in()
    bearer = {"Authorization": f"Bearer {peer.token}", "Content-Type": "text/csv"}
    rows = [*IMPORTED[:2], {**IMPORTED[0], "name": "别人"}, {**IMPORTED[1], "id_number": IMPORTED[1]["id_number"][:-1]}]
    path = written(folder, rows)
    for body in (path.read_bytes(), f"name,{IMPORTED[0]['name']}\n".encode()):
        peer.send("POST", "/v1/imports", body, bearer)
    with Session(site.engine) as session:
        queued = "".join(map(str, session.execute(text("SELECT task_name, args FROM procrastinate_jobs"))))
    said = run_ehc(site, "worker", "--drain")
    said += run_ehc(site, "cards", "import", str(path), "--dry-run")
    with site.engine.begin() as connection:
        connection.execute(text("ALTER TABLE card ADD CHECK (level <> 'clerk') NOT VALID"))
    said += run_ehc(site, "cards", "import", str(written(folder, [{**IMPORTED[2], "level": "clerk"}], "b.csv")), code=1)
    with site.engine.begin() as connection:
        connection.execute(text("ALTER TABLE card DROP CONSTRAINT card_level_check"))
    said += run_ehc(site, "cards", "import", str(path), "--again")
    said += run_ehc(site, "cards", "export", str(folder / "out.csv"))
    exported = (folder / "out.csv").read_text(encoding="utf-8")
    assert all(someone["id_number"] in exported for someone in IMPORTED[:2])
    return queued, said + (folder / "people.csv.errors.csv").read_text(encoding="utf-8")


def run_ehc(site: Site, *words: str, code: int = 0) -> str:
    """`ehc …` as an operator runs it; what it said."""
    env = dict(os.environ) | {"EHC_DATABASE_URL": site.database_url, "EHC_LOG_LEVEL": "DEBUG"}
    command = [sys.executable, "-c", "from ehc.commands import main; main()", *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


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
