"""The outside parties that a deployment has configured, an adapter for each."""

from pathlib import Path

from ehc.clock import Clock
from ehc.outside.alipay import HttpAlipay
from ehc.outside.bank_http import HttpBankGateway
from ehc.outside.card_reader import HttpCardReader
from ehc.outside.identity_authority import HttpIdentityAuthority
from ehc.outside.signed_http import PartyKey
from ehc.outside.sms_gateway import HttpSmsGateway
from ehc.outside.wechat import HttpWechat
from ehc.settings import Settings, SettingsError

_OF_A_SIMULATOR = "simulated-"


def identity_authority(settings: Settings, clock: Clock) -> HttpIdentityAuthority | None:
    """The identity authority; None where none is configured. Raises `SettingsError` or `SetupError`."""
    url = settings.authority_url
    return HttpIdentityAuthority(url, _key(settings, settings.authority_key_file), clock=clock) if url else None


def sms_gateway(settings: Settings, clock: Clock) -> HttpSmsGateway | None:
    """The SMS gateway; None where none is configured. Raises `SettingsError` or `SetupError`."""
    url = settings.sms_url
    return HttpSmsGateway(url, _key(settings, settings.sms_key_file), clock=clock) if url else None


def card_reader(settings: Settings, clock: Clock) -> HttpCardReader | None:
    """The reader of identity cards; None where none is configured. Raises `SettingsError` or `SetupError`."""
    url = settings.card_reader_url
    return HttpCardReader(url, _key(settings, settings.card_reader_key_file), clock=clock) if url else None


def bank_gateway(settings: Settings, clock: Clock) -> HttpBankGateway | None:
    """The bank; None where none is configured. Raises `SettingsError` or `SetupError`."""
    url = settings.bank_url
    return HttpBankGateway(url, _key(settings, settings.bank_key_file), clock=clock) if url else None


def bank_key(settings: Settings) -> PartyKey | None:
    """The key under which the bank signs its notices; None where no bank is configured. Raises as `bank_gateway`."""
    return _key(settings, settings.bank_key_file) if settings.bank_url else None


def wechat(settings: Settings) -> HttpWechat | None:
    """WeChat's log-in; None where it is not configured. Raises `SetupError`."""
    return HttpWechat(settings.wechat_url) if settings.wechat_url else None


def alipay(settings: Settings, clock: Clock) -> HttpAlipay | None:
    """Alipay's log-in; None where it is not configured. Raises `SetupError`."""
    return HttpAlipay(settings.alipay_url, clock=clock) if settings.alipay_url else None


def _key(settings: Settings, file: Path | None) -> PartyKey:
    if file is None:
        raise SettingsError("an outside party has a URL but no key file; see docs/operations.md")
    key = PartyKey.from_file(file)
    if key.key_id.startswith(_OF_A_SIMULATOR) and not settings.demo:
        raise SettingsError("this is the key of a simulator, which proves nobody's identity: use the real party's")
    return key
