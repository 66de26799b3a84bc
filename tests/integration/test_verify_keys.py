"""The protection key (保护密钥) at rest: made, brought by the province, kept in all versions; a sample is refused."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ehc.codes.national import SAMPLE_KEYS
from ehc.commands import main
from ehc.keystore import secret_keys
from ehc.keystore.models import SecretKeyRow
from ehc.keystore.secret_keys import SampleKeyRefused, Secrets
from tests.support.service import Service


def run(service: Service, *words: str) -> Result:
    env = {"EHC_DATABASE_URL": service.engine.url.render_as_string(hide_password=False)}
    return CliRunner().invoke(main, ["keys", *words], env=env)


def brought(service: Service, folder: Path, content: str) -> Result:
    path = folder / "key"
    path.write_text(content, encoding="utf-8")
    return run(service, "import-protection-key", str(path))


def secrets(service: Service) -> Secrets:
    with service.session() as session:
        return secret_keys.load(session, service.settings.key_encrypting_key())


def test_a_deployment_has_one_of_16_bytes(service: Service) -> None:
    ((version, key),) = secrets(service).protection_keys.items()
    assert (version, len(key)) == (1, 16)
    assert key.hex() not in repr(secrets(service))
    assert str(key) not in repr(secrets(service))


def test_what_is_missing_is_made(service: Service) -> None:
    with service.session() as session:
        session.query(SecretKeyRow).filter_by(purpose="protection").delete()
    assert run(service, "init").stdout.splitlines() == ["made protection"]
    assert len(secrets(service).protection_keys) == 1


def test_a_province_brings_its_own_and_the_old_one_stays(service: Service, tmp_path: Path) -> None:
    mine, old = bytes(range(16)), secrets(service).protection_keys[1]
    result = brought(service, tmp_path, mine.hex().upper() + "\n")
    assert result.stdout.strip() == "protection key version 2"
    assert secrets(service).protection_keys == {1: old, 2: mine}
    assert mine.hex() not in result.output.lower()


def test_it_touches_no_other_key(service: Service, tmp_path: Path) -> None:
    before = secrets(service)
    brought(service, tmp_path, "ab" * 16)
    after = secrets(service)
    assert (after.security_key, after.security_key_version) == (before.security_key, before.security_key_version)


@pytest.mark.parametrize("sample", sorted(SAMPLE_KEYS), ids=["one", "other"])
def test_a_key_of_the_specification_is_refused(service: Service, tmp_path: Path, sample: bytes) -> None:
    result = brought(service, tmp_path, sample.hex())
    assert result.exit_code == 1
    assert "This key is printed in the specification." in result.stderr
    assert list(secrets(service).protection_keys) == [1]


@pytest.mark.parametrize("version", [0, 2], ids=["older", "newest"])
def test_a_key_of_the_specification_in_the_database_is_refused_too(service: Service, version: int) -> None:
    kek = service.settings.key_encrypting_key()
    with service.session() as session:
        wrapped = kek.wrap(min(SAMPLE_KEYS), f"secret_key:protection:{version}")
        session.add(SecretKeyRow(purpose="protection", version=version, wrapped_key=wrapped))
        session.flush()
        with pytest.raises(SampleKeyRefused):
            secret_keys.load(session, kek)


@pytest.mark.parametrize("content", ["", "00" * 15, "00" * 17, "xy" * 16, "密钥"])
def test_what_is_not_a_protection_key_is_refused(service: Service, tmp_path: Path, content: str) -> None:
    result = brought(service, tmp_path, content)
    assert result.exit_code == 1
    assert "The file has 32 hex digits." in result.stderr
