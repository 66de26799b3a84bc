"""Many writers at once: every act has its row, no chain forks, and who checks or ties meanwhile sees a whole log."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

from sqlalchemy import text

from ehc import audit
from ehc.audit import CHAINS, HMAC_SM3
from ehc.audit.links import chain_of
from tests.integration.audited import act, findings, hmac_key, keyed, places, tie
from tests.support.service import Service

_WRITERS, _ACTS = 8, 150


def subjects() -> list[str]:
    """One for each chain."""
    found = {chain_of(f"s{n}"): f"s{n}" for n in range(2000)}
    assert len(found) == CHAINS
    return list(found.values())


def test_writers_by_both_methods_on_all_chains_leave_a_whole_log(service: Service) -> None:
    everyone = subjects()
    work = keyed(service)

    def write(writer: int) -> None:
        for number in range(_ACTS):
            act(service, everyone[(writer * 7 + number) % CHAINS], 1, work if writer % 2 else None)

    done = Event()

    def look() -> int:
        seen = 0
        while not done.is_set() or seen == 0:
            assert findings(service) == []
            tie(service)
            seen += 1
        return seen

    with ThreadPoolExecutor(_WRITERS + 1) as pool:
        looking = pool.submit(look)
        writing = [pool.submit(write, writer) for writer in range(_WRITERS)]
        try:
            for one in writing:
                one.result(timeout=60)
        finally:
            done.set()
        assert looking.result(timeout=60) >= 1
    assert places(service) == []
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM audit WHERE action = 'test'")) == _WRITERS * _ACTS
        assert session.scalar(text("SELECT count(DISTINCT chain) FROM audit WHERE action = 'test'")) == CHAINS


def test_an_act_on_one_chain_waits_for_none_on_another(service: Service) -> None:
    one, other = subjects()[:2]
    now = service.clock.now()
    with service.session() as first, service.session() as second:
        audit.record(first, "test", actor="test", subject=one, at=now)
        second.execute(text("SET LOCAL lock_timeout = '1ms'"))
        audit.record(second, "test", actor="test", subject=other, at=now)


def test_a_tie_waits_for_no_act(service: Service) -> None:
    """What is not committed is in the next tie."""
    subject = subjects()[(chain_of("audit") + 1) % CHAINS]
    act(service, subject)
    with service.session() as acting:
        audit.record(acting, "test", actor="test", subject=subject, at=service.clock.now())
        made = tie(service)
        assert made is not None
    assert places(service) == []
    again = tie(service)
    assert again is not None
    assert again.seq == made.seq + 1


def test_a_keyed_act_holds_its_chain_from_reading_to_writing(service: Service) -> None:
    """The hash that a link follows from cannot be taken by another meanwhile."""
    assert hmac_key(service).method.startswith(HMAC_SM3)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: act(service, "one", 20, keyed(service)), range(8), timeout=60))
    assert places(service) == []
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM audit WHERE subject = 'one'")) == 160
