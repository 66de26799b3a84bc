"""One person and one card across `/v1`, the open platform's JSON and the provincial SOAP, over HTTP on one running server."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from ehc.access import apps, clients
from ehc.access.app_states import SUSPEND
from ehc.access.apps import By
from ehc.callers import Scope
from ehc.clock import SystemClock
from ehc.commands.context import Deployment
from ehc.dev.region import HOSPITALS
from ehc.gateways import provisioning, reading
from ehc.gateways.kinds import GatewayKind, PlaceKind
from ehc.keystore import secret_keys
from tests.e2e.gateway_site import GatewaySite, Hospital, MiniProgram, gateway_site
from tests.e2e.peers import Peer
from tests.e2e.sites import HOST, allowed, eventually
from tests.support.open_platform import applicant
from tests.support.provincial import CLERK, adult
from tests.support.service import citizen_number, person

pytestmark = pytest.mark.xdist_group("heavy")


@dataclass
class Three:
    """A mini-program, a hospital's system, and an app and a terminal on `/v1`, at one server. Each person is asked for once."""

    site: GatewaySite
    mini: MiniProgram
    his: Hospital
    app: Peer
    terminal: Peer
    people: Iterator[int] = field(default_factory=lambda: count(1))

    def register(self, serial: int) -> dict[str, Any]:
        """Register somebody by JSON."""
        return self.mini.good("registerHealthCard", applicant(serial, wechatCode=self.site.wechat_code()))

    def dynamic(self, card: dict[str, Any], serial: int) -> str:
        """A dynamic code, asked for by JSON."""
        return str(self.mini.good("getDynamicQRCode", asking(card, serial))["qrCodeText"])

    def on_rest(self, serial: int) -> dict[str, Any]:
        """The card as `/v1` knows it."""
        reply = self.app.post("/v1/cards", person(serial))
        assert reply.status in {200, 201}, reply.raw
        return reply.body

    def scanned(self, code: str) -> str:
        """What the hospital's system is answered when it shows a code."""
        return self.his.call("E0003", SCAN | {"qr_code": code}).code

    def verified(self, code: str) -> int:
        """What the mini-program is."""
        return self.mini.call("verifyQRCode", VERIFY | {"qrCodeText": code})

    def checked(self, code: str) -> str | None:
        """The reason that the terminal is told; None where the code is accepted."""
        body = self.terminal.scan(code).body
        return str(body["reason"]) if body["outcome"] == "rejected" else None


def asking(card: dict[str, Any], serial: int) -> dict[str, Any]:
    number = citizen_number(serial)
    return {"healthCardId": card["healthCardId"], "idType": "01", "idNumber": number, "codeType": 0}


SCAN = {"time": "2026-11-21 09:20:11", "medstep_code": "010101", "channel_code": "01", "hospital_code": "630102001"}


VERIFY = {"medicalStep": "010101", "channelCode": "0100", "useType": "01"}


