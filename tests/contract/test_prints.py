"""`GET /v1/cards/{card_id}/print`: a PDF whose code counts, and stops when the next one is printed."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from io import BytesIO
from threading import Event
from time import monotonic
from typing import Any

import pypdfium2
import pytest
import zxingcpp
from sqlalchemy import text
from werkzeug.test import TestResponse

from ehc.access import clients
from ehc.errors import Text, Unavailable
from ehc.issuer import code_api, prints
from ehc.issuer.printing import Printed, draw_pdf
from ehc.keystore import signing_keys
from ehc.keystore.ring import Purpose
from tests.contract.helpers import at_once, elsewhere, problem, row_counts, signer_of, wrong
from tests.support.service import Service, citizen_number
from tests.support.service import told as answered


@pytest.fixture
def printable(service: Service) -> str:
    """A card whose holder allows static codes, in a world where the first hospital takes them."""
    card_id = str(service.app.register(1)["card_id"])
    headers = service.app.headers | {"If-Match": "*"}
    assert (
        service.app.http.patch(f"/v1/cards/{card_id}", json={"static_codes": True}, headers=headers).status_code == 200
    )
    with service.session() as session:
        clients.allow_static(session, clients.institution(session, "H1"), True, now=service.clock.now())
    return card_id


def printed(service: Service, card_id: str, layout: str = "a4") -> TestResponse:
    return service.app.get(f"/v1/cards/{card_id}/print?layout={layout}")


def code_on(answer: TestResponse) -> str:
    """What a scanner reads from the first page at 300 dpi."""
    assert (answer.status_code, answer.content_type) == (200, "application/pdf"), answer.text
    page = pypdfium2.PdfDocument(BytesIO(answer.data))[0]
    (found,) = zxingcpp.read_barcodes(
        page.render(scale=300 / 72).to_pil(), formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)
    )
    return str(found.text)


@pytest.mark.parametrize("layout", ["a4", "card", "sticker"])
def test_the_code_on_paper_is_accepted_and_tells_little(service: Service, printable: str, layout: str) -> None:
    answer = printed(service, printable, layout)
    assert answer.headers["Cache-Control"] == "no-store"
    told = service.terminal.scan(code_on(answer))
    assert (told["outcome"], told["card"]["assurance"]) == ("accepted", "static")
    assert told["resident"] == {"name": "王**"}


def test_the_sheet_has_the_name_and_a_masked_number(service: Service, printable: str) -> None:
    number = citizen_number(1)
    for layout in ("a4", "card", "sticker"):
        page = pypdfium2.PdfDocument(BytesIO(printed(service, printable, layout).data))[0]
        told = "".join(page.get_textpage().get_text_bounded().split())
        assert "王小明" in told
        assert f"1101{'*' * 12}{number[-2:]}" in told
        assert number[4:-2] not in told


def test_the_last_four_of_the_phone_tell_more(service: Service, printable: str) -> None:
    code = code_on(printed(service, printable))
    told = service.terminal.scan(code, second_factor={"phone_last4": "8000"})
    assert told["card"]["assurance"] == "static-confirmed"
    assert (told["resident"]["name"], told["resident"]["sex"]) == ("王**", "1")


def test_a_print_stops_the_one_before(service: Service, printable: str) -> None:
    first, second = code_on(printed(service, printable, "card")), code_on(printed(service, printable, "card"))
    assert service.terminal.scan(first)["reason"] == "expired"
    assert service.terminal.scan(second)["outcome"] == "accepted"


def test_of_six_prints_at_once_one_counts(service: Service, printable: str) -> None:
    def printer() -> Any:
        own = elsewhere(service.app, service.flask)
        return lambda: own.get(f"/v1/cards/{printable}/print?layout=sticker")

    codes = [code_on(answer) for answer in at_once(*(printer() for _ in range(6)))]
    outcomes = sorted(service.terminal.scan(code)["outcome"] for code in codes)
    assert outcomes == ["accepted"] + ["rejected"] * 5
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM printed_code WHERE revoked_at IS NULL")) == 1


@pytest.mark.parametrize(
    "there_and_back",
    [
        ({"name": "王大明"}, {"name": "王小明"}),
        ({"id_number": citizen_number(3)}, {"id_number": citizen_number(1)}),
    ],
    ids=["name", "number"],
)
def test_a_new_identity_closes_what_was_printed_for_ever(
    service: Service, printable: str, there_and_back: tuple[dict[str, str], dict[str, str]]
) -> None:
    code, headers = code_on(printed(service, printable, "card")), service.app.headers | {"If-Match": "*"}
    national = f"{answered(service.app.get(f'/v1/cards/{printable}'))['ehc_id']}:1"
    assert service.terminal.scan(national)["outcome"] == "accepted"
    for wanted in there_and_back:
        body = wanted | {"verification": {"method": "document-seen"}}
        assert service.app.http.patch(f"/v1/cards/{printable}", json=body, headers=headers).status_code == 200
        for old in (code, national):
            assert service.terminal.scan(old)["reason"] == "card-cancelled"


@pytest.mark.parametrize(("how", "reason"), [("report-loss", "card-suspended"), ("cancel", "card-cancelled")])
def test_a_stopped_card_stops_its_print(service: Service, printable: str, how: str, reason: str) -> None:
    code = code_on(printed(service, printable, "card"))
    service.app.post(f"/v1/cards/{printable}/{how}", {"reason": "r"})
    assert service.terminal.scan(code)["reason"] == reason
    assert printed(service, printable).status_code in {404, 409}


def test_switching_static_codes_off_stops_the_print(service: Service, printable: str) -> None:
    code, headers = code_on(printed(service, printable, "card")), service.app.headers | {"If-Match": "*"}
    for switch in (False, True):
        service.app.http.patch(f"/v1/cards/{printable}", json={"static_codes": switch}, headers=headers)
        assert service.terminal.scan(code)["reason"] == "static-not-allowed"


def test_a_hospital_that_takes_no_static_codes_refuses_it(service: Service, printable: str) -> None:
    code = code_on(printed(service, printable, "card"))
    assert service.second_terminal.scan(code)["reason"] == "static-not-allowed"
    assert service.terminal.scan(code, step="payment")["reason"] == "static-not-allowed"


def test_a_sheet_that_cannot_be_drawn_leaves_the_old_print(
    service: Service, printable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = code_on(printed(service, printable, "card"))

    def broken(*_: Any) -> bytes:
        raise Unavailable(Text("x", "x"), retry_after=5)

    monkeypatch.setattr(code_api, "draw_pdf", broken)
    assert problem(printed(service, printable)) == (503, "unavailable")
    assert service.terminal.scan(code)["outcome"] == "accepted"


def test_a_sheet_that_nothing_could_draw_is_no_fault_of_the_caller(
    service: Service, printable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = code_on(printed(service, printable, "card"))
    monkeypatch.setattr(prints, "sheet", partial(unknown_document, prints.sheet))
    assert problem(printed(service, printable)) == (500, "sheet-not-drawable")
    assert service.terminal.scan(code)["outcome"] == "accepted"


def unknown_document(sheet: Callable[..., Printed], *said: Any, **more: Any) -> Printed:
    return replace(sheet(*said, **more), id_type="00")


def test_head_prints_nothing_and_stops_nothing(service: Service, printable: str) -> None:
    code, before = code_on(printed(service, printable, "card")), row_counts(service)
    answer = service.app.http.head(f"/v1/cards/{printable}/print", headers=service.app.headers)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, OPTIONS")
    assert row_counts(service) == before
    assert service.terminal.scan(code)["outcome"] == "accepted"


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Event, Event]]:
    """While sheets are drawn: the first event says that one began, and each ends when the second is set."""
    begun, may_end = Event(), Event()

    def slow(*said: Any) -> bytes:
        begun.set()
        assert may_end.wait(20)
        return draw_pdf(*said)

    monkeypatch.setattr(code_api, "draw_pdf", slow)
    yield begun, may_end
    may_end.set()


def meanwhile(service: Service, card_id: str, drawing: tuple[Event, Event], act: Callable[[], Any]) -> TestResponse:
    """The answer to a print while whose drawing something else was done."""
    begun, may_end = drawing
    own = elsewhere(service.app, service.flask)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(own.get, f"/v1/cards/{card_id}/print?layout=sticker")
        assert begun.wait(20)
        act()
        may_end.set()
        return waiting.result(30)


def test_a_loss_is_reported_while_a_sheet_is_drawn(
    service: Service, printable: str, drawing: tuple[Event, Event]
) -> None:
    def lose() -> None:
        began = monotonic()
        assert service.app.post(f"/v1/cards/{printable}/report-loss", {"reason": "r"}).status_code == 200
        assert monotonic() - began < 4  # a statement that waits for a lock gives up after 5

    assert problem(meanwhile(service, printable, drawing, lose)) == (409, "card-not-active")
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM printed_code")) == 0


def test_a_switch_that_is_turned_off_while_a_sheet_is_drawn_holds(
    service: Service, printable: str, drawing: tuple[Event, Event]
) -> None:
    def switch_off() -> None:
        headers = service.app.headers | {"If-Match": "*"}
        service.app.http.patch(f"/v1/cards/{printable}", json={"static_codes": False}, headers=headers)

    assert problem(meanwhile(service, printable, drawing, switch_off)) == (409, "static-not-allowed")


def test_a_name_that_changes_while_a_sheet_is_drawn_is_on_the_sheet_that_comes(
    service: Service, printable: str, drawing: tuple[Event, Event]
) -> None:
    def rename() -> None:
        headers = service.app.headers | {"If-Match": "*"}
        body = {"name": "王大明", "verification": {"method": "document-seen"}, "static_codes": True}
        assert service.app.http.patch(f"/v1/cards/{printable}", json=body, headers=headers).status_code == 200

    answer = meanwhile(service, printable, drawing, rename)
    assert "王大明" in pypdfium2.PdfDocument(BytesIO(answer.data))[0].get_textpage().get_text_bounded()
    assert service.terminal.scan(code_on(answer))["outcome"] == "accepted"


def test_a_key_that_is_revoked_while_a_sheet_is_drawn_signs_none(
    service: Service, printable: str, drawing: tuple[Event, Event]
) -> None:
    answer = meanwhile(service, printable, drawing, lambda: revoke_print_key(service))
    assert service.terminal.scan(code_on(answer))["outcome"] == "accepted"


@pytest.mark.parametrize("how", ["print", "code"])
def test_no_print_is_signed_with_a_key_that_was_just_revoked(service: Service, printable: str, how: str) -> None:
    code_on(printed(service, printable, "card"))  # the worker knows its key now
    revoke_print_key(service)
    if how == "print":
        code = code_on(printed(service, printable, "card"))
    else:
        code = answered(service.app.post(f"/v1/cards/{printable}/codes", {"kind": "static"}))["code"]
    assert service.terminal.scan(code)["outcome"] == "accepted"
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM printed_code WHERE revoked_at IS NULL")) == 1


def revoke_print_key(service: Service) -> None:
    with service.session() as session:
        kek, now = service.settings.key_encrypting_key(), service.clock.now()
        signing_keys.revoke(session, kek, signer_of(service, Purpose.PRINT).key_id, now=now)


def test_another_layout_is_refused(service: Service, printable: str) -> None:
    assert wrong(printed(service, printable, "poster")) == [("/layout", "choice")]
    assert problem(service.other_app.get(f"/v1/cards/{printable}/print")) == (404, "card-not-found")
