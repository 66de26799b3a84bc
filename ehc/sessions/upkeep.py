"""What is forgotten of residents' log-ins."""

from ehc.sessions import identities, tries

PURGES = (tries.purge, identities.purge_sessions, identities.purge_identities)
"""Each takes a session and the time, and is called until it returns 0. Sessions go before identities."""
