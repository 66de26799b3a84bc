"""Ties: signed over the heads of all chains, so that what was computed anew, cut off or forged is found all the same."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import text

from ehc import audit
from ehc.audit import CHAINS, Fault, TornLog
from ehc.audit.links import chain_of
from ehc.crypto.signer import SoftwareSigner
from ehc.keystore import audit_keys, signing_keys
from ehc.keystore.ring import Purpose
from tests.contract.helpers import at_once
from tests.integration.audited import (
    act,
    after,
    kek_of,
    keyed,
    length,
    live,
    places,
    quiet,
    rebuild,
    run,
    tamper,
    tie,
)
from tests.support.service import Service


@pytest.fixture
def subject(service: Service) -> str:
    """One whose acts are alone in their chain."""
    return quiet(service)


@pytest.fixture
def tied(service: Service, subject: str) -> Service:
    """Three ties, with acts before each, and some after the last."""
    for _ in range(3):
        act(service, subject, 3)
        assert tie(service)
    act(service, subject, 2)
    return service


def body(service: Service, seq: int) -> str:
    with service.session() as session:
        return str(session.execute(text("SELECT body FROM audit_tie WHERE seq = :s"), {"s": seq}).scalar_one())


def test_a_tie_holds_the_head_of_every_chain(tied: Service, subject: str) -> None:
    act(tied, subject)
    made = tie(tied)
    assert made is not None
    assert made.seq == 4
    lines = body(tied, 4).splitlines()
    with tied.session() as session:
        heads = session.execute(text("SELECT chain, seq, encode(hash, 'hex') FROM audit_head ORDER BY chain")).all()
    assert lines[6:] == [f"head {chain} {seq} {digits}" for chain, seq, digits in heads]
    assert len(heads) == CHAINS
    assert lines[:2] == ["ehc-audit-tie-1", "seq 4"]
    assert lines[4] == "method sha256"


def test_nothing_to_tie_makes_no_tie(service: Service, subject: str) -> None:
    assert tie(service)
    assert tie(service) is None
    act(service, subject)
    assert tie(service)
    assert tie(service) is None
    assert places(service) == []


def test_an_empty_log_is_not_tied(service: Service) -> None:
    tamper(service, "DELETE FROM audit", "UPDATE audit_head SET seq = 0, hash = decode(repeat('00', 32), 'hex')")
    assert tie(service) is None


def test_without_all_heads_nothing_is_signed(service: Service) -> None:
    tamper(service, "DELETE FROM audit_head WHERE chain = 7")
    with pytest.raises(TornLog):
        tie(service)


def test_a_tie_that_is_undone_leaves_nothing(service: Service) -> None:
    with service.session() as session:
        audit_keys.tie(session, kek_of(service), now=service.clock.now())
        session.rollback()
    assert places(service) == []
    made = tie(service)
    assert made is not None
    assert made.seq == 1


def test_two_ties_at_once_make_one_after_the_other(tied: Service) -> None:
    made = at_once(*[lambda: tie(tied)] * 4)
    assert sorted(one.seq for one in made if one) == list(range(4, 4 + len([one for one in made if one])))
    assert places(tied) == []


def test_a_tied_log_is_whole(tied: Service) -> None:
    assert places(tied) == []
    assert "whole" in run(tied, "audit", "verify").stdout


@pytest.mark.parametrize("since", [1, 2, 5])
def test_a_chain_that_was_computed_anew_is_found(tied: Service, subject: str, since: int) -> None:
    chain = chain_of(subject)
    rebuild(tied, chain, since)
    (found,) = places(tied)
    first, last = (1, 3) if since <= 3 else (4, 6)
    assert found == (Fault.REBUILT, chain, first, last)


def test_what_came_after_the_last_tie_can_be_computed_anew(tied: Service, subject: str) -> None:
    """The limit of SHA-256: between two ties whoever may switch triggers off leaves no trace. HMAC-SM3 ends it."""
    rebuild(tied, chain_of(subject), 10)
    assert places(tied) == []
    rebuild(tied, chain_of(subject), 9)
    assert places(tied) == [
        (
            Fault.REBUILT,
            chain_of(subject),
            7,
            9,
        )
    ]


def test_a_chain_that_was_cut_off_with_its_head_is_found(tied: Service, subject: str) -> None:
    chain = chain_of(subject)
    cut = (
        "DELETE FROM audit WHERE chain = :c AND seq > :left",
        "UPDATE audit_head h SET seq = :left, hash = a.hash FROM audit a WHERE h.chain = :c AND a.chain = :c AND a.seq = :left",
    )
    assert length(tied, chain) == 11
    assert after(tied, *cut, c=chain, left=8) == [(Fault.CUT_OFF, chain, 9, 9)]
    assert after(tied, *cut, c=chain, left=4) == [(Fault.CUT_OFF, chain, 5, 9)]
    assert after(tied, *cut, c=chain, left=9) == []


_CHANGES = {
    "one byte of the body": "UPDATE audit_tie SET body = overlay(body placing 'x' from 200 for 1) WHERE seq = 2",
    "a body that is none": "UPDATE audit_tie SET body = 'x' WHERE seq = 2",
    "an empty body": "UPDATE audit_tie SET body = '' WHERE seq = 2",
    "a space more": "UPDATE audit_tie SET body = body || ' ' WHERE seq = 2",
    "the body of another": "UPDATE audit_tie SET body = (SELECT body FROM audit_tie WHERE seq = 1) WHERE seq = 2",
    "the time": "UPDATE audit_tie SET at = at + interval '1 microsecond' WHERE seq = 2",
    "the signature": "UPDATE audit_tie SET signature = set_bit(signature, 9, 1 - get_bit(signature, 9)) WHERE seq = 2",
    "the length of the signature": "UPDATE audit_tie SET signature = '' WHERE seq = 2",
    "the key": "UPDATE audit_tie SET key_id = sha256(key_id) WHERE seq = 2",
}


def test_a_changed_tie_is_found_and_no_row_is_blamed(tied: Service) -> None:
    for name, statement in _CHANGES.items():
        assert after(tied, statement) == [(Fault.TIE_CHANGED, None, 2, None)], name


@pytest.mark.parametrize(("first", "last"), [(1, 1), (2, 2), (1, 2), (3, 3), (2, 3), (1, 3)])
def test_ties_that_were_taken_out_are_missed(tied: Service, first: int, last: int) -> None:
    took = f"DELETE FROM audit_tie WHERE seq BETWEEN {first} AND {last}"
    assert after(tied, took) == [(Fault.TIE_MISSING, None, first, last)]


def test_ties_that_changed_places_are_found(tied: Service) -> None:
    moves = [f"UPDATE audit_tie SET seq = {new} WHERE seq = {old}" for old, new in ((1, 9), (2, 1), (9, 2))]
    assert {place[:3] for place in after(tied, *moves)} == {(Fault.TIE_CHANGED, None, n) for n in (1, 2)}


def test_a_tie_that_was_kept_shows_that_the_newest_were_taken_with_their_rows(tied: Service, subject: str) -> None:
    act(tied, subject)
    kept = tie(tied)
    assert kept is not None
    words = ("audit", "verify", "--tie", f"{kept.seq}:{kept.hash.hex()}")
    assert run(tied, *words).exit_code == 0
    chain, seq = chain_of("audit"), length(tied, chain_of("audit"))
    tamper(
        tied,
        "DELETE FROM audit_tie WHERE seq = 4",
        "DELETE FROM audit WHERE chain = :c AND seq = :s",
        "UPDATE audit_head h SET seq = a.seq, hash = a.hash FROM audit a "
        "WHERE h.chain = :c AND a.chain = :c AND a.seq = :s - 1",
        c=chain,
        s=seq,
    )
    assert places(tied) == []
    result = run(tied, *words)
    assert result.exit_code == 1
    assert "tie 4: not the tie whose hash was kept." in result.stdout


@pytest.mark.parametrize("word", ["4", "4:", "x:" + "00" * 32, "4:" + "0" * 63, "4:" + "G" * 64])
def test_what_is_not_a_kept_tie_is_told_so(service: Service, word: str) -> None:
    result = run(service, "audit", "verify", "--tie", word)
    assert (result.exit_code, "NUMBER:HASH" in result.stderr) == (2, True)


def forge(service: Service, signer: SoftwareSigner, seq: int = 3) -> None:
    """Sign a tie anew, with the body that another key gives."""
    told = body(service, seq).splitlines(keepends=True)
    told[5] = f"key {signer.key_id.hex()}\n"
    new = "".join(told)
    tamper(
        service,
        "UPDATE audit_tie SET body = :body, key_id = :key, signature = :signature WHERE seq = :seq",
        body=new, key=signer.key_id, signature=signer.sign(new.encode()), seq=seq,
    )  # fmt: skip


def test_a_tie_of_another_key_is_found(tied: Service) -> None:
    forge(tied, SoftwareSigner.generate())
    assert places(tied) == [(Fault.TIE_FORGED, None, 3, None)]


def test_a_key_that_was_put_into_the_database_proves_nothing(tied: Service) -> None:
    signer = SoftwareSigner.generate()
    forge(tied, signer)
    der = signer.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    tamper(
        tied,
        "INSERT INTO signing_key (id, purpose, public_key, wrapped_private_key, signs_from) "
        "SELECT :id, purpose, :der, wrapped_private_key, signs_from FROM signing_key WHERE purpose = 'audit'",
        id=signer.key_id, der=der,
    )  # fmt: skip
    assert places(tied) == [(Fault.TIE_FORGED, None, 3, None)]


def test_a_key_of_codes_signs_no_tie(tied: Service) -> None:
    with tied.session() as session:
        signer = signing_keys.load_signers(session, kek_of(tied), Purpose.CODE)[0].signer
    forge(tied, signer)
    assert places(tied) == [(Fault.TIE_FORGED, None, 3, None)]


def test_a_retired_key_still_proves_what_it_signed_in_its_time(tied: Service) -> None:
    with tied.session() as session:
        new = signing_keys.rotate(session, kek_of(tied), Purpose.AUDIT, now=tied.clock.now())
    tied.clock.advance(61)
    assert tie(tied)
    assert body(tied, 4).splitlines()[5] == f"key {new.hex()}"
    assert places(tied) == []


def test_a_retired_key_proves_nothing_later(tied: Service) -> None:
    with tied.session() as session:
        old = signing_keys.load_signers(session, kek_of(tied), Purpose.AUDIT)[0].signer
        signing_keys.rotate(session, kek_of(tied), Purpose.AUDIT, now=tied.clock.now())
    tied.clock.advance(62)
    with tied.session() as session:
        assert audit.tie(session, old, now=tied.clock.now())
    assert places(tied) == [(Fault.TIE_FORGED, None, 4, None)]


def test_a_revoked_key_needs_a_later_tie_that_vouches_for_its_own(tied: Service, subject: str) -> None:
    tied.clock.advance(1)
    with tied.session() as session:
        old = signing_keys.load_signers(session, kek_of(tied), Purpose.AUDIT)[0].signer
        signing_keys.revoke(session, kek_of(tied), old.key_id, now=tied.clock.now())
    assert places(tied) == [(Fault.TIE_UNVOUCHED, None, 1, 3)]
    assert tie(tied)
    assert places(tied) == []
    tied.clock.advance(1)
    act(tied, subject)
    with tied.session() as session:
        assert audit.tie(session, old, now=tied.clock.now())
    assert places(tied) == [(Fault.TIE_FORGED, None, 5, None)]


def test_the_command_ties_once_and_tells_what_to_keep(service: Service) -> None:
    live(service, 1)
    first = run(service, "audit", "tie").stdout.strip()
    assert first.partition(":")[0] == "1"
    assert "No act came" in run(service, "audit", "tie").stdout
    assert run(service, "audit", "verify", "--tie", first).exit_code == 0
    assert run(service, "audit", "verify", "--tie", first[:-1] + ("0" if first[-1] != "0" else "1")).exit_code == 1


def test_ties_that_have_stopped_are_told_and_are_no_finding(service: Service) -> None:
    now, times = service.clock.now(), {"old": timedelta(days=1, seconds=60), "young": timedelta(hours=23)}
    seen = []
    for ago in (times["young"], times["old"]):
        with service.session() as session:
            audit.record(session, "test", actor="test", subject="s", at=now - ago)
        result = run(service, "audit", "verify")
        assert (result.exit_code, "The audit log is whole" in result.stdout) == (0, True), result.output
        seen.append("Warning: no tie holds the acts since" in result.stderr)
    assert tie(service)
    seen.append("Warning" in run(service, "audit", "verify").stderr)
    assert seen == [False, True, False]


def test_only_acts_that_wait_longer_than_a_day_for_a_tie_count(tied: Service, subject: str) -> None:
    tie(tied)
    second, day = timedelta(seconds=1), timedelta(days=1)

    def untied(at: datetime) -> datetime | None:
        with tied.session() as session:
            return audit.untied_since(session, now=at)

    assert untied(tied.clock.now() + 3 * day) is None  # nothing came since
    tied.clock.advance(day.total_seconds())
    act(tied, subject)
    since = tied.clock.now()
    assert (untied(since + day), untied(since + day + second)) == (None, since)
    tied.clock.advance(5)
    tie(tied)
    assert untied(since + 3 * day) is None


def test_an_export_holds_the_acts_of_its_time_for_its_owner_alone(
    service: Service, subject: str, tmp_path: Path
) -> None:
    act(service, subject, 2)
    since = service.clock.now() + timedelta(seconds=10)
    service.clock.advance(10)
    act(service, "t")
    service.clock.advance(10)
    act(service, "u")
    path = tmp_path / "out.jsonl"
    times = ("--since", since.isoformat(), "--until", service.clock.now().isoformat())
    result = run(service, "audit", "export", str(path), *times)
    assert (result.exit_code, path.stat().st_mode & 0o777) == (0, 0o600)
    (line,) = path.read_text(encoding="utf-8").splitlines()
    assert '\\"subject\\":\\"t\\"' in line
    again = run(service, "audit", "export", str(path), *times)
    assert (again.exit_code, "not overwritten" in again.stderr) == (1, True)
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM audit WHERE action = 'audit.exported'")) == 1


def test_an_export_of_everything_can_be_linked_again(service: Service, tmp_path: Path) -> None:
    live(service, 1)
    act(service, "k", 2, keyed(service))
    path = tmp_path / "out.jsonl"
    assert run(service, "audit", "export", str(path), "--until", "2999-01-01").exit_code == 0
    with service.session() as session:
        total = audit.length(session)
    assert len(path.read_text(encoding="utf-8").splitlines()) == total


def test_what_is_no_time_is_refused(service: Service, tmp_path: Path) -> None:
    result = run(service, "audit", "export", str(tmp_path / "x"), "--since", "yesterday")
    assert (result.exit_code, "ISO 8601" in result.stderr, list(tmp_path.iterdir())) == (2, True, [])
