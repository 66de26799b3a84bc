"""Opening what may be told of a holder, after the check was settled. What may not be told stays sealed."""

from uuid import UUID

from ehc.crypto.sealed import Sealer
from ehc.residents.store import name_place, number_place, place
from ehc.verify.disclosure import Person, told_of
from ehc.verify.scans import Holder


def open_holder(sealer: Sealer, holder: Holder, told: frozenset[str]) -> Person:
    """The holder, with the fields that are told and no other. Raises `SealBroken`."""
    more = holder.more or {}

    def opened(name: str, where: str) -> str | None:
        value = more.get(name)
        return sealer.unseal(bytes.fromhex(value[2:]), where) if value and told_of(name, told) else None

    number = opened("id_number", number_place(UUID(more["document_id"]))) if more.get("document_id") else None
    return Person(
        name=sealer.unseal(holder.name, name_place(holder.resident_id)),
        sex=holder.sex,
        birth_date=holder.birth_date,
        id_type=more.get("id_type") if number else None,
        id_number=number,
        phone=opened("phone", place("phone", holder.resident_id)),
        address=opened("address", place("address", holder.resident_id)),
        nation=more.get("nation"),
    )
