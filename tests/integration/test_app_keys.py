"""Keys of apps: the thumbprint of RFC 7638, keys at an address, how long they count and how often it is asked."""

import json
from base64 import urlsafe_b64encode
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from sqlalchemy import select

from ehc.access import app_keys
from ehc.access.app_keys import KeysDue, keys_for
from ehc.access.app_models import AppJwksRow
from ehc.access.assertions import TYPE
from ehc.app import create_app, database
from ehc.callers import Role
from ehc.crypto.jwk import Jwk, read_jwk
from ehc.db import unit_of_work
from ehc.errors import Unavailable
from ehc.outside.public_https import PublicReader, Unfetchable
from ehc.settings import Settings
from tests.support.apps import Office, public_jwk
from tests.support.service import Service, told

URL = "https://keys.example/jwks"


class Site:
    """What is at the address, and how often it was read."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.body, self.reads, self.away = json.dumps({"keys": keys}).encode(), 0, False

    def read(self, url: str) -> bytes:
        assert url == URL
        self.reads += 1
        if self.away:
            raise Unfetchable("silent")
        return self.body


class Asker:
    """An app that publishes its keys, and who asks for them."""

    def __init__(self, service: Service) -> None:
        self.service, self.office = service, Office(service)
        self.app_id = UUID(self.office.draft(jwks_url=URL)["app_id"])
        self.at: datetime = service.clock.now()

    def ask(self, site: Site, kid: str | None = None, *, later: float = 0) -> set[str]:
        self.at += timedelta(seconds=later)
        return {key.kid for key in self.keys(site, kid)}

    def keys(self, site: Site, kid: str | None = None) -> tuple[Jwk, ...]:
        """As the token endpoint finds them."""
        work = unit_of_work(self.service.engine)
        try:
            with work() as session:
                return keys_for(session, self.app_id, now=self.at, kid=kid)
        except KeysDue as due:
            app_keys.read_again(work, due.client, now=self.at, read=site.read)
        with work() as session, suppress(Unavailable):
            return keys_for(session, self.app_id, now=self.at, kid=kid)
        return ()


@pytest.fixture
def asker(service: Service) -> Asker:
    return Asker(service)


def test_a_key_is_known_by_the_hash_of_its_required_members_in_order() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    jwk = public_jwk(private, kid="mine", use="sig", alg="ES256", key_ops=["verify"])
    members = {name: jwk[name] for name in sorted(("crv", "kty", "x", "y"))}
    digest = sha256(json.dumps(members, separators=(",", ":")).encode()).digest()
    found = read_jwk(jwk)
    assert found.thumbprint == urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert found.kid == "mine"
    assert found.public.public_numbers() == private.public_key().public_numbers()
    assert read_jwk(public_jwk(private)).kid == found.thumbprint


def test_a_known_thumbprint() -> None:
    """Of the key in RFC 7515, A.3, so that no change of ours moves it."""
    found = read_jwk(
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        }
    )
    assert found.thumbprint == "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"


def test_keys_by_value_and_at_the_address_count_together(asker: Asker) -> None:
    mine, theirs = public_jwk(kid="value"), public_jwk(kid="address")
    with asker.service.session() as session:
        app_keys.add_key(session, asker.app_id, read_jwk(mine), now=asker.at)
    assert asker.ask(Site(theirs)) == {"value", "address"}


def test_a_kid_that_is_known_by_value_asks_nobody(asker: Asker) -> None:
    site = Site(public_jwk(kid="address"))
    with asker.service.session() as session:
        app_keys.add_key(session, asker.app_id, read_jwk(public_jwk(kid="value")), now=asker.at)
    assert asker.ask(site, "value") == {"value"}
    assert site.reads == 0


def test_what_was_read_counts_for_five_minutes(asker: Asker) -> None:
    site = Site(public_jwk(kid="a"))
    assert asker.ask(site) == {"a"}
    site.body = json.dumps({"keys": [public_jwk(kid="b")]}).encode()
    assert asker.ask(site, later=299.9) == {"a"}
    assert site.reads == 1
    assert asker.ask(site, later=0.1) == {"b"}
    assert site.reads == 2


def test_after_five_minutes_without_an_answer_nothing_counts(asker: Asker) -> None:
    """A key that was taken back must not go on because its address was silenced."""
    site = Site(public_jwk(kid="a"))
    asker.ask(site)
    site.away = True
    assert asker.ask(site, later=299) == {"a"}
    assert asker.ask(site, later=1) == set()
    site.away = False
    assert asker.ask(site, later=59) == set()  # asked a moment ago
    assert asker.ask(site, later=1) == {"a"}


def test_an_unknown_kid_makes_it_look_again_once_a_minute_at_most(asker: Asker) -> None:
    site = Site(public_jwk(kid="a"))
    asker.ask(site)
    site.body = json.dumps({"keys": [public_jwk(kid="b")]}).encode()
    assert asker.ask(site, "b", later=59) == {"a"}
    assert asker.ask(site, "b", later=1) == {"b"}
    assert site.reads == 2
    for number in range(50):
        asker.ask(site, f"forged-{number}", later=1)
    assert site.reads == 2
    asker.ask(site, "forged", later=10)
    assert site.reads == 3


def test_another_address_forgets_the_keys_of_the_first(asker: Asker) -> None:
    asker.ask(Site(public_jwk(kid="a")))
    assert asker.office.patch(str(asker.app_id), jwks_url="https://other.example/").status_code == 200
    with asker.service.session() as session:
        row = session.scalars(select(AppJwksRow)).one()
        assert (row.keys, row.fetched_at, row.tried_at) == ([], None, None)
    assert asker.office.patch(str(asker.app_id), jwks_url=None).status_code == 200
    with asker.service.session() as session:
        assert keys_for(session, asker.app_id, now=asker.at) == ()


_GOOD = public_jwk(kid="good")
_PRIVATE = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (json.dumps({"keys": [_GOOD]}), {"good"}),
        (json.dumps({"keys": [{"kty": "RSA"}, _GOOD, 7, None, "x", {}]}), {"good"}),
        (json.dumps({"keys": [_PRIVATE, _GOOD]}), {"good"}),
        (json.dumps({"keys": [_GOOD, public_jwk(kid="good")]}), {"good"}),
        (json.dumps({"keys": [_GOOD] * 21}), set()),
        (json.dumps({"keys": {}}), set()),
        (json.dumps([_GOOD]), set()),
        ("{}", set()),
        ("", set()),
        ("<html>", set()),
        ("[" * 20000, set()),
    ],
    ids=["good", "others", "private", "twice", "too many", "not a list", "no set", "empty", "nothing", "html", "deep"],
)
def test_only_good_keys_of_a_set_count(asker: Asker, body: str, found: set[str]) -> None:
    site = Site()
    site.body = body.encode()
    assert asker.ask(site) == found


def test_the_first_of_two_keys_with_one_name_counts(asker: Asker) -> None:
    site = Site(_GOOD, public_jwk(kid="good"))
    assert [key.thumbprint for key in asker.keys(site)] == [read_jwk(_GOOD).thumbprint]


def test_an_app_gets_tokens_with_keys_at_an_address_and_a_request_holds_one_connection(
    service: Service, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a request took a second one while it held its first, whoever sent as many as there are stopped the worker."""
    private = ec.generate_private_key(ec.SECP256R1())
    site = Site(public_jwk(private, kid="a"))
    monkeypatch.setattr(PublicReader, "read", lambda _, url: site.read(url))
    app_id, _ = Office(service).live(jwks_url=URL)
    name = told(service.staff(Role.SYSTEM_ADMIN).get(f"/v1/admin/apps/{app_id}"))["client_id"]
    narrow = create_app(replace(settings, pool_size=1), clock=service.clock)
    with narrow.app_context():
        engine = database.engine
    try:
        with engine.connect():  # one of two; one is left
            for number, (key, kid, status) in enumerate(
                [(private, "a", 200), (private, "a", 200), (ec.generate_private_key(ec.SECP256R1()), "forged", 401)]
            ):
                claims = {"iss": name, "sub": name, "aud": settings.issuer, "jti": str(number)}
                claims["exp"] = int(service.clock.now().timestamp()) + 60
                assertion = jwt.encode(claims, key, "ES256", headers={"kid": kid})
                form = {
                    "grant_type": "client_credentials",
                    "client_assertion_type": TYPE,
                    "client_assertion": assertion,
                }
                assert narrow.test_client().post("/oauth/token", data=form).status_code == status
    finally:
        engine.dispose()
    assert site.reads == 1


def test_whoever_comes_while_the_address_is_read_is_asked_to_wait_and_not_refused(asker: Asker) -> None:
    """An app that starts asks from several processes at once: its keys are right, and not known yet."""
    site, work, seen = Site(public_jwk(kid="a")), unit_of_work(asker.service.engine), list[Any]()

    def read(url: str) -> bytes:
        for later in (0.0, 3.9, 4.0):
            with work() as session:
                try:
                    seen.append(keys_for(session, asker.app_id, now=asker.at + timedelta(seconds=later)))
                except Unavailable as error:
                    seen.append(error.retry_after)
        return site.read(url)

    app_keys.read_again(work, asker.app_id, now=asker.at, read=read)
    assert seen == [1, 1, ()]
    assert asker.ask(site) == {"a"}
    asker.at += timedelta(seconds=299)
    site.away = True
    assert asker.ask(site, "b") == {"a"}  # what is known still counts, whatever is being looked for
