"""What callers send about people is nowhere but in the sealed row: not in an error, the log, the metrics, an address."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from tests.contract.conftest import ServiceMaker
from tests.contract.helpers import send
from tests.support.service import Api, Service, citizen_number, person

NAME, PHONE, ADDRESS, PROOF = "欧阳独特", "13987654321", "独特路987号", "卷宗独特765"
NUMBER = citizen_number(42, born="19770831")
MARKERS = (NAME, PHONE, ADDRESS, PROOF, NUMBER, NUMBER.lower(), "独特", "1987654321"[1:])


@pytest.fixture
def watched(written: Callable[[], str], start: ServiceMaker) -> tuple[Service, Callable[[], str]]:
    """A service that logs all it ever logs."""
    return start(log_level="DEBUG"), written


def marked(**changes: Any) -> dict[str, Any]:
    """A registration whose every value could be recognised."""
    proof = {"method": "clerk", "reference": PROOF}
    known = {"name": NAME, "id_number": NUMBER, "phone": PHONE, "address": ADDRESS, "verification": proof}
    return person(1, **(known | changes))


REFUSED: list[dict[str, Any]] = [
    marked(name=f"{NAME}\x00"),
    marked(name=f"{NAME}<"),
    marked(name=[NAME]),
    marked(name=NAME * 40),
    marked(id_type=NAME[:3]),
    marked(id_type="77"),
    marked(id_number=f"{NUMBER}1"),
    marked(id_number=f"{NUMBER[:17]}A"),
    marked(id_number={NUMBER: NUMBER}),
    marked(phone=f"{PHONE}9"),
    marked(phone=[PHONE]),
    marked(sex=PHONE),
    marked(birth_date=NUMBER),
    marked(nation=NAME),
    marked(address=ADDRESS * 50),
    marked(address=f"{ADDRESS}\n"),
    marked(verification=PROOF),
    marked(verification={"method": PROOF}),
    marked(verification={"method": "clerk", "reference": PROOF, NAME: PROOF}),
    marked(**{NAME: NAME}),
    marked(**{PHONE: PHONE}),
]


def require_no_marker(service: Service, written: Callable[[], str], *answers: Any) -> None:
    log = written()
    assert '"event"' in log
    told = [log, service.client().get("/metrics").text]
    told += [answer.text + str(answer.headers) for answer in answers]
    assert [(marker, text) for text in told for marker in MARKERS if marker in text] == []


def test_a_refused_registration_repeats_nothing(watched: tuple[Service, Callable[[], str]]) -> None:
    service, written = watched
    answers = [service.app.post("/v1/cards", body, Accept_Language="en") for body in REFUSED]
    assert {answer.status_code for answer in answers} == {422}
    require_no_marker(service, written, *answers)


def test_a_malformed_registration_repeats_nothing(watched: tuple[Service, Callable[[], str]]) -> None:
    service, written = watched
    bodies = [f'{{"name":"{NAME}"', f'"{NAME}"', f"{NAME}={NUMBER}"]
    answers = [send(service.app, "/v1/cards", body.encode()) for body in bodies]
    assert {answer.status_code for answer in answers} == {400}
    require_no_marker(service, written, *answers)


def test_the_life_of_a_card_leaves_its_holder_out_of_logs_and_answers(
    watched: tuple[Service, Callable[[], str]],
) -> None:
    service, written = watched
    card = service.app.register(**marked())
    assert service.app.post("/v1/cards", marked(name="王大明")).status_code == 409
    code = service.app.code(card["card_id"])
    scan = service.terminal.post(
        "/v1/verifications", {"code": code, "step": "payment", "operator": NAME, "department": "0100"}
    )
    seen = service.app.get(f"/v1/cards/{card['card_id']}/verifications")
    stop = service.app.post(f"/v1/cards/{card['card_id']}/cancel", {"reason": f"{ADDRESS} {NAME}"})
    assert [scan.status_code, stop.status_code, seen.status_code] == [200, 200, 200]
    assert code not in written_and_kept(written, service, scan, stop, seen)


def written_and_kept(written: Callable[[], str], service: Service, *answers: Any) -> str:
    """All that was told anywhere, after a look for markers."""
    log = written()
    told = "\n".join([log, service.client().get("/metrics").text, *(a.text + str(a.headers) for a in answers)])
    assert [marker for marker in MARKERS if marker in told] == []
    return told


def test_a_database_failure_repeats_nothing(
    watched: tuple[Service, Callable[[], str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that the database refuses is quoted in its error: neither the log nor the answer may hold it."""
    service, written = watched

    def clash(*_: Any, **__: Any) -> None:
        with service.session() as session:
            session.execute(text("SELECT CAST(:name AS integer)"), {"name": NAME})

    monkeypatch.setattr("ehc.issuer.accounts.register", clash)
    answer = service.app.post("/v1/cards", marked())
    assert answer.status_code == 500
    require_no_marker(service, written, answer)


@pytest.mark.parametrize("path", ["/oauth/token", "/v1/verifications", "/nowhere/{}", "/v1/cards/{}"])
def test_no_address_repeats_what_it_was_asked(watched: tuple[Service, Callable[[], str]], path: str) -> None:
    service, written = watched
    api: Api = service.terminal if "verifications" in path else service.app
    answer = api.post(path.format(NAME), {"client_id": NAME, "code": PHONE, "step": NAME, "operator": ADDRESS})
    assert answer.status_code >= 400
    require_no_marker(service, written, answer)
