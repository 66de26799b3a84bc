"""`ehc apps …`: an app from draft to live by two people, its credentials, and what is refused with a sentence."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ehc.access.clients import Credentials
from ehc.commands import main
from tests.support.apps import ask_token, public_jwk
from tests.support.service import Api, Service

Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str) -> Run:
    """Runs `ehc apps …` on the test's database."""

    def command(*words: str) -> Result:
        return CliRunner().invoke(main, ["apps", *words], env={"EHC_DATABASE_URL": database_url})

    return command


def good(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def failed(result: Result) -> str:
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return result.stderr


def drafted(run: Run, *more: str) -> str:
    return good(run("draft", "健康通", "--scope", "cards", "--by", "0041", *more)).split()[0]


def secret(run: Run, client_id: str) -> Credentials:
    lines = good(run("add-secret", client_id, "--by", "0041")).split()
    return Credentials(lines[1], lines[3])


def test_an_app_from_draft_to_live(run: Run, service: Service) -> None:
    client_id = drafted(run, "--network", "127.0.0.0/8")
    assert "自己" in failed(run("approve", client_id, "--by", "0041"))
    assert "approved" in good(run("approve", client_id, "--by", "0042"))
    assert "secret" in failed(run("go-live", client_id, "--reason", "x", "--by", "0041"))
    credentials = secret(run, client_id)
    assert ask_token(service, credentials).status_code == 401
    assert "live" in good(run("go-live", client_id, "--reason", "x", "--by", "0041"))
    assert ask_token(service, credentials).status_code == 200
    good(run("suspend", client_id, "--reason", "x", "--by", "0042"))
    assert ask_token(service, credentials).status_code == 401
    good(run("resume", client_id, "--reason", "x", "--by", "0042"))
    assert ask_token(service, credentials).status_code == 200
    shown = good(run("show", client_id))
    assert "127.0.0.0/8" in shown
    assert credentials.client_secret not in shown
    assert client_id in good(run("list", "--state", "live"))
    assert client_id not in good(run("list", "--state", "draft"))


def test_secrets_and_keys(run: Run, service: Service, tmp_path: Path) -> None:
    client_id = drafted(run, "--sandbox")
    secret(run, client_id)
    secret(run, client_id)
    assert "两个" in failed(run("add-secret", client_id, "--by", "0041"))
    secrets = [line.split()[1] for line in good(run("show", client_id)).splitlines() if line.startswith("secret ")]
    good(run("end-secret", client_id, secrets[0], "--by", "0041"))
    assert "密钥" in failed(run("end-secret", client_id, secrets[0], "--by", "0041"))
    file = tmp_path / "key.json"
    file.write_text(json.dumps(public_jwk()), encoding="utf-8")
    key = good(run("add-key", client_id, str(file), "--by", "0041")).split()[0]
    good(run("end-key", client_id, key, "--by", "0041"))
    for wrong in ("{", "[]", '{"kty":"RSA"}'):
        file.write_text(wrong, encoding="utf-8")
        assert failed(run("add-key", client_id, str(file), "--by", "0041"))
    good(run("limit", client_id, "--per-minute", "7", "--by", "0041"))
    assert "per_minute     7" in good(run("show", client_id))


def test_what_is_wrong_is_told(run: Run, service: Service) -> None:
    assert "客户端" in failed(run("show", "app-nobody"))
    assert "应用" in failed(run("show", service.terminal.credentials.client_id))
    assert run("draft", "x", "--scope", "cards", "--by", "1", "--network", "x").exit_code == 2
    assert run("draft", "x", "--scope", "everything", "--by", "1").exit_code == 2
    assert failed(run("draft", "x", "--scope", "batch", "--sandbox", "--by", "1"))
    client_id = drafted(run)
    assert run("add-secret", client_id, "--until", "2020-01-01T00:00:00+0800", "--by", "1").exit_code == 2


def test_clients_of_the_sandbox_can_be_made_at_once(database_url: str, service: Service) -> None:
    def clients(*words: str) -> Credentials:
        result = CliRunner().invoke(main, ["clients", *words], env={"EHC_DATABASE_URL": database_url})
        lines = good(result).split()
        return Credentials(lines[1], lines[3])

    app = Api(service.client(), clients("add-app", "试用", "--sandbox"))
    terminal = Api(service.client(), clients("add-terminal", "H1", "S9", "试用", "--sandbox"))
    code = app.code(app.register()["card_id"])
    assert service.terminal.scan(code)["reason"] == "not-issued"
    assert terminal.scan(code)["outcome"] == "accepted"
