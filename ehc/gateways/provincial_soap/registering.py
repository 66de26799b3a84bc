"""E0001, E0006 and E0016: registration online, on site, and of newborns (provincial SOAP 4.1, 4.6, 4.16)."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy.orm import Session

from ehc.cards.models import CardRow
from ehc.cards.states import LIVE, CardStatus, Level
from ehc.cards.store import acting
from ehc.clock import local_day
from ehc.gateways.provincial_soap import store
from ehc.gateways.provincial_soap.asking import Asked, Told
from ehc.gateways.provincial_soap.fields import read_photo
from ehc.gateways.provincial_soap.people import applicant
from ehc.gateways.provincial_soap.result_codes import Failed
from ehc.gateways.provincial_soap.telling import person_info, person_values
from ehc.issuer import accounts, finding, photos
from ehc.issuer.applications import Application, Proof
from ehc.issuer.metrics import REGISTRATIONS
from ehc.issuer.photos import Photo
from ehc.issuer.proofs import Weighed
from ehc.issuer.weighing import weigh_application
from ehc.residents.store import Person

_ANEW = frozenset({CardStatus.CANCELLED, CardStatus.REJECTED})
"""States from which an application begins anew."""


class Applicant(NamedTuple):
    """Somebody who applies, with the proof weighed and the photographs that came along."""

    wanted: Application
    person: Person
    weighed: Weighed
    photos: Sequence[Photo] = ()


def register_online(asked: Asked) -> Told:
    """E0001: three photographs, which nobody has looked at yet."""
    proof = Proof(Level.SELF_DECLARED, f"RHC_E0001 {asked.reference}".strip())
    return _register(asked, proof, read_photos(asked))


def register_on_site(asked: Asked) -> Told:
    """E0006: a clerk saw the person and the document."""
    clerk = f"{asked.text('auth_name')} {asked.text('auth_id_card')}"
    return _register(asked, Proof(Level.CLERK, f"RHC_E0006 {asked.reference}".strip(), clerk))


def register_newborn(asked: Asked) -> Told:
    """E0016: neither photographs nor a clerk."""
    return _register(asked, Proof(Level.SELF_DECLARED, f"RHC_E0016 {asked.reference}".strip()))


def read_photos(asked: Asked) -> list[Photo]:
    """The three photographs of a request. Raises `Failed`: 6004, 6005, 6006."""
    return [Photo(*read_photo(kind, asked.text(f"photo_{kind}"))) for kind in photos.KINDS]


def apply(asked: Asked, proof: Proof, sent: Sequence[Photo] = ()) -> Applicant:
    """Whoever applies, weighed before the transaction. Raises `Failed`: 6002, 6003, 6010."""
    today = local_day(asked.now)
    wanted, person = applicant(asked.fields, proof, today=today)
    weighed = weigh_application(asked.services.work, asked.services.registry(), proof, person)
    return Applicant(wanted, person, weighed, sent)


def keep_photos(session: Session, asked: Asked, card: CardRow, sent: Sequence[Photo], *, instead: bool = True) -> None:
    """Keep the photographs that came along, as evidence."""
    by, sealer = acting(asked.caller), asked.secrets.sealer
    photos.keep(
        session,
        card,
        sent,
        client_id=asked.caller.id,
        days=asked.services.photo_days,
        by=by,
        sealer=sealer,
        now=asked.now,
        instead=instead,
    )


def _register(asked: Asked, proof: Proof, sent: Sequence[Photo] = ()) -> Told:
    one = apply(asked, proof, sent)
    registry, now = asked.services.registry(), asked.now
    with asked.services.work() as session:
        before = finding.status_of(session, accounts.document_of(one.person), secrets=registry.secrets)
        account, made = accounts.register(
            session, one.person, one.wanted, one.weighed, caller=asked.caller, registry=registry, now=now
        )
        anew = made or (before in _ANEW and account.card.status in LIVE)
        if anew:
            keep_photos(session, asked, account.card, sent)
        if made:
            store.note_made(session, account.card, asked.caller.institution_id, at=now)
        applied = store.applied(session, account.card)
        values = person_values(account, applied, sent=asked.fields, told=asked.may_tell())
    REGISTRATIONS.labels("new" if made else "known").inc()
    if not anew:
        raise Failed("6009", parts=(person_info(values),))
    return Told("6008", (person_info(values),))
