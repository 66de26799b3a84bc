"""The command line on a database of its own: clients, cards, partitions, purges; and what goes wrong, as a sentence."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from ehc.access import clients
from ehc.cards import events
from ehc.commands import main
from ehc.crypto.wrapping import KeyEncryptingKey
from ehc.keystore import secret_keys
from tests.support.service import Api, Service, person
from tests.support.service import told as answered
from tests.support.terminals import KeyTerminal, enrolment

Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str) -> Run:
    """Runs `ehc …` on the test's database."""

    def command(*words: str, **env: str) -> Result:
        return CliRunner().invoke(main, list(words), env={"EHC_DATABASE_URL": database_url} | env)

    return command


def told(result: Result) -> dict[str, str]:
    """`name value` lines of a command that worked."""
    assert result.exit_code == 0, result.output
    return dict(line.split(maxsplit=1) for line in result.stdout.splitlines())


def failed(result: Result) -> str:
    """The sentence of a command that did not work."""
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)
    return result.stderr


def token_status(service: Service, made: dict[str, str]) -> int:
    answer = service.client().post("/oauth/token", data={"grant_type": "client_credentials", **made})
    return answer.status_code


def test_a_region_is_made_with_four_commands(run: Run, service: Service) -> None:
    assert run("clients", "add-institution", "H9", "第九医院").stdout.split()[1:] == ["H9", "第九医院"]
    app = told(run("clients", "add-app", "健康通"))
    terminal = told(run("clients", "add-terminal", "H9", "T9", "门诊窗口"))
    listed = run("clients", "list").stdout
    for made, kind, owner in ((app, "app", "-"), (terminal, "terminal", "H9")):
        (line,) = [line for line in listed.splitlines() if made["client_id"] in line]
        assert [kind, "live", owner] == line.split()[1:4]
        assert made["client_secret"] not in listed
        assert token_status(service, made) == 200


def test_a_secret_is_told_once_and_apart_from_the_warning(run: Run) -> None:
    result = run("clients", "add-app", "健康通")
    assert set(told(result)) == {"client_id", "client_secret"}
    assert "The secret is shown only once." in result.stderr


def test_an_app_may_be_given_fewer_scopes(run: Run, service: Service) -> None:
    made = told(run("clients", "add-app", "只读", "--scope", "cards"))
    answer = service.client().post("/oauth/token", data={"grant_type": "client_credentials", **made})
    assert answered(answer)["scope"] == "cards"


def test_an_app_may_be_given_that_of_bindings(run: Run, service: Service) -> None:
    made = told(run("clients", "add-app", "绑卡", "--scope", "cards", "--scope", "bindings"))
    answer = service.client().post("/oauth/token", data={"grant_type": "client_credentials", **made})
    assert set(answered(answer)["scope"].split()) == {"cards", "bindings"}


@pytest.mark.parametrize("scope", ["verify", "everything"])
def test_an_app_is_not_given_a_terminals_scope(run: Run, scope: str) -> None:
    result = run("clients", "add-app", "健康通", "--scope", scope)
    assert result.exit_code == 2
    assert "is not one of" in result.stderr


def test_a_new_secret_stops_the_old_one(run: Run, service: Service) -> None:
    made = told(run("clients", "add-app", "健康通"))
    renewed = told(run("clients", "new-secret", made["client_id"]))
    assert renewed["client_id"] == made["client_id"]
    assert (token_status(service, made), token_status(service, renewed)) == (401, 200)


def test_a_disabled_client_is_shown_as_such(run: Run, service: Service) -> None:
    made = told(run("clients", "add-app", "健康通"))
    assert run("clients", "disable", made["client_id"]).exit_code == 0
    (line,) = [line for line in run("clients", "list").stdout.splitlines() if made["client_id"] in line]
    assert line.split()[2] == "disabled"
    assert token_status(service, made) == 401


@pytest.mark.parametrize("command", ["new-secret", "disable"])
def test_a_client_that_is_not_there(run: Run, command: str) -> None:
    assert "There is no client with this id." in failed(run("clients", command, "app-0"))


