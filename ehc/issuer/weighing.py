"""What the proof of an application is worth, found out before the transaction that acts on it."""

from ehc.db import UnitOfWork
from ehc.issuer import accounts, proofs
from ehc.issuer.applications import Proof
from ehc.issuer.proofs import Weighed
from ehc.issuer.registry import Registry
from ehc.residents.store import Person


def weigh_application(work: UnitOfWork, registry: Registry, proof: Proof, person: Person) -> Weighed:
    """The proof of an application. The authority is not asked about somebody of whom it has nothing new to say."""
    if registry.authority is not None:
        with work() as session:
            asked = accounts.needs_proof(session, person, registry=registry)
        if not asked:
            return proofs.spare(registry, proof)
    return proofs.weigh(registry, proof, person)
