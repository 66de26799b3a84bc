"""The provincial interface where the checklist is silent: elements, disclosure, refusals, evidence, number of statements."""

from base64 import b64decode
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, select, text, update

from ehc.access.app_models import AppRow
from ehc.access.models import InstitutionRow
from ehc.app import create_app, database
from ehc.callers import Scope
from ehc.cards.states import Level
from ehc.commands import main
from ehc.gateways.calls import Calls
from ehc.gateways.provincial_soap import store
from ehc.issuer import photos, retention
from ehc.issuer.models import PhotoRow
from tests.contract.conftest import ServiceMaker, WorkerMaker
from tests.contract.helpers import metric, secrets_of
from tests.support.gateways import allow
from tests.support.national import dynamic, validity
from tests.support.provincial import (
    CLERK,
    PATH,
    PHOTOS,
    PIXEL,
    Soap,
    adult,
    hospital,
    mini_program,
    newborn,
    packed,
    picture,
)
from tests.support.service import Service, citizen_number
from tests.support.service import told as answered
from tests.support.two_people import new_table, rule

EVERYTHING = {
    "name": "clear",
    "sex": "clear",
    "age": "clear",
    "birth_date": "clear",
    "id_number": "clear",
    "phone": "clear",
    "address": "clear",
    "nation": "clear",
}

WHO = {"id_card": citizen_number(1)}


@pytest.fixture
def his(service: Service) -> Soap:
    with service.session() as session:
        session.execute(update(InstitutionRow).values(static_allowed=True))
    return hospital(service)


def test_elements_come_in_the_order_of_the_tables(his: Soap) -> None:
    his.register()
    static = his.apply()
    order = "qr_codetext name main_index ecardId telephone id_number id_type id_card nation sex birthday address cellphone unit"
    assert " ".join(his.call("E0003", {"qr_code": static}).node("ehc_cardinfo")) == order
    fetched = (
        "qr_code_imgtext ehc_card_status qr_code qr_code_dtimgtext dt_qr_code ecardId main_index id_type id_number name"
    )
    fetched += " sex birthday telephone cellphone nation unit address"
    assert " ".join(his.call("E0005", WHO).node("ehc_cardinfo")) == fetched
    applied = his.call("E0002", WHO | {"qrcode_type": "1"}).node("ehc_cardinfo")
    assert " ".join(applied) == "qr_code qr_code_imgtext qr_code_imgurl"


def test_what_a_check_tells_is_for_the_table_of_disclosure_to_say(
    service: Service, his: Soap, worker: WorkerMaker
) -> None:
    made = his.register()
    shown = his.call("E0003", {"qr_code": his.apply(kind="0"), "medstep_code": "010101"}).node("ehc_cardinfo")
    assert (shown["name"], shown["sex"], shown["id_number"], shown["telephone"]) == ("王**", "1", "", "")
    assert (shown["ecardId"], shown["main_index"]) == (made["ecardId"], made["main_index"])
    _disclose_all(service, his, worker)
    shown = his.call("E0003", {"qr_code": _fresh(service, his), "medstep_code": "010101"}).node("ehc_cardinfo")
    wanted = adult() | {"ehc_card_status": "1"}
    assert {name: shown[name] for name in wanted if name in shown} == {
        name: value for name, value in wanted.items() if name in shown
    }
    assert shown["cellphone"] == "13800138000"


def test_a_static_code_alone_tells_a_masked_name_and_what_is_in_it(
    service: Service, his: Soap, worker: WorkerMaker
) -> None:
    _disclose_all(service, his, worker)
    made = his.register()
    shown = his.call("E0003", {"qr_code": his.apply()}).node("ehc_cardinfo")
    assert {name: value for name, value in shown.items() if value} == {
        "qr_codetext": f"{made['ecardId']}:1",
        "name": "王**",
        "ecardId": made["ecardId"],
    }


def test_a_check_is_in_the_journal_with_step_channel_and_department(service: Service, his: Soap) -> None:
    card = service.app.register(1)
    where = {"sam": "6301020010300", "channel_code": "01", "medstep_code": "010105", "hospital_code": "630102001"}
    assert his.call("E0003", {"qr_code": service.app.code(card["card_id"])} | where).code == "3005"
    (entry,) = answered(service.app.get(f"/v1/cards/{card['card_id']}/verifications"))["items"]
    assert (entry["step"], entry["channel"], entry["department"]) == ("payment", "window", "0300")
    assert entry["institution"] is not None


