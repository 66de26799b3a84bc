"""What is forgotten when it has had its time. One list: for the worker, and for `ehc db upkeep` where none runs."""

from ehc.access import assertions, enrolments
from ehc.access.staff_upkeep import PURGES as STAFF_PURGES
from ehc.issuer.batch import purging
from ehc.outbox import writing as outbox
from ehc.sessions.upkeep import PURGES as SESSION_PURGES
from ehc.verify.partitions import purge_spent_codes
from ehc.web.idempotency import purge_keys

PURGES = (
    purge_spent_codes,
    purge_keys,
    purging.purge,
    outbox.purge,
    outbox.purge_deleted,
    assertions.purge,
    enrolments.purge,
    *STAFF_PURGES,
    *SESSION_PURGES,
)
"""Each takes a session and the time, and is called until it returns 0."""