def test_a_terminal_of_an_institution_that_is_not_there(run: Run) -> None:
    assert "There is no institution with this code." in failed(run("clients", "add-terminal", "H9", "T9", "窗口"))


def test_a_code_that_is_taken_is_refused(run: Run) -> None:
    taken = "There is one with this name or code already."
    assert run("clients", "add-institution", "H9", "第九医院").exit_code == 0
    assert "Another institution has this code" in failed(run("clients", "add-institution", "H9", "另一医院"))
    assert run("clients", "add-terminal", "H9", "T9", "窗口").exit_code == 0
    assert taken in failed(run("clients", "add-terminal", "H9", "T9", "另一窗口"))


def waiting(service: Service) -> str:
    card_id = str(service.app.register()["card_id"])
    with service.session() as session:
        session.execute(text("UPDATE card SET status = 'pending-review'"))
    return card_id


def test_cards_that_wait_are_listed_without_their_holders(run: Run, service: Service) -> None:
    assert run("cards", "pending").stdout == ""
    card_id = waiting(service)
    (line,) = run("cards", "pending").stdout.splitlines()
    assert line.split()[:2] == [card_id, "document-seen"]
    assert "王" not in line


@pytest.mark.parametrize(
    ("decision", "status"), [(["--approve"], "active"), (["--reject", "--reason", "照片不清"], "rejected")]
)
def test_an_application_is_decided_once(run: Run, service: Service, decision: list[str], status: str) -> None:
    card_id = waiting(service)
    result = run("cards", "review", card_id, *decision, "--by", "S-7")
    assert (result.exit_code, result.stdout.strip()) == (0, status)
    assert answered(service.app.get(f"/v1/cards/{card_id}"))["status"] == status
    assert run("cards", "pending").stdout == ""
    again = failed(run("cards", "review", card_id, *decision, "--by", "S-7"))
    assert "The card's state does not allow this." in again
    with service.session() as session:
        actor = session.scalar(text("SELECT actor FROM card_event WHERE old_status = 'pending-review'"))
        told_audit = session.scalars(text("SELECT entry FROM audit WHERE action LIKE 'card.%ed' ORDER BY seq")).all()
    assert actor == "reviewer:S-7"
    assert "照片" not in "".join(told_audit)


@pytest.mark.parametrize(
    ("decision", "reason"),
    [("--approve", "证件与本人相符"), ("--approve", None), ("--reject", "照片不清")],
    ids=["approved", "approved without a word", "rejected"],
)
def test_who_decided_when_and_why_is_in_the_history(
    run: Run, service: Service, decision: str, reason: str | None
) -> None:
    card_id = waiting(service)
    words = ["--reason", reason] if reason else []
    before = datetime.now(UTC)
    assert run("cards", "review", card_id, decision, "--by", "S-7", *words).exit_code == 0
    with service.session() as session:
        serial = session.execute(text("SELECT serial FROM card WHERE id = :id"), {"id": card_id}).scalar_one()
        sealer = secret_keys.load(session, service.settings.key_encrypting_key()).sealer
        (event,) = [one for one in events.of_cards(session, [serial], sealer=sealer) if one.party == "staff"]
        entry = text("SELECT entry::json ->> 'actor' FROM audit WHERE subject = :id AND action LIKE 'card.%ed'")
        actors = session.scalars(entry, {"id": card_id}).all()
    assert (event.actor, event.words.reason) == ("reviewer:S-7", reason)
    assert event.action == ("approved" if decision == "--approve" else "rejected")
    assert before <= event.at <= datetime.now(UTC)
    assert "reviewer:S-7" in actors


@pytest.mark.parametrize(
    "words",
    [
        ["--reject", "--by", "S-7"],
        ["--reject", "--reason", "", "--by", "S-7"],
        ["--approve"],
        ["--by", "S-7"],
    ],
    ids=["no reason", "empty reason", "nobody", "no decision"],
)
def test_a_review_says_what_it_lacks(run: Run, service: Service, words: list[str]) -> None:
    assert run("cards", "review", waiting(service), *words).exit_code == 2