def test_one_card_for_every_interface(service: Service, his: Soap) -> None:
    card = service.app.register(1, name="王小明")
    code = service.app.code(card["card_id"])
    checked = his.call("E0003", {"qr_code": code}).node("ehc_cardinfo")
    assert (checked["ecardId"], checked["main_index"]) == (card["ehc_id"], card["index_id"])
    assert checked["qr_codetext"].startswith(f"{card['ehc_id']}:0:20")
    assert his.call("E0003", {"qr_code": code}).code == "3005"  # scanners read twice
    service.clock.advance(11)
    assert his.call("E0003", {"qr_code": code}).code == "3004"  # used up
    made = his.call("E0006", adult() | CLERK)
    assert (made.code, made.node("personinfo")["ecardId"]) == ("6009", card["ehc_id"])


@pytest.mark.parametrize("path", ["suspend", "report-loss"])
def test_a_card_that_v1_stopped_is_refused_with_2001_and_5001(service: Service, his: Soap, path: str) -> None:
    his.register()
    dynamic_code = his.apply(kind="0")
    card = service.app.register(1)
    assert service.app.post(f"/v1/cards/{card['card_id']}/{path}", {"reason": "手机丢失"}).status_code == 200
    for answer in (his.call("E0003", {"qr_code": dynamic_code}), his.call("E0002", WHO | {"qrcode_type": "0"})):
        assert (answer.code, answer.desc[:6]) == ("2001", "该卡已注销：")
    fetched = his.call("E0005", WHO)
    assert (fetched.code, fetched.node("ehc_cardinfo")["ehc_card_status"]) == ("5001", "0")
    acts = answered(service.app.get(f"/v1/cards/{card['card_id']}/access-log"))["items"]
    assert "card.read" in [act["kind"] for act in acts]  # refused or not, somebody looked


def test_a_spliced_code_is_refused(service: Service, his: Soap) -> None:
    mine, theirs = service.app.register(1), service.app.register(2)
    his.register(1)
    good = his.apply(kind="0")
    spliced = theirs["ehc_id"] + good[64:]
    assert his.call("E0003", {"qr_code": spliced}).code == "3001"
    assert his.call("E0003", {"qr_code": dynamic(mine, validity(service))}).code == "3001"  # never issued
    assert his.call("E0004", {"id_card": citizen_number(2), "qr_code": spliced}).code in {"4001", "4003"}


def test_a_person_whom_the_account_never_registered_is_not_there_for_it(service: Service, his: Soap) -> None:
    service.other_app.register(1)
    assert his.call("E0002", WHO | {"qrcode_type": "1"}).code == "2008"
    unknown = his.call("E0005", WHO)
    assert unknown.code == "2008"
    assert {name: value for name, value in unknown.node("ehc_cardinfo").items() if value} == {"ehc_card_status": "5"}
    assert his.call("E0004", WHO | {"qr_code": "x"}).code == "4003"
    assert his.call("E0011", _change("A" * 64)).code == "11001"
    known = his.call("E0006", adult(telephone="13900139000", address="别处", birthday="19900307") | CLERK)
    told = known.node("personinfo")
    assert (known.code, told["name"], told["telephone"], told["address"]) == ("6009", "王小明", "138****8000", "别处")
    assert his.call("E0002", WHO | {"qrcode_type": "1"}).code == "2009"


def test_another_name_for_a_known_document_is_6010_and_tells_nothing(service: Service, his: Soap) -> None:
    service.other_app.register(1)
    answer = his.call("E0006", adult(name="李四") | CLERK)
    assert (answer.code, [child.tag for child in answer.root]) == ("6010", ["result", "desc", "resultCode"])
    assert "王" not in answer.text


