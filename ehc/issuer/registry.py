"""What every act on an account needs besides a session: keys, rules of the deployment, and how ids are made."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ehc.cards.models import CardRow
from ehc.cards.states import CardStatus, Level
from ehc.codes import national
from ehc.core.documents import Document
from ehc.keystore.secret_keys import Secrets
from ehc.outside.identity_authority import IdentityAuthority
from ehc.settings import Settings


@dataclass(frozen=True)
class Registry:
    """The keys, the identity authority if one is configured, and the rules that a deployment sets."""

    secrets: Secrets
    reviewed_levels: frozenset[Level] = frozenset()
    authority: IdentityAuthority | None = None
    restore_cancelled: bool = True
    family_members: int = 5
    temporary_days: int = 7
    keep_days: int = 15 * 365

    def first_status(self, level: Level) -> CardStatus:
        """The state in which a card of this level starts."""
        return CardStatus.PENDING_REVIEW if level in self.reviewed_levels else CardStatus.ACTIVE


def registry_of(settings: Settings, secrets: Secrets, *, authority: IdentityAuthority | None) -> Registry:
    """The registry of a deployment."""
    return Registry(
        secrets=secrets,
        reviewed_levels=settings.reviewed_levels,
        authority=authority,
        restore_cancelled=settings.restore_cancelled,
        family_members=settings.family_members,
        temporary_days=settings.temporary_days,
        keep_days=settings.keep_days,
    )


def national_ids(document: Document, name: str, card_id: UUID, secrets: Secrets) -> dict[str, Any]:
    """The columns of a card that its holder's document and name give (national rules 1.2), sealed for its row."""
    index = national.index_id(document, name)
    index_id = national.hex_upper(index)
    ehc_id = national.hex_upper(national.card_id(secrets.security_key, document, index))
    return {
        "ehc_id": secrets.sealer.seal(ehc_id, place("ehc_id", card_id)),
        "ehc_id_index": secrets.blind_index.of("ehc-id", ehc_id),
        "index_id": secrets.sealer.seal(index_id, place("index_id", card_id)),
        "index_id_index": secrets.blind_index.of("index-id", index_id),
        "security_key_version": secrets.security_key_version,
    }


def open_ids(card: CardRow, secrets: Secrets) -> tuple[str | None, str | None]:
    """A card's card id and index id in clear; None for a temporary card."""

    def opened(column: str, value: bytes | None) -> str | None:
        return secrets.sealer.unseal(value, place(column, card.id)) if value else None

    return opened("ehc_id", card.ehc_id), opened("index_id", card.index_id)


def place(column: str, card_id: UUID) -> str:
    """Where an id of a card is sealed."""
    return f"card.{column}:{card_id}"


Registries = Callable[[], Registry]
"""Gives the registry with the keys as they are now."""
