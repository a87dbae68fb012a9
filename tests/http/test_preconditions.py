"""The preconditions of RFC 9110 section 13: their comparisons, what is ignored, and their order, as a table."""

from __future__ import annotations

from dataclasses import replace
from email.utils import formatdate

import pytest

from tests.support.request_head import REQUEST
from wagi_gateway.cgi.request import RequestHead
from wagi_gateway.http.preconditions import Validators, parse_date

MODIFIED = 784_111_777
BEFORE, AT, AFTER = (formatdate(MODIFIED + shift, usegmt=True).encode() for shift in (-1, 0, 1))
STRONG = Validators(b'"a,b"', MODIFIED)
WEAK = Validators(b'W/"a,b"', MODIFIED)
UNDATED = Validators(b'"a,b"', None)

IF_MATCH, IF_NONE_MATCH, IF_RANGE = b"if-match", b"if-none-match", b"if-range"
UNMODIFIED, SINCE = b"if-unmodified-since", b"if-modified-since"


def asking(*fields: tuple[bytes, bytes]) -> RequestHead:
    return replace(REQUEST, headers=fields)


@pytest.mark.parametrize(
    ("validators", "fields", "status"),
    [
        pytest.param(STRONG, [], 200, id="none"),
        # 13.1.1 If-Match: the strong comparison
        pytest.param(STRONG, [(IF_MATCH, b'"a,b"')], 200, id="match"),
        pytest.param(STRONG, [(IF_MATCH, b'"x", "a,b" , W/"y"')], 200, id="match-list"),
        pytest.param(STRONG, [(IF_MATCH, b'"x"'), (IF_MATCH, b'"a,b"')], 200, id="match-two-lines"),
        pytest.param(STRONG, [(IF_MATCH, b'"x","",,\t"a,b",')], 200, id="match-void-members"),
        pytest.param(STRONG, [(IF_MATCH, b"*")], 200, id="match-any"),
        pytest.param(STRONG, [(IF_MATCH, b'"old"')], 412, id="match-another"),
        pytest.param(STRONG, [(IF_MATCH, b'"a", "b"')], 412, id="match-parts-of-a-tag"),
        pytest.param(STRONG, [(IF_MATCH, b'W/"a,b"')], 412, id="match-weak"),
        pytest.param(WEAK, [(IF_MATCH, b'W/"a,b"')], 412, id="match-weak-both"),
        pytest.param(WEAK, [(IF_MATCH, b'"a,b"')], 412, id="match-weak-here"),
        pytest.param(WEAK, [(IF_MATCH, b"*")], 200, id="match-any-weak"),
        pytest.param(STRONG, [(IF_MATCH, b"a,b")], 412, id="match-unquoted"),
        pytest.param(STRONG, [(IF_MATCH, b'w/"a,b"')], 412, id="match-lower-case"),
        pytest.param(STRONG, [(IF_MATCH, b'*, "a,b"')], 412, id="match-any-in-a-list"),
        pytest.param(STRONG, [(IF_MATCH, b"")], 412, id="match-empty"),
        # 13.1.2 If-None-Match: the weak comparison
        pytest.param(STRONG, [(IF_NONE_MATCH, b'"a,b"')], 304, id="none-match"),
        pytest.param(STRONG, [(IF_NONE_MATCH, b'W/"a,b"')], 304, id="none-match-weak"),
        pytest.param(WEAK, [(IF_NONE_MATCH, b'"a,b"')], 304, id="none-match-weak-here"),
        pytest.param(WEAK, [(IF_NONE_MATCH, b'W/"a,b"')], 304, id="none-match-weak-both"),
        pytest.param(STRONG, [(IF_NONE_MATCH, b'"x" ,W/"a,b"')], 304, id="none-match-list"),
        pytest.param(STRONG, [(IF_NONE_MATCH, b'"x"'), (IF_NONE_MATCH, b'"a,b"')], 304, id="none-match-two-lines"),
        pytest.param(STRONG, [(IF_NONE_MATCH, b" * ")], 304, id="none-match-any"),
        pytest.param(STRONG, [(IF_NONE_MATCH, b'"x"')], 200, id="none-match-another"),
        pytest.param(STRONG, [(IF_NONE_MATCH, b'"a", "b"')], 200, id="none-match-parts-of-a-tag"),
        pytest.param(STRONG, [(IF_NONE_MATCH, b"a,b")], 200, id="none-match-unquoted"),
        # 13.1.3 If-Modified-Since
        pytest.param(STRONG, [(SINCE, BEFORE)], 200, id="since-before"),
        pytest.param(STRONG, [(SINCE, AT)], 304, id="since"),
        pytest.param(STRONG, [(SINCE, AFTER)], 304, id="since-after"),
        pytest.param(STRONG, [(SINCE, b"soon")], 200, id="since-invalid"),
        pytest.param(STRONG, [(SINCE, AT), (SINCE, AT)], 200, id="since-twice"),
        pytest.param(UNDATED, [(SINCE, AT)], 200, id="since-undated"),
        # 13.1.4 If-Unmodified-Since
        pytest.param(STRONG, [(UNMODIFIED, BEFORE)], 412, id="unmodified-before"),
        pytest.param(STRONG, [(UNMODIFIED, AT)], 200, id="unmodified"),
        pytest.param(STRONG, [(UNMODIFIED, AFTER)], 200, id="unmodified-after"),
        pytest.param(STRONG, [(UNMODIFIED, b"784111776")], 200, id="unmodified-invalid"),
        pytest.param(STRONG, [(UNMODIFIED, BEFORE), (UNMODIFIED, BEFORE)], 200, id="unmodified-twice"),
        pytest.param(UNDATED, [(UNMODIFIED, BEFORE)], 200, id="unmodified-undated"),
        # 13.2.2 Precedence
        pytest.param(STRONG, [(IF_MATCH, b'"a,b"'), (UNMODIFIED, BEFORE)], 200, id="match-before-unmodified"),
        pytest.param(STRONG, [(IF_MATCH, b'"x"'), (UNMODIFIED, AFTER)], 412, id="match-before-unmodified-2"),
        pytest.param(STRONG, [(IF_NONE_MATCH, b'"x"'), (SINCE, AT)], 200, id="none-match-before-since"),
        pytest.param(STRONG, [(IF_NONE_MATCH, b'"a,b"'), (SINCE, BEFORE)], 304, id="none-match-before-since-2"),
        pytest.param(STRONG, [(IF_MATCH, b'"x"'), (IF_NONE_MATCH, b'"a,b"')], 412, id="match-before-none-match"),
        pytest.param(STRONG, [(IF_MATCH, b'"a,b"'), (IF_NONE_MATCH, b'"a,b"')], 304, id="match-then-none-match"),
        pytest.param(STRONG, [(UNMODIFIED, BEFORE), (IF_NONE_MATCH, b'"a,b"')], 412, id="unmodified-before-none-match"),
        pytest.param(STRONG, [(UNMODIFIED, AT), (SINCE, AT)], 304, id="unmodified-then-since"),
        pytest.param(STRONG, [(IF_MATCH, b"*"), (SINCE, AT)], 304, id="match-then-since"),
    ],
)
def test_rfc_9110_section_13(validators: Validators, fields: list[tuple[bytes, bytes]], status: int) -> None:
    assert validators.evaluate(asking(*fields)) == status
    with_range = [*fields, (b"range", b"bytes=0-0"), (IF_RANGE, b'"x"')]
    assert validators.evaluate(asking(*with_range)) == status


