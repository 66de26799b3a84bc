"""What apps get told: the events, written in the transaction that makes them true, and who subscribed to them.

An event holds ids, kinds, times and states, never anything about a person. `writing.py` puts one in; which apps may be told
of it, and the telling, are matters of the room of access (`ehc/access/webhook_places.py` and what follows it).
"""
