"""Signing keys change while two server processes issue and check codes: no check is lost."""

import os
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from ehc.codes.signed import encode, open_envelope
from ehc.crypto.keys import KeyId
from ehc.keystore import signing_keys
from ehc.keystore.ring import KeyState, Purpose, state_of
from ehc.keystore.ring import signing_keys as keys_of
from ehc.settings import Settings
from tests.e2e.peers import Load, Peer, show_and_scan
from tests.e2e.sites import Site, eventually

HEAD_START = timedelta(seconds=8)
"""Shorter than the command's 60 s, and as short as 10 s between reloads and 5 s of skew between clocks allow."""
ALL_KNOW_SECONDS = 30

pytestmark = pytest.mark.xdist_group("heavy")


@pytest.fixture
def pair(site: Site) -> Site:
    site.launch()
    site.launch()
    return site


def keys(site: Site) -> Settings:
    return Settings.from_env(dict(os.environ) | {"EHC_DATABASE_URL": site.database_url})


def rotate(site: Site, purpose: Purpose) -> KeyId:
    kek = keys(site).key_encrypting_key()
    with Session(site.engine) as session, session.begin():
        return signing_keys.rotate(session, kek, purpose, now=datetime.now(UTC), head_start=HEAD_START)


def revoke(site: Site, key: KeyId) -> None:
    kek = keys(site).key_encrypting_key()
    with Session(site.engine) as session, session.begin():
        assert signing_keys.revoke(session, kek, key, now=datetime.now(UTC)) is not None


def active_key(site: Site, purpose: Purpose) -> KeyId:
    now = datetime.now(UTC)
    with Session(site.engine) as session:
        rows = keys_of(session, purpose)
        (active,) = [row.id for row in rows if state_of(row, now) is KeyState.ACTIVE]
        return KeyId(active)


def signed_by(code: str) -> KeyId:
    return open_envelope(code).key_id


def test_a_rotation_under_load_refuses_no_code_and_both_processes_take_up_the_new_key(pair: Site) -> None:
    apps, terminals = ([pair.peer(role, n) for n in (0, 1)] for role in ("app", "terminal-0"))
    cards = [apps[0].register(n) for n in range(8)]
    # every process's codes are checked by itself and by the other
    jobs = [show_and_scan(apps[n % 2], terminals[n // 2 % 2], card) for n, card in enumerate(cards)]
    old = active_key(pair, Purpose.CODE)
    old_token = active_key(pair, Purpose.TOKEN)
    with Load(*jobs) as load:
        time.sleep(1)
        new = rotate(pair, Purpose.CODE)
        assert rotate(pair, Purpose.TOKEN) != old_token
        began = time.monotonic()
        kept = [app.code(cards[0]) for app in apps]  # shown later, when their key has retired
        for app in apps:
            assert eventually(lambda app=app: signed_by(app.code(cards[0])) == new, seconds=30, every=0.2)  # type: ignore[misc]
        assert time.monotonic() - began < ALL_KNOW_SECONDS
        time.sleep(2)

    assert {signed_by(code) for code in kept} == {old}
    assert [terminal.scan(code).body["outcome"] for terminal, code in zip(terminals, kept, strict=True)] == [
        "accepted"
    ] * 2
    refused = [call.reply for call in load.calls if call.reply is None or call.reply.status not in {200, 201}]
    assert refused == []
    scans = [call.reply.body for call in load.of("scan") if call.reply]
    assert {(body["outcome"], body["reason"]) for body in scans} == {("accepted", None)}
    used = {bytes(row.key_id) for row in pair.rows("SELECT DISTINCT key_id FROM verification")}
    assert used == {old, new}
    assert pair.count("verification") == len(scans) + len(kept)
    # tokens: those of the old key still serve, those of the new one serve at both processes
    fresh = Peer(apps[0].host, apps[0].port, pair.credentials["terminal-1"], pair.wires).log_in()
    for n in (0, 1):
        assert fresh.at(pair.servers[n].port).scan(apps[n].code(cards[0])).body["outcome"] == "accepted"


def test_a_revoked_key_s_codes_are_refused_by_the_next_scan_and_new_codes_pass_at_once_everywhere(pair: Site) -> None:
    apps, terminals = ([pair.peer(role, n) for n in (0, 1)] for role in ("app", "terminal-0"))
    card = apps[0].register()
    for _ in range(3):
        old = active_key(pair, Purpose.CODE)
        shown = [app.code(card) for app in apps]
        assert {signed_by(code) for code in shown} == {old}
        assert [
            terminal.scan(app.code(card)).body["outcome"] for app, terminal in zip(apps, terminals, strict=True)
        ] == ["accepted"] * 2
        # someone's made-up key has had both processes look for keys a moment ago
        made_up = encode(cut_key(shown[0]))
        assert [terminal.scan(made_up).body["reason"] for terminal in terminals] == ["unknown-key"] * 2
        revoke(pair, old)
        fresh = [app.code(card) for app in apps]
        assert [terminal.scan(code).body["reason"] for terminal, code in zip(terminals, shown, strict=True)] == [
            "unknown-key"
        ] * 2
        # a process that looked for keys less than a second ago looks again when that second is over
        for terminal, code in zip(terminals, reversed(fresh), strict=True):
            assert eventually(lambda t=terminal, c=code: t.scan(c).body["reason"] is None, seconds=1.5)  # type: ignore[misc]
        assert {signed_by(code) for code in fresh} == {active_key(pair, Purpose.CODE)} != {old}
    assert not pair.rows("SELECT FROM code_use JOIN verification ON id = verification_id WHERE reason IS NOT NULL")


def cut_key(code: str) -> bytes:
    """The bytes of a code, with another key's name in them."""
    number = int(code.removeprefix("691"))
    body = number.to_bytes((number.bit_length() + 7) // 8, "big")[1:]
    return body.replace(signed_by(code), b"no key 8")
