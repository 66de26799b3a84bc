"""The proof of an application, weighed before the transaction that registers its person."""

from ehc.db import UnitOfWork
from ehc.issuer import accounts, proofs
from ehc.issuer.applications import Application
from ehc.issuer.proofs import Weighed
from ehc.issuer.registry import Registry
from ehc.residents.store import Person


def weighed_application(work: UnitOfWork, registry: Registry, wanted: Application, person: Person) -> Weighed:
    """The proof of an application. The authority is not asked about somebody of whom it has nothing new to say."""
    if registry.authority is not None:
        with work() as session:
            asked = accounts.needs_proof(session, person, registry=registry)
        if not asked:
            return proofs.spare(registry, wanted.proof)
    return proofs.weigh(registry, wanted.proof, person)
