"""`ehc apps set-wechat …` and `ehc sessions …`: what the staff do by API, at the machine."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ehc.commands import main
from ehc.dev.simulators.mini_programs import MiniProgram
from tests.support import residents
from tests.support.service import Service

Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str) -> Run:
    """Runs `ehc …` on the test's database."""
    return lambda *words: CliRunner().invoke(main, list(words), env={"EHC_DATABASE_URL": database_url})


def good(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def test_credentials_are_read_from_files_and_never_shown(run: Run, service: Service, tmp_path: Path) -> None:
    client_id, known = service.app.credentials.client_id, MiniProgram.kept(tmp_path).credentials
    files = {name: tmp_path / name for name in ("secret", "private", "public")}
    files["secret"].write_text(known["wechat"]["secret"])
    files["private"].write_text(known["alipay"]["private_key"])
    files["public"].write_text(known["alipay"]["platform_key"])
    good(run("apps", "set-wechat", client_id, known["wechat"]["appid"], str(files["secret"]), "--by", "0041"))
    keys = (str(files["private"]), str(files["public"]))
    good(run("apps", "set-alipay", client_id, known["alipay"]["appid"], *keys, "--by", "0041"))
    shown = good(run("apps", "platforms", client_id))
    assert known["wechat"]["appid"] in shown
    assert known["wechat"]["secret"] not in shown
    good(run("apps", "remove-platform", client_id, "wechat", "--by", "0041"))
    assert "wechat" not in good(run("apps", "platforms", client_id))
    refused = run("apps", "set-wechat", client_id, "wx1", str(files["secret"]), "--by", "0041")
    assert refused.exit_code == 1
    assert "Traceback" not in refused.output


def test_sessions_are_listed_and_ended(run: Run, service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    residents.token_of(service, service.app, card_id)
    assert "wechat" in good(run("sessions", "list", card_id))
    assert good(run("sessions", "end", card_id, "--reason", "手机被盗", "--by", "0041")).strip() == "1"
    assert good(run("sessions", "list", card_id)) == ""
    residents.token_of(service, service.app, card_id)
    ended = run("sessions", "end-app", service.app.credentials.client_id, "--reason", "密钥泄露", "--by", "0041")
    assert good(ended).strip() == "1"
