"""What is forgotten when it has had its time. One list: for the worker, and for `ehc db upkeep` where none runs."""

from ehc.access import assertions, enrolments
from ehc.access.staff_upkeep import PURGES as STAFF_PURGES
from ehc.gateways import calls as gateway_calls
from ehc.gateways.open_platform.upkeep import PURGES as OPEN_PLATFORM_PURGES
from ehc.gateways.provincial_soap import store as provincial_soap
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
    gateway_calls.purge,
    *OPEN_PLATFORM_PURGES,
    provincial_soap.purge,
    *STAFF_PURGES,
    *SESSION_PURGES,
)
"""Each takes a session and the time, and is called until it returns 0."""
