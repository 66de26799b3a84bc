"""Settings, read once from the environment. Secrets are files; nothing secret has a default."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from ehc.cards.states import Level
from ehc.crypto.wrapping import KeyEncryptingKey

MAX_ISSUER_NAME = 40
"""As many characters of an issuer's name can be read on a card."""


class SettingsError(Exception):
    """The environment does not describe a service that may start; the text says what to set."""


@dataclass(frozen=True)
class Settings:
    """How this deployment runs. `docs/operations.md` lists the variables."""

    database_url: str
    kek_file: Path
    redis_url: str | None = None
    issuer: str = "https://ehc.local"
    audience: str = "ehc"
    demo: bool = False
    codes_per_minute: int = 30
    reviewed_levels: frozenset[Level] = frozenset()
    pool_size: int = 16
    log_level: str = "INFO"
    authority_url: str | None = None
    authority_key_file: Path | None = None
    sms_url: str | None = None
    sms_key_file: Path | None = None
    card_reader_url: str | None = None
    card_reader_key_file: Path | None = None
    wechat_url: str | None = None
    alipay_url: str | None = None
    bank_url: str | None = None
    bank_key_file: Path | None = None
    bank_bins_file: Path | None = None
    bank_accounts: int = 5
    plastic_loss_days: int = 7
    national_seconds: int = 90
    national_uses: int = 3
    family_members: int = 5
    temporary_days: int = 7
    print_days: int = 5 * 365
    photo_days: int = 180
    provincial_scenes: bool = False
    restore_cancelled: bool = True
    keep_days: int = 15 * 365
    import_megabytes: int = 256
    audit_hash: str = "sha256"
    issuer_name: str = "电子健康卡发卡机构"
    webhook_loopback: bool = False
    webhook_ca_file: Path | None = None
    app_per_minute: int = 6000
    app_per_day: int = 5_000_000
    card_per_minute: int = 120
    terminal_per_minute: int = 1200
    institution_per_minute: int = 60_000
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    admin_origin: str = "https://ehc.local"
    webauthn_rp_id: str = "ehc.local"
    password_days: int = 0

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """The settings in `EHC_…` variables. Raises `SettingsError`."""
        try:
            return cls(
                database_url=_database_url(_required(env, "EHC_DATABASE_URL")),
                kek_file=Path(_required(env, "EHC_KEK_FILE")),
                redis_url=env.get("EHC_REDIS_URL") or None,
                issuer=env.get("EHC_ISSUER", cls.issuer),
                audience=env.get("EHC_AUDIENCE", cls.audience),
                demo=env.get("EHC_DEMO") == "1",
                codes_per_minute=_count(env.get("EHC_CODES_PER_MINUTE", cls.codes_per_minute)),
                reviewed_levels=frozenset(map(Level, env.get("EHC_REVIEWED_LEVELS", "").split())),
                pool_size=_count(env.get("EHC_POOL_SIZE", cls.pool_size)),
                log_level=_level(env.get("EHC_LOG_LEVEL", cls.log_level)),
                authority_url=env.get("EHC_AUTHORITY_URL") or None,
                authority_key_file=_file(env.get("EHC_AUTHORITY_KEY_FILE")),
                sms_url=env.get("EHC_SMS_URL") or None,
                sms_key_file=_file(env.get("EHC_SMS_KEY_FILE")),
                card_reader_url=env.get("EHC_CARD_READER_URL") or None,
                card_reader_key_file=_file(env.get("EHC_CARD_READER_KEY_FILE")),
                wechat_url=env.get("EHC_WECHAT_URL") or None,
                alipay_url=env.get("EHC_ALIPAY_URL") or None,
                bank_url=env.get("EHC_BANK_URL") or None,
                bank_key_file=_file(env.get("EHC_BANK_KEY_FILE")),
                bank_bins_file=_file(env.get("EHC_BANK_BINS_FILE")),
                bank_accounts=_within(env.get("EHC_BANK_ACCOUNTS", cls.bank_accounts), 1, 20),
                plastic_loss_days=_within(env.get("EHC_PLASTIC_LOSS_DAYS", cls.plastic_loss_days), 1, 30),
                national_seconds=_within(env.get("EHC_NATIONAL_SECONDS", cls.national_seconds), 30, 600),
                national_uses=_within(env.get("EHC_NATIONAL_USES", cls.national_uses), 1, 10),
                family_members=_within(env.get("EHC_FAMILY_MEMBERS", cls.family_members), 1, 20),
                temporary_days=_within(env.get("EHC_TEMPORARY_DAYS", cls.temporary_days), 1, 90),
                print_days=_within(env.get("EHC_PRINT_DAYS", cls.print_days), 1, 10 * 365),
                photo_days=_within(env.get("EHC_PHOTO_DAYS", cls.photo_days), 1, 3650),
                provincial_scenes=_choice(env.get("EHC_PROVINCIAL_SCENES", "off"), "off", "on") == "on",
                restore_cancelled=_choice(env.get("EHC_CANCELLED", "restore"), "restore", "refuse") == "restore",
                keep_days=_within(env.get("EHC_KEEP_DAYS", cls.keep_days), 183, 100 * 365),
                import_megabytes=_within(env.get("EHC_IMPORT_MEGABYTES", cls.import_megabytes), 1, 64 * 1024),
                audit_hash=_choice(env.get("EHC_AUDIT_HASH", cls.audit_hash), "sha256", "hmac-sm3"),
                issuer_name=_name(env.get("EHC_ISSUER_NAME", cls.issuer_name)),
                webhook_loopback=_loopback(env),
                webhook_ca_file=_file(env.get("EHC_WEBHOOK_CA_FILE")),
                app_per_minute=_count(env.get("EHC_APP_PER_MINUTE", cls.app_per_minute)),
                app_per_day=_count(env.get("EHC_APP_PER_DAY", cls.app_per_day)),
                card_per_minute=_count(env.get("EHC_CARD_PER_MINUTE", cls.card_per_minute)),
                terminal_per_minute=_count(env.get("EHC_TERMINAL_PER_MINUTE", cls.terminal_per_minute)),
                institution_per_minute=_count(env.get("EHC_INSTITUTION_PER_MINUTE", cls.institution_per_minute)),
                trusted_proxies=tuple(map(_network, env.get("EHC_TRUSTED_PROXIES", "").split())),
                admin_origin=_origin(env.get("EHC_ADMIN_ORIGIN", cls.admin_origin)),
                webauthn_rp_id=_domain_of(env.get("EHC_ADMIN_ORIGIN", cls.admin_origin), env.get("EHC_WEBAUTHN_RP_ID")),
                password_days=_within(env.get("EHC_PASSWORD_DAYS", cls.password_days), 0, 3650),
            )
        except ValueError:
            raise SettingsError("an EHC_… variable has a value of the wrong kind; see docs/operations.md") from None

    def key_encrypting_key(self) -> KeyEncryptingKey:
        """The key in `EHC_KEK_FILE`. Raises `KekError`, or `SettingsError` for a demo key outside the demo."""
        kek = KeyEncryptingKey.from_file(self.kek_file)
        if kek.demo and not self.demo:
            raise SettingsError(
                "this key-encrypting key was made by the demo and protects nothing; make one with `ehc keys make-kek`"
            )
        return kek


