"""The options of `run` for limits, by the names of `[limits]`."""

from __future__ import annotations

LIMITS = (
    "time memory memories tables table_elements files body body_time header_block stdout stderr temporary http_time"
    " http_connect_time http_request http_response http_headers http_calls"
).split()
"""The limits of `[limits]` that one request may meet; the others are about several requests."""


def limit_option(name: str) -> str:
    """The option for a limit: `--time`; `--body` has another meaning."""
    return "--limit-body" if name == "body" else f"--{name.replace('_', '-')}"