@pytest.mark.parametrize(
    ("validators", "values", "is_permitted"),
    [
        pytest.param(STRONG, [], True, id="none"),
        pytest.param(STRONG, [b'"a,b"'], True, id="tag"),
        pytest.param(STRONG, [b'"old"'], False, id="another-tag"),
        pytest.param(STRONG, [b'W/"a,b"'], False, id="weak"),
        pytest.param(WEAK, [b'W/"a,b"'], False, id="weak-both"),
        pytest.param(WEAK, [b'"a,b"'], False, id="weak-here"),
        pytest.param(STRONG, [b'"a,b", "c"'], False, id="list"),
        pytest.param(STRONG, [b"*"], False, id="any"),
        pytest.param(STRONG, [AT], True, id="date"),
        pytest.param(STRONG, [BEFORE], False, id="earlier"),
        pytest.param(STRONG, [AFTER], False, id="later"),
        pytest.param(STRONG, [b"soon"], False, id="invalid"),
        pytest.param(STRONG, [AT, AT], False, id="twice"),
        pytest.param(UNDATED, [AT], False, id="undated"),
        pytest.param(UNDATED, [b"soon"], False, id="undated-invalid"),
    ],
)
def test_rfc_9110_section_13_1_5_if_range(validators: Validators, values: list[bytes], is_permitted: bool) -> None:
    assert validators.permits_range(asking(*((IF_RANGE, value) for value in values))) == is_permitted


@pytest.mark.parametrize(
    "text",
    [b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994"],
    ids=["IMF-fixdate", "RFC 850", "asctime"],
)
def test_the_formats_of_a_date(text: bytes) -> None:
    assert parse_date(text) == MODIFIED


def test_a_year_of_two_digits_is_at_most_fifty_years_from_now() -> None:
    years = {int(formatdate(parse_date(b"Monday, 01-Jan-%02d 00:00:00 GMT" % year) or 0)[12:16]) for year in range(100)}
    this_year = int(formatdate()[12:16])
    assert len(years) == 100
    assert max(years) <= this_year + 50


@pytest.mark.parametrize(
    "text",
    b"|0|soon|Sun, 06 Nov 1994 08:49:37|Sun, 06 Nov 1994 08:49:37 +0000|Sun, 6 Nov 1994 08:49:37 GMT"
    b"|Sun, 31 Feb 1994 08:49:37 GMT|Sun, 06 Nov 1994 25:49:37 GMT|Sun, 06 Abc 1994 08:49:37 GMT|1994-11-06T08:49:37Z"
    b"|sun, 06 nov 1994 08:49:37 gmt|Sun, 06 Nov 1994 08:49:37 GMT |Sun, 06 Nov 0000 08:49:37 GMT"
    b"|Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT|Sun, \xb2\xb3 Nov 1994 08:49:37 GMT".split(b"|"),
)
def test_what_is_no_date(text: bytes) -> None:
    assert parse_date(text) is None
