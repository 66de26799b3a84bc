"""`ehc cards …`: what staff do: the review of applications, moves of cards, corrections that people ask for."""

import os
from pathlib import Path
from uuid import UUID

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc.cards import store
from ehc.cards.events import Words
from ehc.cards.models import CardRow
from ehc.cards.states import CANCEL, RECOVER, REPORT_LOSS, RESUME, SUSPEND, Move, Party
from ehc.cards.store import Acting, no_such_card
from ehc.commands.context import Deployment, deployment
from ehc.issuer import closing, corrections, deaths, lifecycle, photos, proofs, temporary
from ehc.issuer.registry import Registry, registry_of
from ehc.keystore import secret_keys

_MOVES = {
    "suspend": (SUSPEND, "Suspend a card, or hold one that its holder suspended or lost; then only staff resume it."),
    "resume": (RESUME, "Resume a suspended card, whoever suspended it."),
    "report-loss": (REPORT_LOSS, "Freeze a card whose phone or print was lost, and close every code that is out."),
    "recover": (RECOVER, "Make a lost card active again, the holder's document in sight."),
    "cancel": (CANCEL, "Cancel a card; then only staff restore it."),
}
_DOCUMENT_IN_SIGHT = {RECOVER}


@click.group()
def cards() -> None:
    """健康卡 · cards."""


@cards.command()
@deployment
def pending(place: Deployment) -> None:
    """List the cards that wait for review, the oldest first, with what the identity authority found (- if not asked)."""
    with place.work() as session:
        for card, finding in proofs.pending(session):
            click.echo(f"{card.id} {card.level:14} {card.created_at:%Y-%m-%dT%H:%M:%SZ} {finding or '-'}")


@cards.command()
@click.argument("card_id", type=click.UUID)
@click.option("--approve/--reject", required=True)
@click.option("--by", "reviewer", required=True, help="Staff number of the reviewer.")
@click.option("--reason", help="Why: in the card's history, sealed. Needed for a rejection.")
@deployment
def review(place: Deployment, card_id: UUID, approve: bool, reviewer: str, reason: str | None) -> None:
    """Decide an application."""
    if not approve and not reason:
        raise click.UsageError("a rejection needs --reason")
    with place.work() as session:
        card = session.scalars(select(CardRow).where(CardRow.id == card_id)).one_or_none()
        if card is None:
            raise no_such_card()
        lifecycle.review(
            session,
            card,
            approve=approve,
            actor=f"reviewer:{reviewer}",
            reason=reason,
            secrets=secret_keys.load(session, place.kek),
            now=place.clock.now(),
        )
        click.echo(card.status)


@cards.command()
@click.argument("card_id", type=click.UUID)
@click.argument("kind", type=click.Choice(photos.KINDS))
@click.argument("file", type=click.Path(dir_okay=False, writable=True, path_type=Path))
@click.option("--by", "staff", required=True, help="Staff number.")
@deployment
def photo(place: Deployment, card_id: UUID, kind: str, file: Path, staff: str) -> None:
    """Write a photograph that came with an application into FILE, for its review. Each look is in the audit log."""
    with place.work() as session:
        card, sealer = store.by_id(session, card_id), secret_keys.load(session, place.kek).sealer
        found = photos.read(session, card, kind, actor=_staff(staff).actor, sealer=sealer, now=place.clock.now())
    if found is None:
        raise click.ClickException("没有这张照片，或已过保存期 · no such photograph is kept")
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(found.data)
    click.echo(found.media_type)


@cards.command()
@click.argument("card_id", type=click.UUID)
@click.option("--by", "staff", required=True, help="Staff number.")
@click.option("--reason", required=True, help="Kept sealed.")
@deployment
def restore(place: Deployment, card_id: UUID, staff: str, reason: str) -> None:
    """Make a cancelled card active again, the holder's document in sight. Apps register the person again to see it."""
    with place.work() as session:
        card, registry = store.by_id(session, card_id), _registry(place, session)
        by, words = _staff(staff), Words(reason, clerk=staff)
        closing.restore(session, card, by=by, words=words, registry=registry, now=place.clock.now())
        click.echo(card.status)


