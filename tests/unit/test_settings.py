"""Settings from the environment: what is needed, what has a default, and every way to be wrong."""

from pathlib import Path

import pytest

from ehc.app import create_app
from ehc.cards.states import Level
from ehc.crypto.wrapping import KekError, KeyEncryptingKey
from ehc.settings import Settings, SettingsError

LEAST = {"EHC_DATABASE_URL": "postgresql://u@h/d", "EHC_KEK_FILE": "/run/kek"}


def settings(**env: str) -> Settings:
    return Settings.from_env(LEAST | env)


def test_two_variables_are_enough() -> None:
    assert settings() == Settings("postgresql+psycopg://u@h/d", Path("/run/kek"))


def test_nothing_is_demo_unless_it_is_said() -> None:
    assert not settings().demo
    assert settings(EHC_DEMO="1").demo
    for other in ("", "0", "true", "yes", " 1"):
        assert not settings(EHC_DEMO=other).demo


def test_every_variable_is_read() -> None:
    made = settings(
        EHC_REDIS_URL="redis://h/1",
        EHC_ISSUER="https://i",
        EHC_AUDIENCE="a",
        EHC_CODES_PER_MINUTE="3",
        EHC_REVIEWED_LEVELS="self-declared clerk",
        EHC_POOL_SIZE="4",
        EHC_LOG_LEVEL="WARNING",
    )
    assert (made.redis_url, made.issuer, made.audience) == ("redis://h/1", "https://i", "a")
    assert (made.codes_per_minute, made.pool_size, made.log_level) == (3, 4, "WARNING")
    assert made.reviewed_levels == {Level.SELF_DECLARED, Level.CLERK}


def test_an_empty_redis_is_none() -> None:
    assert settings(EHC_REDIS_URL="").redis_url is None


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_plain_address_of_a_database_works(scheme: str) -> None:
    assert settings(EHC_DATABASE_URL=f"{scheme}://u@h/d").database_url == "postgresql+psycopg://u@h/d"


@pytest.mark.parametrize("name", LEAST)
@pytest.mark.parametrize("value", [None, "", "  "])
def test_what_is_needed_is_named(name: str, value: str | None) -> None:
    env = {key: given for key, given in (LEAST | {name: value}).items() if given is not None}
    with pytest.raises(SettingsError, match=f"{name} is not set"):
        Settings.from_env(env)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EHC_CODES_PER_MINUTE", "many"),
        ("EHC_CODES_PER_MINUTE", ""),
        ("EHC_CODES_PER_MINUTE", "1.5"),
        ("EHC_CODES_PER_MINUTE", "0"),
        ("EHC_CODES_PER_MINUTE", "-1"),
        ("EHC_POOL_SIZE", "x"),
        ("EHC_POOL_SIZE", "0"),
        ("EHC_POOL_SIZE", "-1"),
        ("EHC_REVIEWED_LEVELS", "nobody"),
        ("EHC_REVIEWED_LEVELS", "self-declared,clerk"),
        ("EHC_LOG_LEVEL", "LOUD"),
        ("EHC_LOG_LEVEL", ""),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match="value of the wrong kind") as caught:
        settings(**{name: value})
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(("name", "value"), [("EHC_CODES_PER_MINUTE", "1"), ("EHC_POOL_SIZE", "1")])
def test_the_least_number_is_one(name: str, value: str) -> None:
    assert settings(**{name: value})


def with_key(folder: Path, *, key_demo: bool, service_demo: bool) -> Settings:
    KeyEncryptingKey.make_file(folder / "kek", demo=key_demo)
    return settings(EHC_KEK_FILE=str(folder / "kek"), EHC_DEMO="1" if service_demo else "")


@pytest.mark.parametrize(("key_demo", "service_demo"), [(False, False), (False, True), (True, True)])
def test_a_key_is_taken_where_it_belongs(tmp_path: Path, key_demo: bool, service_demo: bool) -> None:
    assert with_key(tmp_path, key_demo=key_demo, service_demo=service_demo).key_encrypting_key().demo is key_demo


def test_a_demo_key_is_refused_outside_the_demo(tmp_path: Path) -> None:
    made = with_key(tmp_path, key_demo=True, service_demo=False)
    with pytest.raises(SettingsError, match="ehc keys make-kek"):
        made.key_encrypting_key()
    with pytest.raises(SettingsError, match="ehc keys make-kek"):
        create_app(made)


def test_the_service_does_not_start_without_its_key(tmp_path: Path) -> None:
    with pytest.raises(KekError):
        create_app(settings(EHC_KEK_FILE=str(tmp_path / "nothing")))


@pytest.mark.parametrize("name", ["", " ", "某" * 41, "某省\n卫健委", "某省\u200b"])
def test_an_issuer_has_a_name_that_a_card_has_room_for(name: str) -> None:
    with pytest.raises(SettingsError):
        settings(EHC_ISSUER_NAME=name)
    assert settings(EHC_ISSUER_NAME="某" * 40).issuer_name == "某" * 40


def test_limits_and_proxies_are_read() -> None:
    made = settings(
        EHC_APP_PER_MINUTE="1",
        EHC_APP_PER_DAY="2",
        EHC_CARD_PER_MINUTE="3",
        EHC_TERMINAL_PER_MINUTE="4",
        EHC_INSTITUTION_PER_MINUTE="5",
        EHC_TRUSTED_PROXIES="10.0.0.0/8 2001:db8::1",
    )
    assert (made.app_per_minute, made.app_per_day, made.card_per_minute) == (1, 2, 3)
    assert (made.terminal_per_minute, made.institution_per_minute) == (4, 5)
    assert list(map(str, made.trusted_proxies)) == ["10.0.0.0/8", "2001:db8::1/128"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EHC_APP_PER_MINUTE", "0"),
        ("EHC_APP_PER_DAY", "many"),
        ("EHC_CARD_PER_MINUTE", "-1"),
        ("EHC_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("EHC_TRUSTED_PROXIES", "proxy.example"),
        ("EHC_TRUSTED_PROXIES", "0.0.0.0/0"),
        ("EHC_TRUSTED_PROXIES", "10.0.0.0/8 ::/0"),
    ],
)
def test_a_limit_or_proxy_that_is_none_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError):
        settings(**{name: value})
