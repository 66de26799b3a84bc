"""What two calls of the provincial interface do at one moment: the database decides, and both are told the truth."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event

import pytest
from sqlalchemy import text, update

from ehc.access.models import InstitutionRow
from ehc.clock import local_day
from tests.contract.helpers import at_once
from tests.support.provincial import PHOTOS, Answer, Soap, adult, hospital, newborn
from tests.support.service import Service, citizen_number

_TIMES = 8
WHO = {"id_card": citizen_number(1)}


@pytest.fixture
def his(service: Service) -> Soap:
    with service.session() as session:
        session.execute(update(InstitutionRow).values(static_allowed=True))
    return hospital(service)


def again(service: Service, his: Soap) -> Soap:
    """The same account on a connection of its own."""
    return Soap(service.flask.test_client(), his.account, his.places)


def both(service: Service, his: Soap, *calls: tuple[str, dict[str, str]]) -> list[Answer]:
    """The answers of calls that start together."""
    desks = [again(service, his) for _ in calls]

    def act(desk: Soap, call: tuple[str, dict[str, str]]) -> Answer:
        return desk.call(*call)

    return at_once(*(lambda d=desk, c=call: act(d, c) for desk, call in zip(desks, calls, strict=True)))


def test_the_same_newborn_twice_is_one_card_under_99_and_08(service: Service, his: Soap) -> None:
    born = f"{local_day(service.clock.now()) - timedelta(days=1):%Y%m%d}"
    for turn in range(_TIMES):
        wanted = [("E0016", newborn(f"T63000{turn:04}", id_type, born)) for id_type in ("99", "08", "99")]
        answers = both(service, his, *wanted)
        assert sorted(answer.code for answer in answers) == ["6008", "6009", "6009"]
        assert len({answer.node("personinfo")["ecardId"] for answer in answers}) == 1
        assert len({answer.node("personinfo")["id_type"] for answer in answers}) == 1
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM card")) == _TIMES
        assert session.scalar(text("SELECT count(*) FROM provincial_card WHERE made_at IS NOT NULL")) == _TIMES


def test_once_a_card_is_cancelled_no_check_of_it_succeeds(service: Service, his: Soap) -> None:
    for serial in range(1, _TIMES + 1):
        his.register(serial)
        code = his.apply(serial)
        cancelled = Event()

        def check(code: str = code, cancelled: Event = cancelled) -> list[tuple[bool, str]]:
            desk, seen = again(service, his), []
            for _ in range(6):
                after = cancelled.is_set()
                seen.append((after, desk.call("E0003", {"qr_code": code}).code))
            return seen

        def cancel(serial: int = serial, code: str = code, cancelled: Event = cancelled) -> str:
            answer = again(service, his).call("E0004", {"id_card": citizen_number(serial), "qr_code": code})
            cancelled.set()
            return answer.code

        with ThreadPoolExecutor(3) as pool:
            checks = [pool.submit(check) for _ in range(2)]
            assert pool.submit(cancel).result(30) == "4004"
            seen = [one for each in checks for one in each.result(30)]
        assert {code for after, code in seen if after} <= {"2001"}
        assert {code for _, code in seen} <= {"3005", "2001"}


def test_of_two_that_cancel_one_does(service: Service, his: Soap) -> None:
    his.register()
    code = his.apply()
    answers = both(service, his, *[("E0004", WHO | {"qr_code": code})] * 3)
    assert sorted(answer.code for answer in answers) == ["4002", "4002", "4004"]


@pytest.mark.parametrize(("kind", "later"), [("1", "2004"), ("0", "2006")])
def test_of_two_that_apply_for_a_code_one_gets_it_and_both_are_told_the_same(
    service: Service, his: Soap, kind: str, later: str
) -> None:
    for serial in range(1, _TIMES + 1):
        his.register(serial)
        wanted = ("E0002", {"id_card": citizen_number(serial), "qrcode_type": kind})
        answers = both(service, his, wanted, wanted, wanted)
        assert sorted(answer.code for answer in answers) == sorted(["2009", later, later])
        assert len({answer.node("ehc_cardinfo")["qr_code"] for answer in answers}) == 1


def test_a_change_that_is_sent_twice_at_once_is_made_once(service: Service, his: Soap) -> None:
    ecard = his.register()["ecardId"]
    change = {"ecardId": ecard, "alterNo": "A1", "alterTime": "2026-01-01 08:00:00"}
    answers = both(service, his, *(("E0011", change | {"address": f"第{n}号"}) for n in range(3)))
    assert [answer.code for answer in answers] == ["11002"] * 3
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM card_event WHERE action = 'changed'")) == 1


def test_a_member_who_is_bound_twice_at_once_is_bound_once(service: Service, his: Soap) -> None:
    his.register(1)
    own = {"self_id_type": "01", "self_id_number": citizen_number(1), "relation": "2"}
    answers = both(service, his, *[("E0007", own | adult(2, name="李四") | PHOTOS)] * 3)
    assert sorted(answer.code for answer in answers) == ["7004", "7004", "7006"]
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM photo")) == 3
