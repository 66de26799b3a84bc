"""The operations: their codes, what each requires, what an app must be allowed for it (provincial SOAP 4)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from ehc.callers import Scope
from ehc.gateways.provincial_soap import changing, checking, codes, families, registering, temporaries, uses
from ehc.gateways.provincial_soap.asking import Operation

_REGISTERED = ("name", "telephone", "id_type", "nation", "sex", "birthday", "address")
"""Type 01 needs no `id_number` beside `id_card`, so the numbers are looked at by themselves (`people.identity`)."""
_USED = ("time", "atr", "hc_number", "sam", "use_citycode", "use_cityname", "nation", "id_card")
_WHERE = ("hospital_code", "hospital_name", "channel_code", "channel_name")


class Entry(NamedTuple):
    """An operation: what does it, its scope, and the fields that must not be empty (1001)."""

    act: Operation
    scope: Scope
    required: tuple[str, ...] = ()


OPERATIONS: Mapping[str, Entry] = MappingProxyType(
    {
        "RHC_E0001": Entry(registering.register_online, Scope.CARDS, _REGISTERED),
        "RHC_E0002": Entry(codes.apply_for_code, Scope.CODES, ("qrcode_type",)),
        "RHC_E0003": Entry(checking.check_code, Scope.VERIFY, ("qr_code",)),
        "RHC_E0004": Entry(changing.cancel, Scope.CARDS, ("qr_code",)),
        "RHC_E0005": Entry(codes.fetch_codes, Scope.CODES),
        "RHC_E0006": Entry(registering.register_on_site, Scope.CARDS, (*_REGISTERED, "auth_id_card", "auth_name")),
        "RHC_E0007": Entry(families.bind, Scope.CARDS, _REGISTERED),
        "RHC_E0008": Entry(families.unbind, Scope.CARDS),
        "RHC_E0009": Entry(uses.upload, Scope.VERIFY, (*_USED, *_WHERE)),
        "RHC_E0010": Entry(families.list_members, Scope.CARDS),
        "RHC_E0011": Entry(changing.change, Scope.CARDS, ("ecardId", "alterNo", "alterTime")),
        "RHC_E0012": Entry(temporaries.make, Scope.CARDS, ("name", "sex", "age", "clinicTime")),
        "RHC_E0013": Entry(temporaries.check, Scope.VERIFY, ("qr_code",)),
        "RHC_E0014": Entry(temporaries.bind, Scope.CARDS, ("qr_code", "qr_code_temp", "name", "id_type", "id_number")),
        "RHC_E0015": Entry(families.find_newborns, Scope.CARDS),
        "RHC_E0016": Entry(registering.register_newborn, Scope.CARDS, _REGISTERED),
        "RHC_E0017": Entry(uses.count, Scope.CARDS, ("orgId", "startDate", "endDate")),
    }
)

FIRST: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        "RHC_E0007": (("self_id_type", "7001"), ("self_id_number", "7002")),
        "RHC_E0008": (
            ("self_id_type", "7001"),
            ("self_id_number", "7002"),
            ("id_type", "8001"),
            ("id_number", "8002"),
        ),
        "RHC_E0010": (("self_id_type", "7001"), ("self_id_number", "7002")),
    }
)
"""Fields of an operation that have a code of their own where they are empty."""
