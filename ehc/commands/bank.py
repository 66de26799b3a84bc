"""`ehc bindings bank …`: what staff see and do about bank accounts. No number of an account is anywhere to be shown."""

from uuid import UUID

import click

from ehc.binding import bank_accounts, bank_comparison
from ehc.binding.bank_calls import Desk
from ehc.cards import store
from ehc.cards.bank_models import BankComparisonRow
from ehc.cards.binding_events import Why
from ehc.cards.states import Party
from ehc.cards.store import Acting
from ehc.commands.context import Deployment, deployment
from ehc.keystore import secret_keys
from ehc.parties import bank_gateway


@click.group()
def bank() -> None:
    """银行账户 · bank accounts, and their comparison with the bank."""


@bank.command("list")
@click.argument("card_id", type=click.UUID)
@deployment
def list_accounts(place: Deployment, card_id: UUID) -> None:
    """List every bank account that was ever on a card, the oldest first: id, bank, kind, last 4, state, why, which pays."""
    with place.work() as session:
        for row in bank_accounts.history_of(session, store.by_id(session, card_id)):
            why = row.failed_for or row.ended_for or "-"
            default = "default" if row.is_default else "-"
            click.echo(
                f"{row.id} {row.bank} {row.kind} {row.last4 or '-'} {row.payer} {row.state} {why} {default}"
                f" {row.changed_at:%Y-%m-%dT%H:%M:%SZ} {row.start_request}"
            )


@bank.command()
@click.argument("account_id", type=click.UUID)
@click.option("--by", "staff", required=True, help="Staff number.")
@click.option("--reason", required=True, help="Kept sealed.")
@deployment
def end(place: Deployment, account_id: UUID, staff: str, reason: str) -> None:
    """End the binding of a bank account at once; a job tells the bank."""
    with place.work() as session:
        card, sealer = bank_accounts.card_of(session, account_id), secret_keys.load(session, place.kek).sealer
        acting, words = Acting(f"staff:{staff}", Party.STAFF), Why(reason, sealer)
        now = place.clock.now()
        row = bank_accounts.end(session, card, account_id, why="staff", acting=acting, now=now, words=words)
        click.echo(row.state)


@bank.command()
@deployment
def compare(place: Deployment) -> None:
    """Compare all bindings with the bank's agreements now, repair what differs, and tell what it was."""
    gateway = bank_gateway(place.settings, place.clock)
    if gateway is None:
        raise click.ClickException("未配置银行（EHC_BANK_URL）。 No bank is configured: set EHC_BANK_URL.")
    with place.work() as session:
        secrets = secret_keys.load(session, place.kek)
    _tell(bank_comparison.compare(Desk(gateway, place.work, lambda: secrets), now=place.clock.now()), whole=True)


@bank.command()
@click.option("--most", default=30, show_default=True, type=click.IntRange(1, 1000), help="How many.")
@click.option("--whole", is_flag=True, help="With each difference.")
@deployment
def reports(place: Deployment, most: int, whole: bool) -> None:
    """List the last comparisons, the newest first: when, how many agreements, how many differences."""
    with place.work() as session:
        for report in bank_comparison.reports(session, most=most):
            _tell(report, whole=whole)


def _tell(report: BankComparisonRow, *, whole: bool) -> None:
    done = f"{len(report.differences)} differences" if report.finished_at else "broken off"
    click.echo(f"{report.begun_at:%Y-%m-%dT%H:%M:%SZ} {report.compared} agreements, {done}")
    for one in report.differences if whole else ():
        click.echo(f"  {one['start_request']} {one['what']}: {one['done']}")
