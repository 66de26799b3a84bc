"""The room `verify`, joined."""

from collections.abc import Iterator

from flask import Blueprint

from ehc.access.clients import institution_kinds, institution_names
from ehc.db import UnitOfWork
from ehc.disclosure import versions
from ehc.disclosure.table import Table
from ehc.edge.parts import Parts
from ehc.keystore.refreshed import Refreshed
from ehc.verify import api as verify_api
from ehc.verify.journal import Journal
from ehc.verify.service import Tools

_REREAD_SECONDS = 5.0
"""Half of `TAKES_EFFECT`: while one thread reads the table anew, which takes a while, the others answer by the old one."""


def blueprints(parts: Parts) -> Iterator[Blueprint]:
    """Every blueprint of the room."""
    deps = parts.shared(verify_deps)
    yield verify_api.verifications_blueprint(deps)
    yield verify_api.history_blueprint(deps)


def verify_deps(parts: Parts) -> verify_api.VerifyDeps:
    """What the room is handed."""
    keys, rules = parts.keys, Refreshed(lambda: _rules(parts.work), every=_REREAD_SECONDS)
    return verify_api.VerifyDeps(
        work=parts.work,
        once=parts.once,
        tools=Tools(
            clock=parts.clock,
            rings=keys.code_ring,
            cti_key=lambda: keys.secrets.get().cti,
            sealer=keys.sealer,
            blind_index=lambda: keys.of_caller().blind_index,
            protection_keys=lambda: keys.secrets.get().protection_keys,
            rules=rules.get,
            national_seconds=parts.settings.national_seconds,
        ),
        journal=Journal(parts.engine),
        authenticate=parts.authenticate,
        institution_names=institution_names,
    )


def _rules(work: UnitOfWork) -> Table:
    with work() as session:
        return versions.in_force(session, institution_kinds)
