"""`ehc keys …`: the keys of the deployment."""

from pathlib import Path

import click

from ehc.commands.context import Deployment, deployment
from ehc.crypto.keys import KeyId
from ehc.crypto.wrapping import KeyEncryptingKey
from ehc.keystore import ring, secret_keys, signing_keys
from ehc.keystore.ring import Purpose, state_of
from ehc.keystore.secret_keys import SecretPurpose
from ehc.outside.signed_http import PartyKey

_PURPOSE = click.Choice([str(purpose) for purpose in Purpose])


@click.group()
def keys() -> None:
    """密钥管理 · keys."""


@keys.command("make-kek")
@click.argument("path", type=click.Path(path_type=Path))
def make_kek(path: Path) -> None:
    """Write a new key-encrypting key to a file that only its owner can read. Keep a copy in a safe place."""
    try:
        KeyEncryptingKey.make_file(path, demo=False)
    except FileExistsError:
        raise click.ClickException("该文件已存在，不会覆盖。 The file exists and is not overwritten.") from None


@keys.command("make-party-key")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("key_id")
def make_party_key(path: Path, key_id: str) -> None:
    """Write a new key to share with an outside party (docs/outside-parties.md). Give them a copy over a safe channel."""
    try:
        PartyKey.make_file(path, key_id)
    except FileExistsError:
        raise click.ClickException("该文件已存在，不会覆盖。 The file exists and is not overwritten.") from None


@keys.command()
@deployment
def init(place: Deployment) -> None:
    """Make every key that the deployment lacks. Safe to run twice."""
    for made in init_keys(place):
        click.echo(f"made {made}")


@keys.command("list")
@deployment
def list_keys(place: Deployment) -> None:
    """List the signing keys, newest first."""
    now = place.clock.now()
    with place.work() as session:
        for purpose in Purpose:
            for row in ring.signing_keys(session, purpose):
                until = f"{row.signs_until:%Y-%m-%dT%H:%M:%SZ}" if row.signs_until else "-"
                click.echo(
                    f"{purpose:6} {row.id.hex()} {state_of(row, now):8} {row.signs_from:%Y-%m-%dT%H:%M:%SZ} {until}"
                )


@keys.command()
@click.argument("purpose", type=_PURPOSE, default=str(Purpose.CODE))
@deployment
def rotate(place: Deployment, purpose: str) -> None:
    """Make a key that takes over in 60 s, when every worker knows it. Codes of the old key pass until they expire."""
    with place.work() as session:
        key_id = signing_keys.rotate(session, place.kek, Purpose(purpose), now=place.clock.now())
    click.echo(f"{key_id.hex()} pending; active in {signing_keys.HEAD_START.seconds} s")


@keys.command()
@click.argument("key_id")
@deployment
def revoke(place: Deployment, key_id: str) -> None:
    """Stop a key at once, everywhere. If nothing else signs, a successor starts at once.

    For whoever has the machine, when two of the staff cannot wait for one another; the audit log says so (`break_glass`).
    """
    try:
        wanted = KeyId(bytes.fromhex(key_id))
    except ValueError:
        raise click.ClickException("密钥编号是 16 位十六进制数。 A key id has 16 hex digits.") from None
    with place.work() as session:
        successor = signing_keys.revoke(session, place.kek, wanted, now=place.clock.now(), facts={"break_glass": True})
    click.echo("revoked" + (f"; {successor.hex()} is active" if successor else ""))


@keys.command("import-security-key")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@deployment
def import_security_key(place: Deployment, path: Path) -> None:
    """Take the card-id security key (安全密钥) of the province from a file with 32 hex digits. New cards use it."""
    _import(place, SecretPurpose.CARD_ID, path)


@keys.command("import-protection-key")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@deployment
def import_protection_key(place: Deployment, path: Path) -> None:
    """Take the protection key (保护密钥) of the province from a file with 32 hex digits. New national codes use it."""
    _import(place, SecretPurpose.PROTECTION, path)


def _import(place: Deployment, purpose: SecretPurpose, path: Path) -> None:
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
        with place.work() as session:
            number = secret_keys.store(session, place.kek, purpose, key, at=place.clock.now())
    except ValueError:
        raise click.ClickException("文件应为 32 位十六进制数。 The file has 32 hex digits.") from None
    click.echo(f"{purpose} key version {number}")


def init_keys(place: Deployment) -> list[str]:
    """Make what is missing; returns what was made."""
    now = place.clock.now()
    with place.work() as session:
        made = [str(purpose) for purpose in secret_keys.create_missing(session, place.kek, at=now)]
        for purpose in Purpose:
            if not signing_keys.exists(session, purpose):
                signing_keys.create(session, place.kek, purpose, signs_from=now, now=now)
                made.append(f"{purpose} signing key")
    return made
