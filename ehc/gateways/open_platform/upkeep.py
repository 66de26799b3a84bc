"""What is forgotten when its time is over: tokens, one-time codes, signatures. Call each until it returns 0."""

from ehc.gateways.open_platform import entrance, one_time, tokens

PURGES = (tokens.purge, one_time.purge, entrance.purge)
