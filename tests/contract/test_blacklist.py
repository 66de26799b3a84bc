"""`GET /v1/blacklist`: signed by a key of its own, page by page, complete after any gap."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Any

import jwt
import pytest
from sqlalchemy import text

from ehc.cards import blacklist
from ehc.keystore import signing_keys
from ehc.keystore.ring import Purpose
from tests.contract.conftest import WorkerMaker
from tests.contract.helpers import problem, signer_of, wrong
from tests.support.plastic import ATR, bound, checked, delete, path
from tests.support.service import Service, told

REASON = {"reason": "遗失"}


def page(service: Service, since: int = 0) -> dict[str, Any]:
    """A page, its signature checked with the published keys, as a terminal does."""
    answer = service.terminal.get(f"/v1/blacklist?since={since}")
    assert (answer.status_code, answer.mimetype) == (200, "application/jwt")
    header = jwt.get_unverified_header(answer.text)
    assert (header["alg"], header["typ"]) == ("ES256", "ehc-blacklist+jwt")
    keys = told(service.client().get("/.well-known/ehc/list-keys"))["keys"]
    (key,) = (key for key in keys if key["kid"] == header["kid"])
    public: Any = jwt.PyJWK(key).key
    return dict(jwt.decode(answer.text, public, algorithms=["ES256"], options={"verify_iat": False}))


def hashed(number: str) -> str:
    """The hash of a resident health card, as `docs/blacklist.md` says."""
    digest = sha256(f"ehc-blacklist-1\nresident-health-card\n\n{number}".encode()).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_a_terminal_follows_the_list(service: Service) -> None:
    assert page(service)["entries"] == []
    card = checked(service)
    binding = bound(service, card)
    service.app.post(path(card, binding, "report-loss"), REASON)
    first = page(service)
    assert (first["iss"], first["since"], first["until"], first["head"]) == (service.settings.issuer, 0, 1, 1)
    (entry,) = first["entries"]
    assert (entry["hash"], entry["kind"]) == (hashed(ATR.format(1)), "resident-health-card")
    assert (entry["reason"], entry["until"]) == (
        "loss-temporary",
        told(service.app.get(path(card)))["items"][0]["until"],
    )
    service.app.post(path(card, binding, "withdraw-loss"))
    second = page(service, 1)
    assert second["entries"] == [{"hash": hashed(ATR.format(1)), "kind": "resident-health-card", "reason": None}]
    assert page(service)["entries"] == []  # who begins now need not know what is off again
    assert page(service, 2)["entries"] == []


def test_numbers_of_institutions_are_hashed_with_their_code(service: Service) -> None:
    card = checked(service)
    binding = bound(service, card, "V-0001", kind="visit-card")
    service.app.post(path(card, binding, "report-loss"), REASON)
    digest = sha256(b"ehc-blacklist-1\nvisit-card\nH1\nV-0001").digest()
    (entry,) = page(service)["entries"]
    assert urlsafe_b64decode(entry["hash"] + "=") == digest


def test_there_is_no_number_and_no_person_on_it(service: Service) -> None:
    card = checked(service)
    service.app.post(path(card, bound(service, card), "report-loss"), REASON)
    (entry,) = page(service)["entries"]
    assert set(entry) == {"hash", "kind", "reason", "until"}


def test_a_page_has_a_thousand_entries_and_pages_join(service: Service) -> None:
    with service.session() as session:
        for number in range(1001):
            blacklist.put(session, sha256(str(number).encode()).digest(), "visit-card", "lost", at=service.clock.now())
    first = page(service)
    assert (len(first["entries"]), first["until"], first["head"]) == (1000, 1000, 1001)
    second = page(service, first["until"])
    assert (len(second["entries"]), second["until"], second["head"]) == (1, 1001, 1001)
    assert len({entry["hash"] for entry in first["entries"] + second["entries"]}) == 1001
    assert page(service, 5000)["head"] == 1001  # smaller than what the terminal has: begin anew


def test_nothing_new_is_told_in_no_words(service: Service) -> None:
    card = checked(service)
    binding = bound(service, card)
    first = service.terminal.get("/v1/blacklist?since=0")
    again = service.terminal.get("/v1/blacklist?since=0", If_None_Match=first.headers["ETag"])
    assert (again.status_code, again.data) == (304, b"")
    service.app.post(path(card, binding, "report-loss"), REASON)
    changed = service.terminal.get("/v1/blacklist?since=0", If_None_Match=first.headers["ETag"])
    assert changed.status_code == 200
    delete(service.app, path(card, binding))
    unchanged = service.terminal.get("/v1/blacklist?since=0", If_None_Match=changed.headers["ETag"])
    assert unchanged.status_code == 304  # unbound while lost: still on the list


def test_it_is_for_terminals(service: Service) -> None:
    assert problem(service.app.get("/v1/blacklist")) == (403, "insufficient-scope")


@pytest.mark.parametrize("since", ["-1", "x", "1_0", "１", "9" * 19, "9" * 30, ""])
def test_since_is_a_whole_number(service: Service, since: str) -> None:
    assert [pointer for pointer, _ in wrong(service.terminal.get(f"/v1/blacklist?since={since}"))] == ["/since"]


def test_the_key_is_for_lists_alone_and_can_be_revoked(service: Service, worker: WorkerMaker) -> None:
    lists = told(service.client().get("/.well-known/ehc/list-keys"))["keys"]
    codes = told(service.client().get("/.well-known/ehc/keys"))["keys"]
    assert lists
    assert not {key["kid"] for key in lists} & {key["kid"] for key in codes}
    old, kek = signer_of(service, Purpose.LIST).key_id, service.settings.key_encrypting_key()
    tag = service.terminal.get("/v1/blacklist").headers["ETag"]
    with service.session() as session:
        assert signing_keys.revoke(session, kek, old, now=service.clock.now()) is not None
    fresh = worker(service)  # one that has not remembered any key
    assert jwt.get_unverified_header(fresh.terminal.get("/v1/blacklist", If_None_Match=tag).text)["kid"] not in {
        urlsafe_b64encode(old).rstrip(b"=").decode()
    }
    assert page(fresh)["entries"] == []


def test_the_list_in_the_database_has_no_number(service: Service) -> None:
    card = checked(service)
    service.app.post(path(card, bound(service, card), "report-loss"), REASON)
    with service.session() as session:
        rows = "\n".join(session.scalars(text("SELECT p::text FROM plastic_blacklist p")))
    assert not re.search(ATR.format(1), rows)
