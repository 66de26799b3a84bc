"""Plastic cards as tests make them: a card that was checked just now, and what a terminal sends about it."""

from typing import Any

from sqlalchemy import text

from tests.support.service import Api, Service, person, told

ATR = "00AB12CD{:08X}"
"""The 16 hex digits of the ATR numbers of cards that nobody has."""


def checked(service: Service, serial: int = 1, *, at: Api | None = None, **changes: Any) -> dict[str, Any]:
    """A card of somebody, checked at a terminal just now: `card_id`, and `verification_id` of the check."""
    card = service.app.register(serial, **changes)
    scan = (at or service.terminal).scan(service.app.code(card["card_id"]))
    return {"card_id": card["card_id"], "verification_id": scan["verification_id"], "serial": serial}


def again(service: Service, card: dict[str, Any], *, at: Api | None = None) -> dict[str, Any]:
    """The same card, checked anew."""
    scan = (at or service.terminal).scan(service.app.code(card["card_id"]))
    return card | {"verification_id": scan["verification_id"]}


def holder(card: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The holder's own name and document."""
    known = person(card["serial"])
    return {name: known[name] for name in ("name", "id_type", "id_number")} | changes


def wanted(card: dict[str, Any], number: int | str = 1, **changes: Any) -> dict[str, Any]:
    """A resident health card in the reader."""
    return {
        "kind": "resident-health-card",
        "card_number": number if isinstance(number, str) else ATR.format(number),
        "holder": holder(card),
        "verification_id": card["verification_id"],
    } | changes


def path(card: dict[str, Any], *rest: str) -> str:
    """The address of a card's plastic cards, or of one of them."""
    return "/".join((f"/v1/cards/{card['card_id']}/bindings/plastic-cards", *rest))


def bound(service: Service, card: dict[str, Any], number: int | str = 1, **changes: Any) -> str:
    """Bind a plastic card; the id of the binding."""
    answer = service.terminal.post(path(card), wanted(card, number, **changes))
    assert answer.status_code == 201, answer.text
    return str(told(answer)["binding_id"])


def delete(api: Api, address: str) -> Any:
    """A DELETE."""
    return api.http.delete(address, headers=api.headers)


def read(service: Service, number: int | str = 1, *, at: Api | None = None, **more: Any) -> dict[str, Any]:
    """The answer to a scan of a plastic card."""
    body = {"card_number": number if isinstance(number, str) else ATR.format(number)}
    body |= {"kind": "resident-health-card", "step": "registration"} | more
    answer = (at or service.terminal).post("/v1/verifications", body)
    assert answer.status_code == 200, answer.text
    return told(answer)


def later(service: Service, seconds: float) -> None:
    """Time goes by, and whoever calls gets a new token."""
    service.clock.advance(seconds)
    for api in (service.app, service.other_app, service.terminal, service.second_terminal):
        api.__post_init__()


def listed(service: Service) -> dict[str, str | None]:
    """The blacklist as it is now: reason by kind and order."""
    with service.session() as session:
        rows = session.execute(text("SELECT encode(number_hash, 'hex'), reason FROM plastic_blacklist"))
        return {str(row[0]): row[1] for row in rows}


def states(service: Service) -> list[str]:
    """The states of all plastic cards, in the order of their binding."""
    with service.session() as session:
        return list(session.scalars(text("SELECT state FROM plastic_card ORDER BY bound_at, id")))


def actions(service: Service) -> list[str]:
    """What the history of bindings says of plastic cards."""
    with service.session() as session:
        wanted = text("SELECT action FROM binding_event WHERE kind = 'plastic-card' ORDER BY ctid")
        return list(session.scalars(wanted))
