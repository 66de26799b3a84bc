"""The service without what a check asks of its caller: no token, no address, no limits. To measure against, never to serve."""

import os

from flask import Flask, g

from ehc.access import clients
from ehc.app import create_app, database
from ehc.db import unit_of_work
from ehc.settings import Settings


def _unguarded() -> Flask:
    made = create_app(Settings.from_env(os.environ))
    with made.app_context(), unit_of_work(database.engine)() as session:
        caller = clients.by_id(session, clients.named(session, os.environ["EHC_BENCH_CALLER"]).id)
        database.engine.dispose()

    def let_in() -> None:
        g.caller = caller

    made.before_request_funcs["verifications"] = [let_in]
    return made


app = _unguarded()
