"""The issuer's background tasks. Each may run twice, and at the same time as itself: the database decides."""

from datetime import timedelta
from functools import cache, partial
from uuid import UUID

from ehc.db import until_none
from ehc.issuer import (
    deaths,
    majority,
    mass_cancelling,
    national_codes,
    phone_proofs,
    photos,
    proofs,
    retention,
    temporary,
)
from ehc.issuer.registry import Registry, registry_of
from ehc.outside.identity_authority import HttpIdentityAuthority
from ehc.parties import identity_authority
from ehc.place import Place

_PATIENCE = timedelta(minutes=5)


def retry_proof(place: Place, card_id: str) -> None:
    """Ask the identity authority again about a card that waits for it. Raises `AuthorityAway` while it is away."""
    authority = _authority(place)
    if authority is None:
        return
    proofs.retry(
        UUID(card_id),
        work=place.work,
        authority=authority,
        registries=partial(_registry, place),
        now=place.clock.now(),
    )


def sweep_proofs(place: Place) -> None:
    """Have every card that has waited for the authority for five minutes asked about again, whatever became of its job."""
    with place.work() as session:
        for card_id in proofs.unanswered(session, before=place.clock.now() - _PATIENCE):
            proofs.ask_again(session, card_id)


def pull_deaths(place: Place) -> None:
    """Read the authority's death notices and end the cards they name. Raises `AuthorityAway`."""
    authority = _authority(place)
    more = authority is not None
    while authority is not None and more:
        more = deaths.pull(authority, work=place.work, secrets=place.secrets(), now=place.clock.now())


def cancel_many(place: Place, approval_id: str) -> None:
    """Cancel the cards of a list that two people decided on, as far as that is not done."""
    step = partial(mass_cancelling.cancel_next, approval_id=UUID(approval_id), secrets=place.secrets())
    until_none(place.work, lambda session: step(session, now=place.clock.now()))


def end_what_is_over(place: Place) -> None:
    """Expire temporary cards, end guardianships at 18, and forget old codes and what a closed account need not keep."""
    now, secrets = place.clock.now(), place.secrets()
    temporary.expire(place.work, secrets=secrets, now=now)
    until_none(place.work, partial(majority.end_guardianships, secrets=secrets, now=now))
    until_none(place.work, partial(phone_proofs.purge, now=now))
    until_none(place.work, partial(national_codes.purge, now=now))
    until_none(place.work, partial(photos.purge, now=now))
    until_none(place.work, partial(retention.erase, secrets=secrets, now=now))


@cache
def _authority(place: Place) -> HttpIdentityAuthority | None:
    """One adapter for a worker: it keeps connections, and remembers for a moment that the other side is away."""
    return identity_authority(place.settings, place.clock)


def _registry(place: Place) -> Registry:
    return registry_of(place.settings, place.secrets(), authority=None)
