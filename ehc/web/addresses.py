"""From which address a request comes: the peer's, or what proxies that we trust say (`X-Forwarded-For`)."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from flask import request

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]

_MOST_HOPS = 20
_HOST = re.compile(r"[0-9A-Za-z.-]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:]{2,45}\](?::\d{1,5})?")


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


def caller_origin(trusted: Networks) -> str:
    """Scheme and host under which the caller reached us, `https://host:port`: as our proxies say, or as we see it."""
    scheme, host = request.scheme, request.host
    peer = _read(request.remote_addr or "")
    if peer is not None and within(peer, trusted):
        told = request.headers.get("X-Forwarded-Proto", "").split(",")[-1].strip().lower()
        scheme = told if told in {"http", "https"} else scheme
        named = request.headers.get("X-Forwarded-Host", "").split(",")[-1].strip()
        host = named if _HOST.fullmatch(named) else host
    return f"{scheme}://{host}"


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
