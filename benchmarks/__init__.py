"""Benchmarks of the gateway beside other servers: `scripts/bench`.

A module imports from its own folder and from folders further left:
guests < harness < loops < servers < peers < measures < report < rows.
"""
