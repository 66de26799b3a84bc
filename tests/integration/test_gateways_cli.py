"""`ehc gateways …`: an account from nothing to a log of why it fails."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from ehc.commands import main
from ehc.db import unit_of_work
from ehc.gateways.accounts import Accounts
from ehc.gateways.calls import Call, Calls, masked
from ehc.gateways.kinds import GatewayKind
from ehc.keystore import secret_keys
from tests.support.service import Service

Run = Callable[..., Result]
BY = ("--by", "0041")


@pytest.fixture
def run(database_url: str) -> Run:
    """Runs `ehc gateways …` on the test's database."""

    def command(*words: str) -> Result:
        return CliRunner().invoke(main, ["gateways", *words], env={"EHC_DATABASE_URL": database_url})

    return command


@pytest.fixture
def accounts(service: Service) -> Accounts:
    """What a worker sees that has just started."""
    with service.session() as session:
        sealer = secret_keys.load(session, service.settings.key_encrypting_key()).sealer
    service.clock.advance(60)  # the command line has a clock of its own
    return Accounts(unit_of_work(service.engine), lambda: sealer, service.clock, timer=lambda: 0)


def good(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def failed(result: Result) -> str:
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return result.stderr


def added(run: Run, service: Service, kind: str, *more: str) -> tuple[str, str]:
    _, name, _, secret = good(run("add", kind, service.app.credentials.client_id, *more, *BY)).split()
    return name, secret


def test_a_mini_program_is_switched_on(run: Run, service: Service, accounts: Accounts) -> None:
    name, secret = added(run, service, "open-platform", "--replay", "--window", "60")
    good(run("place", name, "hospital", "30001", "H1", *BY))
    shown = good(run("show", name))
    assert "30001" in shown
    assert "第一医院" in shown
    assert secret not in shown
    found = accounts.find(GatewayKind.OPEN_PLATFORM, name)
    assert found is not None
    assert (found.secrets, found.replay, found.window_seconds) == ((secret.encode(),), True, 60)
    assert set(found.places) == {("hospital", "30001")}


def test_a_hospital_changes_its_password_without_a_gap(run: Run, service: Service, accounts: Accounts) -> None:
    name, _ = added(run, service, "provincial", "--name", "demo_his", "--strict")
    good(run("place", name, "org", "630102001", "H2", *BY))
    good(run("place", name, "app", "QH0001", *BY))
    good(run("new-secret", name, *BY))
    assert "secret" in failed(run("new-secret", name, *BY))
    secrets = [line.split()[1] for line in good(run("show", name)).splitlines() if line.startswith("secret")]
    assert len(secrets) == 2
    good(run("end-secret", name, secrets[0], *BY))
    assert "secret" in failed(run("end-secret", name, secrets[0], *BY))
    good(run("end-place", name, "app", "QH0001", *BY))
    good(run("change", name, "--lenient", *BY))
    found = accounts.find(GatewayKind.PROVINCIAL, name)
    assert found is not None
    assert (len(found.secrets), found.strict, set(found.places)) == (1, False, {("org", "630102001")})


def test_what_cannot_be_is_refused_with_a_sentence(run: Run, service: Service) -> None:
    name, _ = added(run, service, "provincial", "--name", "demo_his")
    client_id = service.app.credentials.client_id
    assert "name" in failed(run("add", "provincial", client_id, "--name", "demo_his", *BY))
    assert failed(run("add", "provincial", client_id, "--name", "医院", *BY))
    assert failed(run("add", "provincial", "app-nobody", *BY))
    assert failed(run("show", "nobody"))
    assert failed(run("place", name, "hospital", "30001", "H1", *BY))
    assert failed(run("place", name, "org", "630102001", *BY))
    assert failed(run("place", name, "org", "630102001", "H9", *BY))
    assert failed(run("end-place", name, "org", "630102001", *BY))
    assert failed(run("resume", name, "--reason", "x", *BY))


def test_suspended_and_resumed(run: Run, service: Service, accounts: Accounts) -> None:
    name, _ = added(run, service, "provincial")
    good(run("suspend", name, "--reason", "泄露", *BY))
    assert "suspended" in good(run("list", "--kind", "provincial"))
    assert good(run("list", "--kind", "open-platform")) == ""
    assert failed(run("suspend", name, "--reason", "泄露", *BY))
    good(run("resume", name, "--reason", "已处理", *BY))
    assert accounts.find(GatewayKind.PROVINCIAL, name) is not None


def test_why_it_does_not_work_is_told_without_saying_of_whom(run: Run, service: Service, accounts: Accounts) -> None:
    name, _ = added(run, service, "open-platform")
    account = accounts.find(GatewayKind.OPEN_PLATFORM, name)
    assert account is not None
    calls = Calls(unit_of_work(service.engine), service.clock, every=3600)
    trace = masked({"hospitalId": "30009", "name": "张三"}, frozenset({"hospitalId"}))
    for method, result, who in (
        ("registerHealthCard", "20005", account.id),
        ("verifyQRCode", "0", account.id),
        ("unknown", "20004", None),
    ):
        calls.record(
            Call(
                GatewayKind.OPEN_PLATFORM,
                who,
                method,
                "cs",
                result,
                ok=result == "0",
                trace=trace,
                reference="DB4D975748A84309977EA25224C0F5CF",
                milliseconds=1.5,
            )
        )
    calls.flush()
    usage = good(run("usage", name, "--hours", "48"))
    assert "2 calls, 1 failed (50.0%)" in usage
    (line,) = (line for line in usage.splitlines() if line.startswith("= registerHealthCard"))
    assert "100.0% failed" in line
    log = good(run("log", name))
    assert "registerHealthCard [cs] → 20005" in log
    assert "30009" in log
    assert "text of 2 characters: 2 Han" in log
    assert "张三" not in log
    assert good(run("log", name, "--method", "verifyQRCode")) == ""
    assert "20004" in good(run("log", "strangers"))