@pytest.fixture(scope="module")
def three(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    folder: Path = tmp_path_factory.mktemp("interfaces")
    with gateway_site(shared_database_url, folder) as site:
        yield Three(site, site.mini_program.log_in(), site.hospital, site.peer("app"), site.peer("terminal"))


@pytest.fixture
def serial(three: Three) -> int:
    """Somebody whom no other test knows."""
    return next(three.people)


def test_a_person_registered_by_json_is_the_same_card_everywhere(three: Three, serial: int) -> None:
    card = three.register(serial)
    assert len(card["healthCardId"]) == 64
    code = three.dynamic(card, serial)
    answer = three.his.call("E0003", SCAN | {"qr_code": code})
    assert answer.code == "3005", answer.text
    told = answer.node("ehc_cardinfo")
    assert (told["ecardId"], told["main_index"]) == (card["healthCardId"], card["phid"])
    assert (told["name"], told["id_card"], told["telephone"]) == ("王小明", citizen_number(serial), "13800138000")
    known = three.app.post("/v1/cards", person(serial))
    assert known.status == 200
    assert (known.body["ehc_id"], known.body["index_id"]) == (card["healthCardId"], card["phid"])
    (check,) = three.app.get(f"/v1/cards/{known.body['card_id']}/verifications").body["items"]
    assert (check["outcome"], check["step"], check["institution"]) == (
        "accepted",
        "registration",
        HOSPITALS["HG"][1],
    )


def test_a_person_registered_by_soap_is_the_same_card_everywhere(three: Three, serial: int) -> None:
    card = three.his.call("E0006", adult(serial) | CLERK).node("personinfo")
    known = three.app.post("/v1/cards", person(serial))
    assert (known.status, known.body["ehc_id"]) == (200, card["ecardId"])
    assert three.register(serial)["healthCardId"] == card["ecardId"]


def test_a_person_registered_by_rest_is_the_same_card_everywhere(three: Three, serial: int) -> None:
    card = three.app.post("/v1/cards", person(serial)).body
    assert three.register(serial)["healthCardId"] == card["ehc_id"]
    assert three.his.call("E0006", adult(serial) | CLERK).code in {"6008", "6009"}
    told = three.his.call(
        "E0005", {"id_type": "01", "id_number": citizen_number(serial), "id_card": citizen_number(serial)}
    )
    assert card["ehc_id"] in told.text


def test_a_card_suspended_by_rest_is_refused_by_all_in_their_own_words(three: Three, serial: int) -> None:
    card = three.register(serial)
    code, card_id = three.dynamic(card, serial), three.on_rest(serial)["card_id"]
    assert three.app.post(f"/v1/cards/{card_id}/suspend", {"reason": "遗失"}).status == 200
    assert three.checked(code) == "card-suspended"
    assert three.verified(code) == 40002
    assert three.scanned(code) == "2001"  # the interface has no word for a pause: it does not count
    assert three.mini.call("getDynamicQRCode", asking(card, serial)) == 40002
    assert not three.his.call("E0002", {"id_card": citizen_number(serial), "qrcode_type": "0"}).good
    assert three.app.post(f"/v1/cards/{card_id}/resume", {"reason": "找到"}).status == 200
    assert three.scanned(three.dynamic(card, serial)) == "3005"


def test_a_card_cancelled_by_soap_is_refused_by_all_in_their_own_words(three: Three, serial: int) -> None:
    card = three.register(serial)
    code = three.dynamic(card, serial)
    assert (
        three.his.call("E0006", adult(serial) | CLERK).code == "6009"
    )  # from now on it is a card of the hospital's too
    number = citizen_number(serial)
    answer = three.his.call("E0004", {"id_card": number, "id_type": "01", "id_number": number, "qr_code": code})
    assert answer.code == "4004", answer.text
    assert three.checked(code) == "card-cancelled"
    assert three.verified(code) == 40004
    assert three.scanned(code) == "2001"


def test_a_code_spliced_from_two_cards_is_refused_by_all(three: Three) -> None:
    first, second = next(three.people), next(three.people)
    codes = [three.dynamic(three.register(serial), serial) for serial in (first, second)]
    parts = [code.split(":") for code in codes]
    spliced = ":".join([parts[0][0], *parts[1][1:]])
    assert three.checked(spliced) == "not-issued"
    assert three.verified(spliced) == 40002
    assert three.scanned(spliced) == "3001"
    assert [three.scanned(code) for code in codes] == ["3005", "3005"]


def test_uses_of_one_code_count_together_over_all_interfaces(three: Three, serial: int) -> None:
    """A national code is good three times (`EHC_NATIONAL_USES`), wherever it is shown."""
    code = three.dynamic(three.register(serial), serial)
    assert three.verified(code) == 0
    assert three.scanned(code) == "3005"
    assert three.checked(code) is None
    assert three.verified(code) == 40003
    assert three.scanned(code) == "3004"


def test_every_check_stands_in_one_journal_with_who_and_where(three: Three, serial: int) -> None:
    card = three.register(serial)
    code = three.dynamic(card, serial)
    assert (three.scanned(code), three.checked(code), three.verified(code)) == ("3005", None, 0)
    items = three.app.get(f"/v1/cards/{three.on_rest(serial)['card_id']}/verifications").body["items"]
    assert [item["outcome"] for item in items] == 3 * ["accepted"]
    assert {item["institution"] for item in items} == {HOSPITALS[which][1] for which in ("HA", "HG")}


@dataclass
class Shared:
    """One app that speaks all three, and may call so often in a minute."""

    app_id: UUID
    rest: Peer
    mini: MiniProgram
    his: Hospital


@pytest.fixture
def shared(three: Three, request: pytest.FixtureRequest) -> Shared:
    """`request.param` is the limit in a minute."""
    site, now, by = three.site, SystemClock().now(), By("operator:test")
    with site.session() as session:
        made = clients.add_app(session, name="三接口应用", scopes=frozenset(Scope), now=now)
        app_id = clients.named(session, made.client_id).id
        apps.change(session, app_id, {"per_minute": request.param}, version=None, by=by, now=now)
        home = clients.institution(session, site.demo["institution"]["code"]).id
        sealer = secret_keys.load(session, Deployment().kek).sealer
        told = []
        for kind, place, code in (
            (GatewayKind.OPEN_PLATFORM, PlaceKind.HOSPITAL, "30009"),
            (GatewayKind.PROVINCIAL, PlaceKind.ORG, "630109"),
        ):
            row = provisioning.add(session, kind, app_id, by=by, now=now)
            secret = provisioning.add_secret(session, row.id, sealer=sealer, by=by, now=now).secret
            provisioning.add_place(session, row.id, place, code, home, by=by, now=now)
            told.append((row.name, secret, code))
    port = site.server.port
    rest = Peer(HOST, port, made, site.wires).log_in()
    return Shared(app_id, rest, MiniProgram(port, *told[0]).log_in(), Hospital(port, *told[1]))


UNKNOWN_CARD = f"/v1/cards/{UUID(int=7 << 76 | 2 << 62)}"


def too_often(shared: Shared) -> list[bool]:
    """Whether `/v1`, the mini-program and the hospital's system are told that they call too often; one call of each."""
    rest = shared.rest.get(UNKNOWN_CARD).status == 429
    mini = shared.mini.call("getHealthCardByHealthCardId", {"healthCardId": "A" * 64}) == 50000
    answer = shared.his.call("E0005", {"id_card": citizen_number(999)})
    assert (answer.code == "1011") == ("频繁" in answer.desc)
    return [rest, mini, answer.code == "1011"]


@pytest.mark.parametrize("shared", [8], indirect=True)
def test_calls_of_one_app_count_together_over_all_interfaces(shared: Shared) -> None:
    """Eight in a minute for all together; a minute may turn meanwhile, and the next begin anew."""
    let_in = 0
    while not all(refused := too_often(shared)):
        let_in += refused.count(False)
        assert let_in <= 2 * 8


@pytest.mark.parametrize("shared", [1000], indirect=True)
def test_a_suspended_app_is_refused_by_all_within_ten_seconds(three: Three, shared: Shared) -> None:
    card = {"healthCardId": "A" * 64}
    assert shared.mini.call("getHealthCardByHealthCardId", card) == 40001
    assert shared.his.call("E0005", {"id_card": citizen_number(999)}).code == "2008"
    with three.site.session() as session:
        apps.move(session, shared.app_id, SUSPEND, by=By("operator:test"), now=SystemClock().now(), reason="测试")
    began = time.monotonic()
    for refused in (
        lambda: shared.mini.call("getHealthCardByHealthCardId", card) == 20004,
        lambda: shared.his.call("E0005", {"id_card": citizen_number(999)}).code == "1005",
        lambda: shared.rest.get(UNKNOWN_CARD).status == 401,
    ):
        assert eventually(refused, seconds=10 - (time.monotonic() - began), every=0.5)


def test_operators_see_how_each_calls_and_what_came_of_it(three: Three) -> None:
    def counted() -> bool:
        with three.site.session() as session:
            rows = session.execute(text("SELECT DISTINCT method, dialect, ok FROM gateway_use")).all()
        return {
            ("registerHealthCard", "standard", True),
            ("verifyQRCode", "standard", False),
            ("RHC_E0003", "soap11 escaped", True),
        } <= {tuple(row) for row in rows}

    assert eventually(counted, seconds=allowed(10))


def test_a_wrong_secret_stands_in_the_log_of_the_account_and_never_itself(three: Three) -> None:
    site, secret = three.site, "0123456789abcdef" * 2
    assert replace(three.his, password=secret).call("E0005", {"id_card": citizen_number(1)}).code == "1005"
    assert replace(three.mini, secret=secret).call("verifyQRCode", VERIFY | {"qrCodeText": "x"}) == 20001

    def logged() -> bool:
        found = []
        for name, result in ((three.his.user, "1005"), (three.mini.app_id, "20001")):
            with site.session() as session:
                rows = reading.failures(session, provisioning.named(session, name).id, limit=200)
                found.append(any(row.result == result for row in rows))
                assert secret not in str([row.trace for row in rows])
        return all(found)

    assert eventually(logged, seconds=allowed(10))


def test_nobody_s_name_or_number_is_in_the_log_of_the_server(three: Three) -> None:
    written = three.site.server.log.read_text(encoding="utf-8")
    for word in ("王小明", "13800138000", citizen_number(1), citizen_number(2), "测试路"):
        assert word not in written