_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"id_card": "11010519491231002x", "id_number": "11010519491231002x"}, "6002"),
    ({"birthday": "1990年"}, "6003"),
    ({"birthday": "1990-03-07"}, "6008"),
    ({"id_number": citizen_number(2)}, "6010"),
    ({"id_number": None}, "6008"),
    ({"id_card": None}, "6008"),
    ({"id_card": None, "id_number": None}, "1001"),
    ({"id_card": "110105199003070000", "id_number": None}, "6010"),
    ({"id_type": "15"}, "6008"),
    ({"id_type": "77", "id_card": None}, "6010"),
    ({"sex": "3"}, "6010"),
    ({"nation": "77"}, "6010"),
    ({"telephone": "0971-6123456"}, "6008"),
    ({"telephone": "1"}, "6010"),
    ({"address": "<b>"}, "1002"),
    ({"address": "路" * 1001}, "1012"),
    ({"unknown": "x"}, "6008"),
]
"""Changes to a registration, and what it is answered."""


def test_each_field_of_a_registration(his: Soap) -> None:
    for serial, (changes, code) in enumerate(_FIELDS, start=10):
        answer = his.call("E0006", adult(serial, **changes) | CLERK)
        assert answer.code == code, (changes, answer.text)


def test_photographs_are_checked_and_rest_sealed_until_their_time_is_over(service: Service, his: Soap) -> None:
    assert his.call("E0001", adult() | PHOTOS | {"photo_face": ""}).code == "6004"
    assert his.call("E0001", adult() | PHOTOS | {"photo_face": packed(b"x" * 400_001)}).code == "6005"
    assert his.call("E0001", adult() | PHOTOS | {"photo_face": "eA=="}).code == "6006"
    face = picture(50, "JPEG")
    assert his.call("E0001", adult() | PHOTOS | {"photo_face": packed(face)}).code == "6008"
    secrets = secrets_of(service)
    with service.session() as session:
        rows = session.scalars(select(PhotoRow)).all()
        assert {(row.kind, row.media_type) for row in rows} == {
            ("front", "image/png"),
            ("reverse", "image/png"),
            ("face", "image/jpeg"),
        }
        assert all(b"PNG" not in row.picture and b"JFIF" not in row.picture for row in rows)
        (row,) = (row for row in rows if row.kind == "face")
        assert secrets.sealer.unseal_bytes(row.picture, photos.place(row.id)) == face
        assert photos.purge(session, now=service.clock.now()) == 0
    service.clock.advance(180 * 86400)
    with service.session() as session:
        assert photos.purge(session, now=service.clock.now()) == 3


def test_photographs_go_with_the_account_and_are_not_kept_of_who_is_known(service: Service, his: Soap) -> None:
    his.call("E0001", adult() | PHOTOS)
    assert his.call("E0001", adult() | PHOTOS).code == "6009"
    with service.session() as session:
        assert len(session.scalars(select(PhotoRow)).all()) == 3
    card = service.app.register(1)
    assert service.app.post(f"/v1/cards/{card['card_id']}/close", {"reason": "不再使用"}).status_code == 200
    with service.session() as session:
        assert session.scalars(select(PhotoRow)).all() == []


def test_staff_look_at_a_photograph_and_leave_a_trace(service: Service, his: Soap, tmp_path: Path) -> None:
    his.call("E0001", adult() | PHOTOS)
    card, file = service.app.register(1)["card_id"], tmp_path / "face.png"
    env = {"EHC_DATABASE_URL": service.settings.database_url}
    look = ["cards", "photo", card, "face", str(file), "--by", "0041"]
    assert CliRunner().invoke(main, look, env=env).output == "image/png\n"
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b64decode(PIXEL), 0o600)
    with service.session() as session:
        acts = set(session.scalars(text("SELECT action FROM audit WHERE subject = :card"), {"card": card}))
    assert {"card.photos-kept", "card.photo-read"} <= acts
    exported = answered(service.app.post(f"/v1/cards/{card}/export", {}))
    assert {photo["kind"] for photo in exported["photos"]} == {"front", "reverse", "face"}


