"""The room `binding`, joined."""

from collections.abc import Iterator

from flask import Blueprint

from ehc.access.clients import institution_names
from ehc.binding import api as binding_api
from ehc.binding import bank_api, bank_numbers, bank_webhook, blacklist_api, patient_api, plastic_api, statuses
from ehc.binding.deps import BindingDeps
from ehc.edge.parts import Parts
from ehc.errors import EhcError
from ehc.keystore import signing_keys
from ehc.parties import bank_gateway, bank_key
from ehc.settings import Settings, SettingsError

STATUSES: dict[type[EhcError], int] = {
    **statuses.STATUSES,
    **patient_api.STATUSES,
    **plastic_api.STATUSES,
    **bank_api.STATUSES,
}


def blueprints(parts: Parts) -> Iterator[Blueprint]:
    """Every blueprint of the room. Raises `SettingsError` or `SetupError` for a bank that cannot be used as configured."""
    settings, keys, clock = parts.settings, parts.keys, parts.clock
    deps = BindingDeps(
        work=parts.work,
        once=parts.once,
        clock=clock,
        secrets=keys.secrets.get,
        list_signer=lambda: signing_keys.signer_at(keys.list_signers.get(), clock.now()),
        institution_names=institution_names,
        authenticate=parts.authenticate,
        bank_bins=settings.bank_bins_file,
    )
    plastic = plastic_api.PlasticDeps(deps, loss_days=settings.plastic_loss_days)
    yield binding_api.bindings_blueprint(deps)
    yield plastic_api.plastic_terminal_blueprint(plastic)
    yield plastic_api.plastic_holder_blueprint(plastic)
    yield plastic_api.plastic_shared_blueprint(plastic)
    yield blacklist_api.blacklist_blueprint(deps, issuer=settings.issuer)
    yield patient_api.patient_ids_blueprint(deps)
    _require_bins(settings)
    bank = bank_api.BankDeps(deps, bank_gateway(settings, clock), most=settings.bank_accounts)
    yield bank_api.bank_accounts_blueprint(bank)
    yield bank_webhook.bank_notices_blueprint(bank_webhook.WebhookDeps(parts.work, clock, bank_key(settings)))


def _require_bins(settings: Settings) -> None:
    """Raises `SettingsError` for a table of bank issuer numbers that cannot be used."""
    try:
        bank_numbers.bins(settings.bank_bins_file)
    except LookupError as error:
        raise SettingsError(f"EHC_BANK_BINS_FILE: {error}") from None
