"""The gateways there are, and the outside codes that each knows an institution by. Pure."""

import re
from enum import StrEnum


class GatewayKind(StrEnum):
    """Which interface an account speaks."""

    OPEN_PLATFORM = "open-platform"
    """电子健康卡开放平台: JSON."""
    PROVINCIAL = "provincial"
    """省级平台接口: SOAP."""


class PlaceKind(StrEnum):
    """What an outside code stands for."""

    HOSPITAL = "hospital"
    """`hospitalId` of the open platform: an institution."""
    ORG = "org"
    """`orgId` of the provincial interface (机构ID): an institution."""
    APP = "app"
    """`appCode` of the provincial interface (APP编码): no institution."""


PLACES: dict[GatewayKind, frozenset[PlaceKind]] = {
    GatewayKind.OPEN_PLATFORM: frozenset({PlaceKind.HOSPITAL}),
    GatewayKind.PROVINCIAL: frozenset({PlaceKind.ORG, PlaceKind.APP}),
}

_CODES: dict[PlaceKind, re.Pattern[str]] = {
    PlaceKind.HOSPITAL: re.compile(r"[0-9A-Za-z_-]{1,32}"),
    PlaceKind.ORG: re.compile(r"[0-9A-Za-z_-]{1,32}"),
    PlaceKind.APP: re.compile(r"[0-9A-Za-z_-]{1,6}"),
}
_NAMES: dict[GatewayKind, re.Pattern[str]] = {
    GatewayKind.OPEN_PLATFORM: re.compile(r"[0-9A-Za-z]{16,32}"),
    GatewayKind.PROVINCIAL: re.compile(r"[0-9A-Za-z_.@-]{1,32}"),
}


def name_fits(kind: GatewayKind, name: str) -> bool:
    """Whether an account may be called so: `appId` (open-platform JSON 1.4) or `userName` (provincial SOAP 2)."""
    return _NAMES[kind].fullmatch(name) is not None


def code_fits(kind: PlaceKind, code: str) -> bool:
    """Whether this may be a code of that kind."""
    return _CODES[kind].fullmatch(code) is not None
