"""The Range field: valid ones, ignored ones, and ranges beyond the end (RFC 9110 section 14)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.request_head import REQUEST
from wagi_gateway.http.ranges import satisfiable_ranges

FIRST = b"bytes=0-0"


@pytest.mark.parametrize(
    ("values", "size", "ranges"),
    [
        pytest.param([], 10, None, id="none"),
        pytest.param([FIRST], 10, [(0, 0)], id="first"),
        pytest.param([b"bytes=3-"], 10, [(3, 9)], id="from"),
        pytest.param([b"bytes=3-100"], 10, [(3, 9)], id="beyond"),
        pytest.param([b"bytes=-3"], 10, [(7, 9)], id="suffix"),
        pytest.param([b"bytes=-100"], 10, [(0, 9)], id="long-suffix"),
        pytest.param([b"BYTES=0-0 ,\t5-6"], 10, [(0, 0), (5, 6)], id="several"),
        pytest.param([b"bytes=0-0,10-20"], 10, [(0, 0)], id="one-unsatisfiable"),
        pytest.param([b"bytes=10-20,-0"], 10, [], id="unsatisfiable"),
        pytest.param([b"bytes=0-"], 0, [], id="empty-file"),
        pytest.param([b"bytes=-0"], 0, [], id="empty-file-no-suffix"),
        pytest.param([b"bytes=-1"], 0, None, id="empty-file-suffix"),
        pytest.param([b"bytes=3-2"], 10, None, id="backwards"),
        pytest.param([b"bytes=0-0,3-2"], 10, None, id="one-backwards"),
        pytest.param([b"items=0-0"], 10, None, id="another-unit"),
        pytest.param([b"bytes=0-0,x"], 10, None, id="invalid"),
        pytest.param([b"bytes=" + b"9" * 5000 + b"-"], 10, None, id="huge"),
        pytest.param([FIRST, FIRST], 10, None, id="twice"),
    ],
)
def test_ranges(values: list[bytes], size: int, ranges: list[tuple[int, int]] | None) -> None:
    request = replace(REQUEST, headers=tuple((b"range", value) for value in values))
    assert satisfiable_ranges(request, size) == ranges


@pytest.mark.parametrize("method", ["HEAD", "POST"])
def test_ranges_are_for_get(method: str) -> None:
    assert satisfiable_ranges(replace(REQUEST, method=method, headers=((b"range", FIRST),)), 10) is None
