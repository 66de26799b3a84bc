"""Deaths that the authority told of before there was a card: nobody gets one in the name of the dead."""

from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from ehc.commands.cards import cards as cards_command
from ehc.core.documents import Document
from ehc.db import unit_of_work
from ehc.issuer import deaths, lifecycle
from ehc.outside.identity_authority import DeathNotice, DeathPage
from tests.contract.helpers import problem
from tests.support.families import post, wanted
from tests.support.national import secrets_of
from tests.support.service import Service, citizen_number, person, told

PASSPORT = {"name": "王小明", "id_type": "03", "id_number": "E12345678", "verification": {"method": "document-seen"}}


class Told:
    """An authority that tells of these deaths, each time it is asked."""

    def __init__(self, service: Service, *documents: Document) -> None:
        on = service.clock.now().date()
        notices = (DeathNotice(f"n-{number}", document, on) for number, document in enumerate(documents))
        self._page = DeathPage(tuple(notices), (), "c", False)

    def ask(self, person: Any) -> Any:
        raise NotImplementedError

    def deaths(self, since: str | None) -> DeathPage:
        return self._page


def pull(service: Service, *documents: Document) -> None:
    work, now = unit_of_work(service.engine), service.clock.now()
    deaths.pull(Told(service, *documents), work=work, secrets=secrets_of(service), now=now)


def citizen(serial: int) -> Document:
    return Document("01", citizen_number(serial))


def kept(service: Service) -> list[str]:
    with service.session() as session:
        return [notice.notice_id for notice in deaths.waiting(session)]


def patch(service: Service, card_id: str, body: dict[str, Any]) -> Any:
    return service.app.http.patch(f"/v1/cards/{card_id}", json=body, headers=service.app.headers | {"If-Match": "*"})


def run(service: Service, *words: str) -> Any:
    return CliRunner().invoke(cards_command, list(words), env={"EHC_DATABASE_URL": service.settings.database_url})


def test_whom_a_notice_called_dead_nobody_registers(service: Service) -> None:
    pull(service, citizen(1))
    assert problem(service.app.post("/v1/cards", person(1))) == (409, "card-cancelled")
    assert service.app.register(2)["status"] == "active"
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM card")) == 1


def test_nor_as_a_member_of_the_family(service: Service) -> None:
    pull(service, Document("01", citizen_number(1, born="20200601")))
    guardian = service.app.register(1)["card_id"]
    assert problem(post(service.app, guardian, wanted())) == (409, "card-cancelled")


def test_nor_by_a_document_or_a_number_of_theirs_on_another_card(service: Service) -> None:
    pull(service, citizen(1), Document("03", "E12345678"))
    card_id = service.app.register(2)["card_id"]
    assert problem(service.app.post(f"/v1/cards/{card_id}/documents", PASSPORT)) == (409, "card-cancelled")
    body = {"id_number": citizen_number(1), "verification": {"method": "document-seen"}}
    assert problem(patch(service, card_id, body)) == (409, "card-cancelled")
    assert told(service.app.get(f"/v1/cards/{card_id}"))["status"] == "active"


def test_what_gets_by_all_the_same_ends_with_the_next_pull(service: Service) -> None:
    """As an application of the same moment does, or an import."""
    card_id = service.app.register(1)["card_id"]
    with service.session() as session:
        index = session.scalar(text("SELECT number_index FROM identity_document"))
        values = {"index": index, "now": service.clock.now()}
        session.execute(text("INSERT INTO death_notice VALUES (:index, 'n-9', :now)"), values)
    pull(service)
    assert told(service.app.get(f"/v1/cards/{card_id}"))["cause"] == "deceased"
    assert kept(service) == []


def test_nothing_is_kept_of_the_dead_but_a_hash(service: Service) -> None:
    pull(service, citizen(1))
    pull(service, citizen(1))
    assert kept(service) == ["n-0"]
    with service.session() as session:
        row = session.execute(text("SELECT * FROM death_notice")).one()
        acts = session.scalars(text("SELECT action FROM audit WHERE subject = 'n-0'")).all()
    assert citizen_number(1) not in repr(row)
    assert acts == ["death-notice.kept"]


def test_staff_drop_a_notice_in_error(service: Service) -> None:
    pull(service, citizen(1))
    assert run(service, "death-notices").stdout.startswith("n-0 ")
    assert run(service, "drop-death-notice", "n-0", "--by", "S-7").stdout == "dropped\n"
    assert isinstance(run(service, "drop-death-notice", "n-0", "--by", "S-7").exception, deaths.NoSuchNotice)
    assert service.app.register(1)["status"] == "active"
    with service.session() as session:
        entry = session.scalar(text("SELECT entry FROM audit WHERE action = 'death-notice.dropped'"))
    assert "staff:S-7" in str(entry)


def test_a_card_that_cannot_be_ended_stands_in_no_others_way_and_is_tried_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (service.app.register(serial)["card_id"] for serial in (1, 2))
    apply = lifecycle.apply

    def failing(session: Any, card: Any, *rest: Any, **more: Any) -> None:
        if str(card.id) == first:
            raise LookupError
        apply(session, card, *rest, **more)

    monkeypatch.setattr(lifecycle, "apply", failing)
    pull(service, citizen(1), citizen(2))
    assert told(service.app.get(f"/v1/cards/{second}"))["cause"] == "deceased"
    assert kept(service) == ["n-0"]
    monkeypatch.undo()
    pull(service)
    assert told(service.app.get(f"/v1/cards/{first}"))["cause"] == "deceased"
    assert kept(service) == []
