"""The open platform (电子健康卡开放平台) as mini-programs and hospitals call it: JSON in an envelope, signed with an appSecret.

A translator: it reads what those clients send, asks the rooms, and says their answer in the platform's words. Cards,
codes, checks and bindings are the rooms'. What is stored here is only what the platform has and `/v1` has not: its
tokens, its one-time codes, use reports. Sections named in comments are of the interface's description, "open-platform JSON".
"""
