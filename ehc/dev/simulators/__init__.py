"""SIMULATORS of the outside parties, for development and tests: identity authority, SMS gateway, bank, and the log-ins of
WeChat and Alipay, in one process.

They speak the wire formats of docs/outside-parties.md, docs/bank-gateway.md and docs/sessions.md, and can be told to fail in
every way these name. They prove nobody's identity, reach nobody's phone, move nobody's money and log nobody in: by default
every person they were not told about is a match. Nothing of the product imports this room; the product meets it over HTTP, as
it would meet the real parties.
"""