@cards.command()
@click.argument("card_id", type=click.UUID)
@click.argument("formal_id", type=click.UUID)
@click.option("--by", "staff", required=True, help="Staff number.")
@click.option("--reason", required=True, help="How the patient was recognised; kept sealed.")
@deployment
def join(place: Deployment, card_id: UUID, formal_id: UUID, staff: str, reason: str) -> None:
    """Let the card FORMAL_ID go on with the history of the temporary card CARD_ID, also of one that has expired."""
    with place.work() as session:
        card, formal = store.by_id(session, card_id), store.by_id(session, formal_id)
        registry, now = _registry(place, session), place.clock.now()
        temporary.join_cards(session, card, formal, by=_staff(staff), reason=reason, registry=registry, now=now)
        click.echo(formal.status)


@cards.command("death-notices")
@deployment
def list_notices(place: Deployment) -> None:
    """List the death notices about people who have no card, the oldest first: the authority's id, and when it was read."""
    with place.work() as session:
        for notice in deaths.waiting(session):
            click.echo(f"{notice.notice_id} {notice.noted_at:%Y-%m-%dT%H:%M:%SZ}")


@cards.command("drop-death-notice")
@click.argument("notice_id")
@click.option("--by", "staff", required=True, help="Staff number.")
@deployment
def drop_notice(place: Deployment, notice_id: str, staff: str) -> None:
    """Drop a death notice in error, whose person, seen with the document, then applies for a card as anybody does."""
    with place.work() as session:
        deaths.drop(session, notice_id, actor=_staff(staff).actor, now=place.clock.now())
        click.echo("dropped")


@cards.command("corrections")
@click.option("--show", "shown", type=click.UUID, help="Tell what this one asks for: personal data, so it is audited.")
@deployment
def list_corrections(place: Deployment, shown: UUID | None) -> None:
    """List what people asked to have put right, the oldest first: its id, card, time and field."""
    with place.work() as session:
        secrets = secret_keys.load(session, place.kek)
        if shown is not None:
            asked = corrections.read(session, shown, actor="operator", secrets=secrets, now=place.clock.now())
            click.echo(f"field  {asked.field}\nwanted {asked.wanted}\nreason {asked.words or '-'}")
            return
        for row, card_id in corrections.waiting(session):
            click.echo(f"{row.id} {card_id} {row.asked_at:%Y-%m-%dT%H:%M:%SZ} {row.field}")


@cards.command()
@click.argument("correction_id", type=click.UUID)
@click.option("--grant/--refuse", required=True)
@click.option("--by", "staff", required=True, help="Staff number.")
@click.option("--reason", required=True, help="The answer, which the person reads; kept sealed.")
@deployment
def correct(place: Deployment, correction_id: UUID, grant: bool, staff: str, reason: str) -> None:
    """Decide what somebody asked to have put right. What is granted is written at once."""
    with place.work() as session:
        registry, now = _registry(place, session), place.clock.now()
        done = corrections.decide(
            session, correction_id, grant=grant, by=staff, reason=reason, registry=registry, now=now
        )
        click.echo(done.decision)


def _add_move(name: str, how: Move, about: str) -> None:
    @cards.command(name, help=about)
    @click.argument("card_id", type=click.UUID)
    @click.option("--by", "staff", required=True, help="Staff number.")
    @click.option("--reason", required=True, help="Kept sealed.")
    @deployment
    def move(place: Deployment, card_id: UUID, staff: str, reason: str) -> None:
        words = Words(reason, clerk=staff if how in _DOCUMENT_IN_SIGHT else None)
        with place.work() as session:
            card, secrets = store.by_id(session, card_id), secret_keys.load(session, place.kek)
            now, by = place.clock.now(), _staff(staff)
            if how is SUSPEND:
                lifecycle.stop(session, card, acting=by, words=words, secrets=secrets, now=now)
            else:
                seen = how in _DOCUMENT_IN_SIGHT
                lifecycle.apply(session, card, how, acting=by, words=words, secrets=secrets, now=now, proved=seen)
            click.echo(card.status)


for _name, (_how, _about) in _MOVES.items():
    _add_move(_name, _how, _about)


def _staff(number: str) -> Acting:
    return Acting(f"staff:{number}", Party.STAFF)


def _registry(place: Deployment, session: Session) -> Registry:
    """The registry of the deployment; staff stand for the proof, so the identity authority is not asked."""
    return registry_of(place.settings, secret_keys.load(session, place.kek), authority=None)
