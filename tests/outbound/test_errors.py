"""Error codes of outbound calls, to which compiled modules are tied, and the outcomes in logs and metrics."""

from __future__ import annotations

import pytest

from wagi_gateway.outbound import errors
from wagi_gateway.outbound.errors import OutboundError

CODES = """
InvalidHandle          1  refused
BufferTooSmall         4  refused
HeaderNotFound         5  refused
NotUtf8                6  refused
DestinationNotAllowed  7  denied
InvalidMethod          8  refused
InvalidEncoding        9  refused
InvalidUrl            10  refused
RequestFailed         11  failed
CallTimeout           11  timeout
CallStopped           11  stopped
BodyFailed            12  failed
TooManySessions       13  refused
"""
ROWS = [tuple(line.split()) for line in CODES.strip().splitlines()]


@pytest.mark.parametrize(("name", "code", "outcome"), ROWS, ids=[name for name, *_ in ROWS])
def test_code_and_outcome(name: str, code: str, outcome: str) -> None:
    error = getattr(errors, name)("text", limit="http_calls")
    assert (error.code, error.outcome, str(error), error.limit) == (int(code), outcome, "text", "http_calls")


def test_the_table_is_complete() -> None:
    found = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, OutboundError) and value is not OutboundError
    }
    assert found == {name for name, *_ in ROWS}