def test_a_dynamic_code_is_applied_for_once_until_it_is_over(service: Service, his: Soap) -> None:
    his.register()
    first = his.apply(kind="0")
    again = his.call("E0002", WHO | {"qrcode_type": "0"})
    assert (again.code, again.node("ehc_cardinfo")["qr_code"]) == ("2006", first)
    assert his.call("E0005", WHO).node("ehc_cardinfo")["dt_qr_code"] == first
    assert his.call("E0003", {"qr_code": first}).code == "3005"
    service.clock.advance(110)
    assert his.apply(kind="0") != first
    assert his.call("E0002", WHO | {"qrcode_type": "2"}).code == "2007"
    assert his.call("E0002", WHO).code == "1001"


def test_a_cancelled_person_may_register_again_under_the_same_id_with_new_codes(his: Soap) -> None:
    made = his.register()
    static = his.apply()
    assert his.call("E0004", WHO | {"qr_code": static}).code == "4004"
    again = his.call("E0006", adult() | CLERK)
    assert (again.code, again.node("personinfo")["ecardId"]) == ("6008", made["ecardId"])
    assert again.node("personinfo")["ehc_card_status"] == "4"
    assert his.call("E0005", WHO).code == "5004"
    assert his.call("E0003", {"qr_code": static}).code == "3003"  # static codes are to be applied for anew
    assert his.apply() == static


def test_where_review_is_switched_on_an_online_registration_waits(start: ServiceMaker) -> None:
    service = start(reviewed_levels=frozenset({Level.SELF_DECLARED}))
    his = hospital(service)
    made = his.call("E0001", adult() | PHOTOS)
    assert (made.code, made.node("personinfo")["ehc_card_status"]) == ("6008", "2")
    assert his.call("E0006", adult(2) | CLERK).node("personinfo")["ehc_card_status"] == "4"
    static = f"{made.node('personinfo')['ecardId']}:1"
    for status, found, codes in (("pending-review", "2", ("2002", "5002")), ("rejected", "3", ("2003", "5003"))):
        with service.session() as session:
            card = "id = (SELECT id FROM card ORDER BY serial LIMIT 1)"
            session.execute(text(f"UPDATE card SET status = :status WHERE {card}"), {"status": status})
        assert his.call("E0002", WHO | {"qrcode_type": "1"}).code == codes[0]
        fetched = his.call("E0005", WHO)
        told = fetched.node("ehc_cardinfo")
        assert (fetched.code, told["ehc_card_status"], told["qr_code"], told["name"]) == (codes[1], found, "", "王小明")
        assert his.call("E0003", {"qr_code": static}).code == codes[0]
        assert his.call("E0004", WHO | {"qr_code": static}).code == "4002"
    again = his.call("E0001", adult() | PHOTOS)  # a rejected application begins anew
    assert (again.code, again.node("personinfo")["ehc_card_status"]) == ("6008", "2")


def _change(ecard_id: str, **changes: str) -> dict[str, str]:
    return {"ecardId": ecard_id, "alterNo": "A1", "alterTime": "2026-01-01 08:00:00"} | changes


def test_whose_access_ended_with_the_card_is_told_its_state_alone(service: Service, his: Soap) -> None:
    his.register()
    assert his.call("E0004", WHO | {"qr_code": his.apply()}).code == "4004"
    answer = his.call("E0005", WHO)
    told = {name: value for name, value in answer.node("ehc_cardinfo").items() if value}
    assert (answer.code, told) == ("5001", {"ehc_card_status": "0", "id_type": "01", "id_number": citizen_number(1)})
    service.other_app.register(1)  # restores it, for another app
    assert his.call("E0005", WHO).code == his.call("E0002", WHO | {"qrcode_type": "1"}).code == "2008"
    assert his.call("E0004", WHO | {"qr_code": "x"}).code == "4003"


def test_while_the_database_is_away_every_call_is_1011(service: Service, his: Soap, server_engine: Engine) -> None:
    his.register()
    name = service.engine.url.database
    with server_engine.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :n"), {"n": name}
        )
        try:
            for code, fields in (("E0005", WHO), ("E0003", {"qr_code": f"{'A' * 64}:1"}), ("E0006", adult(2) | CLERK)):
                answer = his.call(code, fields)
                assert (answer.code, answer.good, "数据库暂不可用" in answer.desc) == ("1011", False, True)
        finally:
            connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    assert his.call("E0005", WHO).code == "5004"


