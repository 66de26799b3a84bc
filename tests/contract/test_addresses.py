"""From where an app may call: the peer's address, or what a proxy that we trust says, and nothing that the caller writes."""

from ipaddress import ip_network
from typing import Any

import pytest

from tests.contract.conftest import ServiceMaker
from tests.contract.helpers import problem
from tests.support.apps import Office, ask_token
from tests.support.service import Api, Service

READ = "/v1/cards/0190163d-8694-739b-aea5-966c26f8ad91"
HOME = {"REMOTE_ADDR": "203.0.113.7"}


def app_of(service: Service, *networks: str) -> Api:
    """A live app that may call from these networks, with a token."""
    office = Office(service)
    app_id, api = office.live()
    assert office.patch(app_id, networks=list(networks)).status_code == 200
    api.headers["Authorization"] = "Bearer " + str(
        ask_token(service, api.credentials, environ_base=HOME).get_json()["access_token"]
    )
    return api


def read(api: Api, peer: str, *forwarded: str) -> tuple[int, str]:
    headers: Any = [*api.headers.items(), *(("X-Forwarded-For", each) for each in forwarded)]
    return problem(api.http.get(READ, headers=headers, environ_base={"REMOTE_ADDR": peer}))


IN, OUT = (404, "card-not-found"), (403, "address-not-allowed")


@pytest.mark.parametrize(
    ("peer", "found"),
    [
        ("203.0.113.7", IN),
        ("203.0.113.8", OUT),
        ("203.0.113.6", OUT),
        ("198.51.100.0", IN),
        ("198.51.100.255", IN),
        ("198.51.101.0", OUT),
        ("198.51.99.255", OUT),
        ("2001:db8::1", IN),
        ("2001:db9::1", OUT),
        ("::ffff:203.0.113.7", IN),
        ("::ffff:203.0.113.8", OUT),
        ("127.0.0.1", OUT),
    ],
)
def test_an_app_calls_from_its_networks_alone(service: Service, peer: str, found: tuple[int, str]) -> None:
    api = app_of(service, "203.0.113.7/32", "198.51.100.0/24", "2001:db8::/32")
    assert read(api, peer) == found


def test_no_token_is_given_elsewhere_and_nobody_learns_that_without_the_secret(service: Service) -> None:
    api = app_of(service, "203.0.113.0/24")
    answer = ask_token(service, api.credentials, environ_base={"REMOTE_ADDR": "192.0.2.1"})
    assert problem(answer) == (403, "address-not-allowed")
    wrong = type(api.credentials)(api.credentials.client_id, "x")
    assert ask_token(service, wrong, environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 401


def test_what_a_caller_writes_counts_for_nothing_without_a_proxy(service: Service) -> None:
    api = app_of(service, "203.0.113.0/24")
    assert read(api, "192.0.2.1", "203.0.113.7") == OUT
    assert read(api, "203.0.113.7", "192.0.2.1") == IN


@pytest.mark.parametrize(
    ("forwarded", "found"),
    [
        (["203.0.113.7"], IN),
        (["192.0.2.1"], OUT),
        (["203.0.113.7, 192.0.2.1"], OUT),  # the left one is what the caller wrote
        (["192.0.2.1, 203.0.113.7"], IN),
        (["192.0.2.1, 203.0.113.7, 10.0.0.9"], IN),  # two proxies of ours
        (["203.0.113.7, 192.0.2.1, 10.0.0.9"], OUT),
        (["203.0.113.7", "192.0.2.1"], OUT),
        (["192.0.2.1", "203.0.113.7"], IN),
        ([], OUT),
        ([""], OUT),
        (["unknown"], OUT),
        (["203.0.113.7:443"], OUT),
        (["203.0.113.7, nonsense"], OUT),
        (["10.0.0.9"], OUT),
        (["203.0.113.7," + "10.0.0.9," * 40 + "10.0.0.9"], OUT),
    ],
)
def test_behind_a_trusted_proxy_its_word_counts(
    start: ServiceMaker, forwarded: list[str], found: tuple[int, str]
) -> None:
    service = start(trusted_proxies=(ip_network("10.0.0.0/8"),))
    api = app_of(service, "203.0.113.0/24")
    assert read(api, "10.0.0.1", *forwarded) == found


def test_a_change_of_networks_holds_within_ten_seconds(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office(service)
    app_id, api = office.live()
    assert read(api, "192.0.2.1") == IN
    office.patch(app_id, networks=["203.0.113.0/24"])
    monkeypatch.setattr("ehc.access.tokens.RECHECK_SECONDS", 0)
    assert read(api, "192.0.2.1") == OUT
    office.patch(app_id, networks=[])
    assert read(api, "192.0.2.1") == IN
