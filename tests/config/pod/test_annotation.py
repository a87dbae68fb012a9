"""The JSON of the annotation with the routes."""

from __future__ import annotations

import pytest

from wagi_gateway.config.pod.annotation import BadAnnotation, parse_modules
from wagi_gateway.config.pod.document import Number


def test_numbers_keep_their_notation() -> None:
    assert parse_modules('{"a": {"http_max_concurrency": 5, "b": [1.50, true, null, "é"]}}') == {
        "a": {"http_max_concurrency": Number("5"), "b": [Number("1.50"), True, None, "é"]}
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not valid JSON: line 1, column 1: Expecting value"),
        ('{"a": 1,\n"b"}', "is not valid JSON: line 2, column 4: Expecting ':' delimiter"),
        ("[]", "must be a JSON object"),
        ("3", "must be a JSON object"),
        ('{"a": 1, "a": 2}', "a stands twice in one object; remove one"),
        ('{"a": {"b": 1, "b": 1}}', "b stands twice in one object; remove one"),
        ('{"a": NaN}', "is not valid JSON: NaN is no number"),
        ('{"a": -Infinity}', "is not valid JSON: -Infinity is no number"),
        ('{"\\ud800": 1}', "holds half of a surrogate pair; write the character itself"),
        ('{"a": "\\udfff"}', "holds half of a surrogate pair; write the character itself"),
        ('{"a": ["\\udfff"]}', "holds half of a surrogate pair; write the character itself"),
        ('{"a": ' * 200_000, "is nested too deeply"),
    ],
    ids=lambda text: repr(text[:30]),
)
def test_refused(text: str, problem: str) -> None:
    with pytest.raises(BadAnnotation, match=f"^(?:{problem})"):
        parse_modules(text)