def test_limits_networks_and_suspension_are_those_of_the_app(service: Service, his: Soap) -> None:
    with service.session() as session:
        session.execute(update(AppRow).values(per_minute=3))
    other = hospital(service, name="slow")
    answers = [other.call("E0005", WHO) for _ in range(4)]
    assert [answer.code for answer in answers] == [
        "2008",
        "2008",
        "1011",
        "1011",
    ]  # with the token that the app fetched
    assert "频繁" in answers[-1].desc
    with service.session() as session:
        session.execute(update(AppRow).values(networks=["10.0.0.0/8"], per_minute=None))
    assert hospital(service, name="far").call("E0005", WHO).code == "1005"
    with service.session() as session:
        session.execute(update(AppRow).values(networks=[], state="suspended"))
    assert hospital(service, name="stopped").call("E0005", WHO).code == "1005"


def test_scenes_are_kept_apart_where_that_is_switched_on(start: ServiceMaker) -> None:
    strict = start(provincial_scenes=True)
    with strict.session() as session:
        session.execute(update(InstitutionRow).values(static_allowed=True))
    his = hospital(strict)
    his.register()
    static, fresh = his.apply(kind="1"), his.apply(kind="0")
    for code, step, wanted in (
        (static, "010101", "3005"),
        (fresh, "010101", "3003"),
        (fresh, "010105", "3005"),
        (static, "010105", "3003"),
        (static, "", "3005"),
    ):
        assert his.call("E0003", {"qr_code": code, "medstep_code": step}).code == wanted


def test_changes_are_made_once_for_a_number(service: Service, his: Soap) -> None:
    ecard = his.register()["ecardId"]
    assert his.call("E0011", _change(ecard, telephone="13911112222", address="新址")).code == "11002"
    assert his.call("E0011", _change(ecard, telephone="13733334444")).code == "11002"
    told = his.call("E0006", adult(telephone="13911112222", address="新址") | CLERK).node("personinfo")
    assert (told["telephone"], told["address"]) == ("13911112222", "新址")
    assert his.call("E0011", _change(ecard, alterNo="A2", birthday="1990-13-01")).code == "6003"
    assert his.call("E0011", _change(ecard, alterNo="A2", birthday="1991-01-01")).code == "6003"
    assert his.call("E0011", _change(ecard, alterNo="A2", birthday="1990-03-07", sex="2")).code == "11002"
    assert his.call("E0011", _change(ecard, alterNo="A3", sex="5")).code == "6010"
    assert his.call("E0011", _change(ecard, alterNo="A3", telephone="1")).code == "6010"
    assert his.call("E0011", _change(ecard, alterNo="A3", alterTime="heute")).code == "12001"
    assert his.call("E0011", _change(ecard.lower(), alterNo="A3", address="x")).code == "11002"


def test_another_birth_date_of_a_newborn_is_for_staff_to_decide(service: Service, his: Soap) -> None:
    made = his.call("E0016", newborn("T630000001", "99", "20260101")).node("personinfo")
    answer = his.call("E0011", _change(made["ecardId"], birthday="2026-01-02"))
    assert (answer.code, "审核" in answer.desc) == ("11002", True)
    with service.session() as session:
        assert session.scalar(text("SELECT field FROM correction WHERE decided_at IS NULL")) == "birth_date"


USE = {
    "time": "2026-01-01 08:00:00",
    "atr": "12345678",
    "hc_number": "A123456789",
    "sam": "6301020010300",
    "use_citycode": "630100",
    "use_cityname": "西宁市",
    "nation": "01",
    "id_card": citizen_number(1),
    "hospital_code": "630102001",
    "hospital_name": "测试医院",
    "channel_code": "01",
    "channel_name": "人工窗口",
}


def test_what_is_kept_of_a_person_goes_with_the_person(service: Service, his: Soap) -> None:
    made = his.call("E0001", adult() | PHOTOS).node("personinfo")
    assert his.call("E0009", USE).code == "9002"
    assert his.call("E0011", _change(made["ecardId"], address="新址")).code == "11002"
    card = service.app.register(1)
    assert service.app.post(f"/v1/cards/{card['card_id']}/close", {"reason": "不再使用"}).status_code == 200
    service.clock.advance((service.settings.keep_days + 2) * 86400)
    secrets, now = secrets_of(service), service.clock.now()
    with service.session() as session:
        assert retention.erase(session, secrets=secrets, now=now) == 1
        assert session.scalars(text("SELECT told FROM plastic_use")).all() == [None]
        assert (store.purge(session, now=now), store.purge(session, now=now)) == (1, 0)


