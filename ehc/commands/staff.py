"""`ehc staff …`: the first administrators, and what an operator of the machine does for an account."""

import click
from sqlalchemy import select

from ehc.access import staff_accounts
from ehc.access.passwords import Hasher
from ehc.access.staff_accounts import Handed
from ehc.access.staff_acts import OPERATOR
from ehc.access.staff_models import StaffRow
from ehc.access.staff_schemas import REASONS
from ehc.callers import Role
from ehc.commands.context import Deployment, deployment
from ehc.keystore import secret_keys

_THREE = [str(role) for role in (Role.SYSTEM_ADMIN, Role.SECURITY_ADMIN, Role.AUDIT_ADMIN)]


@click.group()
def staff() -> None:
    """工作人员账户 · accounts of the staff."""


@staff.command("first-admin")
@click.argument("role", type=click.Choice(_THREE))
@click.argument("login")
@click.argument("name")
@deployment
def first_admin(place: Deployment, role: str, login: str, name: str) -> None:
    """Make the first system, security or audit administrator; prints the first password, once.

    Refuses where there is one, be it disabled. Three different people are wanted.
    """
    handed = Handed.new(Hasher())
    with place.work() as session:
        sealer = secret_keys.load(session, place.kek).sealer
        staff_accounts.first_admin(
            session, Role(role), login, name, handed, sealer=sealer, by=OPERATOR, now=place.clock.now()
        )
    _tell(login, handed)


@staff.command()
@click.argument("login")
@click.argument("name")
@deployment
def add(place: Deployment, login: str, name: str) -> None:
    """Make an account without roles; prints the first password, once. A security administrator grants the roles."""
    handed = Handed.new(Hasher())
    with place.work() as session:
        sealer = secret_keys.load(session, place.kek).sealer
        staff_accounts.create(session, login, name, handed, sealer=sealer, by=OPERATOR, now=place.clock.now())
    _tell(login, handed)


@staff.command("list")
@deployment
def list_staff(place: Deployment) -> None:
    """List the accounts: login, state, roles. Names stay sealed."""
    with place.work() as session:
        for row in session.scalars(select(StaffRow).order_by(StaffRow.created_at, StaffRow.id)):
            state = "disabled" if row.disabled_at else "limited" if row.limited else "live"
            where = row.region or row.institution_id or "-"
            demo = " DEMO" if row.demo else ""
            click.echo(f"{row.login:40} {state:8} {','.join(row.roles) or '-':22} {where}{demo}")


@staff.command()
@click.argument("login")
@click.option("--reason", type=click.Choice(REASONS), required=True)
@deployment
def disable(place: Deployment, login: str, reason: str) -> None:
    """Disable an account, also the last of its kind. Its sessions end at once."""
    with place.work() as session:
        row = staff_accounts.by_login(session, login)
        staff_accounts.disable(session, row.id, reason=reason, by=OPERATOR, now=place.clock.now(), spare_last=False)


@staff.command()
@click.argument("login")
@deployment
def enable(place: Deployment, login: str) -> None:
    """Enable an account, with the roles it had."""
    with place.work() as session:
        row = staff_accounts.by_login(session, login)
        staff_accounts.enable(session, row.id, by=OPERATOR, now=place.clock.now(), keep_roles=True)


@staff.command()
@click.argument("login")
@click.option("--password", is_flag=True, help="A new first password; printed once.")
@click.option("--second-factor", is_flag=True, help="Take TOTP, authenticators and recovery codes away.")
@deployment
def reset(place: Deployment, login: str, password: bool, second_factor: bool) -> None:
    """Reset an account, also the last of its kind. It keeps its roles, and can do nothing before it is set up anew."""
    if not (password or second_factor):
        raise click.UsageError("请指明 --password 或 --second-factor。 Say --password, --second-factor, or both.")
    handed = Handed.new(Hasher()) if password else None
    with place.work() as session:
        row = staff_accounts.by_login(session, login)
        staff_accounts.reset(
            session,
            row.id,
            handed,
            second_factor=second_factor,
            by=OPERATOR,
            now=place.clock.now(),
            keep_roles=True,
        )
    if handed is not None:
        _tell(login, handed)


@staff.command()
@click.argument("login")
@deployment
def unlock(place: Deployment, login: str) -> None:
    """Forget wrong tries; prints a device token to hand over, good for one log-in within half an hour."""
    with place.work() as session:
        row = staff_accounts.by_login(session, login)
        blind_index = secret_keys.load(session, place.kek).blind_index
        _, token = staff_accounts.unlock(session, row.id, blind_index=blind_index, by=OPERATOR, now=place.clock.now())
    click.echo(f"device {token}")


def _tell(login: str, handed: Handed) -> None:
    click.echo(f"login    {login}\npassword {handed.password}")
    days = staff_accounts.INITIAL_LIFE.days
    click.echo(
        f"初始密码只显示这一次，{days} 天内有效，首次登录须修改。 "
        f"Shown once; good for {days} days; changed at the first log-in.",
        err=True,
    )
