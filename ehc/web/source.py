"""Where a request came from. `X-Forwarded-For` is believed as far as it was written by proxies that we know."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address

from flask import request

Networks = tuple[IPv4Network | IPv6Network, ...]
_MOST = 20


def address(proxies: Networks) -> str:
    """The nearest address that is not one of our proxies; what anybody else wrote into the header counts for nothing."""
    peer = request.remote_addr or ""
    written = request.headers.get("X-Forwarded-For", "")[:2000].split(",")
    return nearest([*(hop.strip() for hop in written[-_MOST:] if hop.strip()), peer], proxies)


def nearest(hops: Iterable[str], proxies: Networks) -> str:
    """The last hop that is not a proxy of ours, where they are in the order in which the request passed them."""
    last = ""
    for hop in reversed(list(hops)):
        try:
            found = ip_address(hop)
        except ValueError:
            return last  # whoever stands behind this one wrote something that is no address
        last = hop
        if not any(found in network for network in proxies):
            return hop
    return last