def test_a_use_of_a_physical_card_is_kept_once(service: Service, his: Soap) -> None:
    use = USE
    assert his.call("E0009", use).code == "9001"
    service.other_app.register(1)
    for _ in range(2):
        assert his.call("E0009", use).code == "9002"
    assert his.call("E0009", use | {"time": "2026-01-01"}).code == "12001"
    for wrong in ({"channel_code": "7"}, {"medstep_code": "7"}, {"nation": "77"}, {"sex": "7"}):
        assert his.call("E0009", use | wrong).code == "1012"
    assert mini_program(service, name="mini").call("E0009", use).code == "9001"
    with service.session() as session:
        (row,) = session.execute(text("SELECT step, channel, told FROM plastic_use")).all()
    assert (row.step, row.channel) == ("other", "window")
    assert b"A123456789" not in row.told


def test_cards_of_an_institution_are_counted_by_days(service: Service, his: Soap) -> None:
    his.register(1)
    his.register(2)
    service.app.register(3)  # not through this interface
    wanted = {"orgId": "630102001", "startDate": "2020-01-01", "endDate": "20991231"}
    assert his.call("E0017", wanted).root.findtext("count") == "2"
    assert his.call("E0017", wanted | {"endDate": "20200101"}).root.findtext("count") == "0"
    assert his.call("E0017", wanted | {"orgId": "1"}).code == "1006"
    assert his.call("E0017", wanted | {"startDate": "x"}).code == "12001"


def test_newborns_are_found_by_their_parents(service: Service, his: Soap) -> None:
    mother = his.register(1, sex="2")
    own = {"self_id_type": "01", "self_id_number": citizen_number(1)}
    child = newborn("T630000001", "99", f"{service.clock.now():%Y0101}") | PHOTOS
    assert his.call("E0007", own | {"relation": "3"} | child).code == "7006"
    for parent in (
        {"mother_ecard_id": mother["ecardId"], "mother_name": "王小明"},
        {"father_id_type": "01", "father_id_number": citizen_number(1)},
    ):
        (found,) = his.call("E0015", parent).nodes("personinfos/personinfo")
        assert (found["name"], found["id_type"], found["relation"]) == ("张小宝", "99", "3")
        assert list(found)[-1] == "relation"
    for nobody in (
        {"mother_ecard_id": mother["ecardId"], "mother_name": "别人"},
        {"father_ecard_id": "0" * 64},
        {"a": "b"},
    ):
        answer = his.call("E0015", nobody)
        assert (answer.code, len(answer.root.findall("personinfos")), answer.nodes("personinfos/personinfo")) == (
            "5005",
            1,
            [],
        )


def test_refusals_of_families(service: Service, his: Soap) -> None:
    own = {"self_id_type": "01", "self_id_number": citizen_number(1)}
    member = {"id_type": "01", "id_number": citizen_number(2)}
    assert his.call("E0007", {"self_id_number": "1"} | adult(2) | PHOTOS).code == "7001"
    assert his.call("E0007", {"self_id_type": "01"} | adult(2) | PHOTOS).code == "7002"
    assert his.call("E0007", own | adult(2) | PHOTOS).code == "7003"
    assert his.call("E0010", own).code == "7003"
    assert his.call("E0008", own | {"id_number": "1"}).code == "8001"
    assert his.call("E0008", own | {"id_type": "01"}).code == "8002"
    assert his.call("E0008", own | member).code == "8003"
    his.register(1)
    assert his.call("E0008", own | member).code == "8004"
    service.other_app.register(2)
    assert his.call("E0008", own | member).code == "8004"  # whether there is a stranger is not told
    his.register(2)
    assert his.call("E0008", own | member).code == "8005"
    assert his.call("E0007", own | adult(3, name="王五")).code == "6004"
    assert his.call("E0007", own | {"relation": "x"} | adult(3) | PHOTOS).code == "7005"
    assert his.call("E0007", own | adult(1) | PHOTOS).code == "7005"  # oneself


