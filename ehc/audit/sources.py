"""From where somebody acts, as the audit log tells it: nobody reads addresses off it."""

from ipaddress import IPv6Address, ip_address, ip_network

from ehc.crypto.sealed import BlindIndex


def source_index(blind_index: BlindIndex, address: str) -> bytes:
    """An address as 32 bytes that tell it only to whoever knows it already; all of an IPv6 /64 is one (RFC 6177)."""
    return blind_index.of("address", _one(address))


def source_name(index: bytes) -> str:
    """How the audit log writes such an address."""
    return index.hex()[:32]


def _one(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ip_network((found, 64), strict=False)) if isinstance(found, IPv6Address) else str(found)
