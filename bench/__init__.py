"""Benchmarks: every number is a ratio to a bare baseline, measured in the same run on the same machine."""
