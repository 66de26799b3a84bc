"""What of log-in needs no database: RFC 6238's vectors, addresses behind proxies, settings of the pages."""

from base64 import b32encode
from datetime import UTC, datetime

import pytest

from ehc.access import totp
from ehc.audit.sources import source_index
from ehc.crypto.sealed import BlindIndex
from ehc.settings import Settings, SettingsError

SECRET = b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(
    ("seconds", "code"),  # RFC 6238 appendix B, its last six digits
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037"),
     (20000000000, "353130")],
)  # fmt: skip
def test_the_codes_are_those_of_rfc_6238(seconds: int, code: str) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    assert totp.code(SECRET, totp.step_at(at)) == code
    assert totp.step_of(SECRET, code, now=at) == seconds // 30


def test_an_app_reads_the_secret() -> None:
    told = totp.uri(SECRET, login="zhang.san", issuer="卡 机构")
    assert told.startswith("otpauth://totp/%E5%8D%A1%20%E6%9C%BA%E6%9E%84:zhang.san?secret=GEZDGNBV")
    assert len(totp.new_secret()) == 32


def test_addresses_that_are_one_have_one_index() -> None:
    index = BlindIndex(bytes(32))
    same = [("192.0.2.1", "::ffff:192.0.2.1"), ("2001:db8::1", "2001:db8::ffff:1"), ("x", "")]
    other = [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8:0:1::1")]
    assert all(source_index(index, one) == source_index(index, two) for one, two in same)
    assert all(source_index(index, one) != source_index(index, two) for one, two in other)


GIVEN = {"EHC_DATABASE_URL": "postgresql://x/y", "EHC_KEK_FILE": "/x"}


@pytest.mark.parametrize(
    ("origin", "asked", "domain"),
    [
        ("https://admin.ehc.example", None, "admin.ehc.example"),
        ("https://admin.ehc.example", "ehc.example", "ehc.example"),
        ("https://admin.ehc.example:8443", None, "admin.ehc.example"),
        ("http://localhost:8000", None, "localhost"),
    ],
)
def test_authenticators_sign_for_the_domain_of_the_pages(origin: str, asked: str | None, domain: str) -> None:
    env = GIVEN | {"EHC_ADMIN_ORIGIN": origin} | ({"EHC_WEBAUTHN_RP_ID": asked} if asked else {})
    settings = Settings.from_env(env)
    assert (settings.admin_origin, settings.webauthn_rp_id) == (origin, domain)


@pytest.mark.parametrize(
    "env",
    [
        {"EHC_ADMIN_ORIGIN": "http://ehc.example"},
        {"EHC_ADMIN_ORIGIN": "https://ehc.example/"},
        {"EHC_ADMIN_ORIGIN": "https://"},
        {"EHC_ADMIN_ORIGIN": "https://ehc.example", "EHC_WEBAUTHN_RP_ID": "example.org"},
        {"EHC_ADMIN_ORIGIN": "https://ehc.example", "EHC_WEBAUTHN_RP_ID": "example"},
        {"EHC_ADMIN_ORIGIN": "https://myehc.example", "EHC_WEBAUTHN_RP_ID": "ehc.example"},
        {"EHC_PASSWORD_DAYS": "-1"},
        {"EHC_TRUSTED_PROXIES": "10.0.0.1/8"},
        {"EHC_TRUSTED_PROXIES": "proxy"},
    ],
)
def test_settings_that_cannot_be_right_are_refused(env: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        Settings.from_env(GIVEN | env)
