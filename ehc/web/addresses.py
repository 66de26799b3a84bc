"""From which address a request comes: the peer's, or what proxies that we trust say (`X-Forwarded-For`)."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from flask import request

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]

_MOST_HOPS = 20


def caller_address(trusted: Networks) -> Address | None:
    """The address of whoever sent this request; None where a trusted proxy tells nothing that is one.

    Read from the right, where our own proxies write: whatever the caller wrote is to the left of it, and is not looked at.
    """
    peer = _read(request.remote_addr or "")
    if peer is None or not within(peer, trusted):
        return peer
    told = ",".join(request.headers.getlist("X-Forwarded-For"))
    for hop in reversed(told.split(",")[-_MOST_HOPS:]):
        found = _read(hop.strip())
        if found is None or not within(found, trusted):
            return found
    return None


def within(address: Address, networks: Networks) -> bool:
    """Whether an address is in one of these networks."""
    return any(address in network for network in networks)


def _read(text: str) -> Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found  # a listener on both protocols sees 10.0.0.1 as ::ffff:10.0.0.1
