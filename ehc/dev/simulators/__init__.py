"""SIMULATORS of the outside parties, for development and tests: an identity authority and an SMS gateway in one process.

They speak the wire format of docs/outside-parties.md and can be told to fail in every way it names. They prove nobody's
identity and reach nobody's phone: by default every person they were not told about is a match. Nothing of the product
imports this room; the product meets it over HTTP, as it would meet the real parties.
"""