def test_an_operation_that_the_app_may_not_use_is_1010(service: Service, his: Soap) -> None:
    allow(service, service.app, Scope.CARDS)
    service.clock.advance(1)
    other = hospital(service, name="other")
    allow(service, service.app, Scope.CARDS)
    assert other.call("E0003", {"qr_code": "x"}).code == "1010"
    assert other.call("E0003", {"qr_code": "x"}, userPwd="wrong").code == "1005"


def test_a_failed_call_leaves_a_trace_without_values(
    service: Service, his: Soap, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(Calls, "record", lambda _, call: kept.append(call))
    his.call("E0006", adult(name="李<四") | CLERK)
    his.call("E0006", adult() | CLERK)
    his.post(b"nothing")
    failed, good, fault = kept
    assert (failed.method, failed.result, failed.ok, failed.dialect) == ("RHC_E0006", "1002", False, "soap11 escaped")
    assert (failed.trace["bussinessCode"], failed.trace["orgId"], failed.trace["id_type"]) == (
        "RHC_E0006",
        "630102001",
        "01",
    )
    assert "userPwd" not in failed.trace
    assert not any(
        part in str(failed.trace) for part in ("李", "四", citizen_number(1), "13800138000", his.account.secret)
    )
    assert (good.ok, good.result, good.trace) == (True, "6008", None)
    assert (fault.method, fault.result, fault.account) == ("unknown", "fault", None)


def test_how_many_statements_a_check_and_an_application_take(service: Service, his: Soap) -> None:
    """E0003: one, as `/v1/verifications`. E0002: card, what was applied for, newest code, right to codes, code, note.

    A static one, once in a card's life, switches static codes on as a change of the card: held, written, told and audited.
    """
    his.register()
    for kind, most in (("0", 6), ("1", 17)):
        with service.statements() as seen:
            code = his.apply(kind=kind)
        assert len(seen) == most, seen
        with service.statements() as seen:
            assert his.call("E0003", {"qr_code": code}).code == "3005"
        assert len(seen) == 1, seen


def test_checks_count_as_checks(service: Service, his: Soap) -> None:
    his.register()
    before = metric(service, 'ehc_scans_total{outcome="accepted"}')
    his.call("E0003", {"qr_code": his.apply()})
    assert metric(service, 'ehc_scans_total{outcome="accepted"}') == before + 1


def _fresh(service: Service, his: Soap) -> str:
    service.clock.advance(110)
    return his.apply(kind="0")


def _disclose_all(service: Service, his: Soap, worker: WorkerMaker) -> None:
    """Let every institution be told everything in clear at every step, and call a worker that knows it."""
    new_table(service, rule(EVERYTHING))
    service.clock.advance(11)
    his.http = worker(service).flask.test_client()


def _address(service: Service, **headers: str) -> str:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = service.client().get(f"{PATH}?wsdl", headers=named, base_url="http://health.example:8080")
    assert answer.status_code == 200, answer.text
    return answer.text.partition('<soap:address location="')[2].partition('"')[0]


def test_the_wsdl_has_the_callers_own_address_also_behind_a_proxy_that_we_trust(
    service: Service,
) -> None:
    told = {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "card.example"}
    assert _address(service, **told) == f"http://health.example:8080{PATH}"  # whoever says so
    behind = replace(service.settings, trusted_proxies=(ip_network("127.0.0.0/8"),))
    flask = create_app(behind, clock=service.clock)
    other = replace(service, flask=flask)
    assert _address(other, **told) == f"https://card.example{PATH}"
    assert _address(other, X_Forwarded_Proto="gopher", X_Forwarded_Host='"><a') == f"http://health.example:8080{PATH}"
    with flask.app_context():
        database.engine.dispose()


def test_only_the_wsdl_is_got(service: Service) -> None:
    assert service.client().get(PATH).status_code == 405
    assert service.client().put(PATH).status_code == 405
    assert service.client().get(f"{PATH}?WSDL").content_type == "text/xml; charset=UTF-8"