def test_a_card_that_is_not_there_cannot_be_reviewed(run: Run) -> None:
    card_id = "0190163d-8694-739b-aea5-966c26f8ad91"
    assert "There is no such card" in failed(run("cards", "review", card_id, "--approve", "--by", "S-7"))
    assert run("cards", "review", "7", "--approve", "--by", "S-7").exit_code == 2


def test_tables_may_be_upgraded_twice(run: Run, service: Service) -> None:
    for _ in range(2):
        assert run("db", "upgrade").exit_code == 0
    assert service.terminal.scan(service.app.code(service.app.register()["card_id"]))["outcome"] == "accepted"


def test_tables_and_models_agree(run: Run) -> None:
    assert run("db", "check").exit_code == 0


def test_partitions_may_be_made_twice(run: Run, service: Service) -> None:
    with service.session() as session:
        session.execute(text(f"DROP TABLE verification_y{service.clock.now():%Y}m{service.clock.now():%m}"))
    assert len(run("db", "partitions").stdout.split()) == 1
    assert run("db", "partitions").stdout == ""


def test_an_upkeep_without_a_worker_forgets_what_enrolments_and_assertions_leave(run: Run, service: Service) -> None:
    KeyTerminal.enrolled(service).log_in()
    enrolment(service)
    with service.session() as session:
        for table in ("client_assertion", "terminal_enrolment"):
            session.execute(text(f"UPDATE {table} SET expires_at = now() - interval '11 minutes'"))
    run("db", "upkeep")
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM client_assertion")) == 0
        assert session.scalar(text("SELECT count(*) FROM terminal_enrolment WHERE code_index IS NOT NULL")) == 0
        assert session.scalar(text("SELECT count(*) FROM terminal_enrolment")) == 2


def test_a_purge_forgets_what_is_old_and_nothing_else(run: Run, service: Service) -> None:
    code = service.app.code(service.app.register()["card_id"])
    service.terminal.post("/v1/verifications", {"code": code, "step": "other"}, Idempotency_Key="new")
    with service.session() as session:
        session.execute(
            text("""
                INSERT INTO code_use SELECT card_serial, sha256(n::text::bytea), verification_id, client_id, step, used_at,
                    now() - n * interval '5 minutes' FROM code_use, generate_series(1, 4) AS n
            """)
        )
        session.execute(
            text("""
                INSERT INTO idempotency SELECT client_id, key || n, request_hash, status, body,
                    now() - n * interval '23 hours' FROM idempotency, generate_series(1, 2) AS n
            """)
        )
    assert run("db", "purge").stdout.strip() == "codes 3, idempotency keys 1"
    assert run("db", "purge").stdout.strip() == "codes 0, idempotency keys 0"
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM code_use")) == 2
        assert session.scalar(text("SELECT count(*) FROM verification")) == 1


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({"EHC_DATABASE_URL": ""}, "EHC_DATABASE_URL is not set"),
        ({"EHC_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}, "The database cannot be reached."),
        ({"EHC_POOL_SIZE": "many"}, "a value of the wrong kind"),
    ],
    ids=["unset", "away", "wrong kind"],
)
def test_a_wrong_environment_is_told_in_a_sentence(run: Run, env: dict[str, str], sentence: str) -> None:
    assert sentence in failed(run("clients", "list", **env))


def test_a_demo_key_is_refused_outside_the_demo(run: Run, service: Service) -> None:
    assert "protects nothing" in failed(run("keys", "init", EHC_DEMO="0"))
    assert "protects nothing" in failed(run("cards", "review", waiting(service), "--approve", "--by", "S", EHC_DEMO=""))


def test_another_key_encrypting_key_is_refused(run: Run, service: Service, tmp_path: Path) -> None:
    KeyEncryptingKey.make_file(tmp_path / "kek", demo=False)
    words: list[Any] = ["cards", "review", waiting(service), "--approve", "--by", "S"]
    assert "wrapped by another key-encrypting key" in failed(run(*words, EHC_KEK_FILE=str(tmp_path / "kek")))


def test_what_the_command_line_made_is_what_the_service_uses(run: Run, service: Service) -> None:
    made = told(run("clients", "add-app", "健康通"))
    api = Api(service.client(), clients.Credentials(made["client_id"], made["client_secret"]))
    assert api.post("/v1/cards", person(3)).status_code == 201