def _required(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "").strip()
    if not value:
        raise SettingsError(f"{name} is not set; see docs/operations.md")
    return value


def _loopback(env: Mapping[str, str]) -> bool:
    """Whether webhooks may go to this machine, also over HTTP: in a demo or a test."""
    if env.get("EHC_WEBHOOK_LOOPBACK") == "1" and env.get("EHC_DEMO") != "1":
        raise SettingsError("EHC_WEBHOOK_LOOPBACK lets apps send to this machine: for demos (EHC_DEMO=1) only")
    return env.get("EHC_WEBHOOK_LOOPBACK") == "1"


def _count(text: str | int) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def _within(text: str | int, least: int, most: int) -> int:
    if not least <= int(text) <= most:
        raise ValueError
    return int(text)


def _network(text: str) -> IPv4Network | IPv6Network:
    """A network, but not the whole internet: to trust everybody's word about addresses is to trust the caller's."""
    found = ip_network(text)
    if found.prefixlen == 0:
        raise ValueError
    return found


def _choice(word: str, *words: str) -> str:
    if word not in words:
        raise ValueError
    return word


def _name(text: str) -> str:
    if not (0 < len(text.strip()) <= MAX_ISSUER_NAME and text.isprintable()):
        raise ValueError
    return text.strip()


def _origin(text: str) -> str:
    """The scheme, host and port of pages, as browsers write it. WebAuthn works over TLS only, and on this machine."""
    parts = urlsplit(text)
    local = parts.scheme == "http" and parts.hostname == "localhost"
    if not parts.hostname or (parts.scheme != "https" and not local) or text != f"{parts.scheme}://{parts.netloc}":
        raise ValueError
    return text.lower()


def _domain_of(origin: str, asked: str | None) -> str:
    """The domain that authenticators sign for: that of the pages, or one above it."""
    host = urlsplit(_origin(origin)).hostname or ""
    domain = (asked or host).lower()
    if host != domain and not (host.endswith(f".{domain}") and "." in domain):
        raise ValueError
    return domain


def _file(name: str | None) -> Path | None:
    return Path(name) if name else None


def _level(name: str) -> str:
    if name not in logging.getLevelNamesMapping():
        raise ValueError
    return name


def _database_url(url: str) -> str:
    """The URL with our driver's name, so that a plain `postgresql://…` works too."""
    for plain in ("postgresql://", "postgres://"):
        if url.startswith(plain):
            return "postgresql+psycopg://" + url.removeprefix(plain)
    return url
