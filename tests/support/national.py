"""National and static codes as tests need them: made by hand, with any times, and put where the service remembers them."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import select, text

from ehc.cards.code_models import NationalCodeRow, PrintRow
from ehc.cards.models import CardRow
from ehc.codes import national
from ehc.codes.minting import mint
from ehc.codes.national_text import national_dynamic, national_static
from ehc.codes.signed import Claims
from ehc.keystore import secret_keys, signing_keys
from ehc.keystore.ring import Purpose
from ehc.keystore.secret_keys import Secrets
from tests.support.service import Service

LIFE = 90


def secrets_of(service: Service) -> Secrets:
    """The deployment's symmetric keys."""
    with service.session() as session:
        return secret_keys.load(session, service.settings.key_encrypting_key())


def serial_of(service: Service, card: dict[str, Any]) -> int:
    """The serial of a card."""
    with service.session() as session:
        return session.scalars(select(CardRow.serial).where(CardRow.id == card["card_id"])).one()


def validity(service: Service, *, ends_in: float = LIFE, key: bytes | None = None) -> bytes:
    """A validity field that ends so many seconds from now, under the newest protection key."""
    newest = max(secrets_of(service).protection_keys.items())[1]
    return national.validity(key or newest, service.clock.now() + timedelta(seconds=ends_in))


def dynamic(card: dict[str, Any], field: bytes) -> str:
    """The dynamic text of a card, remembered nowhere."""
    return national_dynamic(bytes.fromhex(card["ehc_id"]), field)


def static(card: dict[str, Any]) -> str:
    """The static text of a card."""
    return national_static(bytes.fromhex(card["ehc_id"]))


def remember(
    service: Service,
    card: dict[str, Any],
    code: str,
    *,
    issued_in: float = 0,
    ends_in: float = LIFE,
    max_uses: int = 3,
) -> str:
    """Write down that a text was issued to a card; returns the text."""
    now, index = service.clock.now(), secrets_of(service).blind_index.of("national-code", code)
    with service.session() as session:
        session.add(
            NationalCodeRow(
                text_index=index,
                card_serial=session.scalars(select(CardRow.serial).where(CardRow.id == card["card_id"])).one(),
                client_id=uuid4(),
                key_version=1,
                issued_at=now + timedelta(seconds=issued_in),
                expires_at=now + timedelta(seconds=ends_in),
                max_uses=max_uses,
            )
        )
    return code


def issued(service: Service, card: dict[str, Any], *, ends_in: float = LIFE, **row: Any) -> str:
    """A dynamic text of a card that the service remembers."""
    return remember(service, card, dynamic(card, validity(service, ends_in=ends_in)), ends_in=ends_in, **row)


def uses(service: Service, code: str) -> int:
    """How often a remembered text was used."""
    index = secrets_of(service).blind_index.of("national-code", code)
    with service.session() as session:
        return session.scalars(select(NationalCodeRow.uses).where(NationalCodeRow.text_index == index)).one()


def printed(
    service: Service,
    card: dict[str, Any],
    *,
    life: int = 365 * 86_400,
    issued_in: int = 0,
    row: bool = True,
    **columns: Any,
) -> str:
    """A printed code of a card, and the row that says so unless `row` is false."""
    with service.session() as session:
        kek = service.settings.key_encrypting_key()
        signer = signing_keys.load_signers(session, kek, Purpose.CODE)[0].signer
    now = service.clock.now()
    starts = int(now.timestamp()) + issued_in
    serial = serial_of(service, card)
    claims = Claims(starts, starts + life, secrets_of(service).cti.make(serial), static=True)
    if row:
        values = {"expires_at": now + timedelta(seconds=issued_in + life)} | columns
        with service.session() as session:
            session.execute(
                text("UPDATE printed_code SET revoked_at = :now, refusal = 'expired' WHERE card_serial = :serial"),
                {"now": now, "serial": serial},
            )
            session.add(
                PrintRow(
                    cti=claims.cti, card_serial=serial, client_id=_app(service), layout="a4", printed_at=now, **values
                )
            )
    return mint(claims, signer)


def allow_static(service: Service, card: dict[str, Any], *, card_allows: bool = True, here: bool = True) -> None:
    """Switch static codes on or off, for a card and for the institution of the first terminal."""
    change(service, card, static_allowed=card_allows)
    with service.session() as session:
        session.execute(text("UPDATE institution SET static_allowed = :here WHERE code = 'H1'"), {"here": here})


def change(service: Service, card: dict[str, Any], **columns: Any) -> None:
    """Change columns of a card, as no route would."""
    changes = ", ".join(f"{name} = :{name}" for name in columns)
    with service.session() as session:
        session.execute(text(f"UPDATE card SET {changes} WHERE id = :id"), {"id": card["card_id"], **columns})


def _app(service: Service) -> Any:
    with service.session() as session:
        wanted = text("SELECT id FROM client WHERE client_id = :id")
        return session.execute(wanted, {"id": service.app.credentials.client_id}).scalar_one()
