"""The preconditions of a GET or HEAD request (RFC 9110 section 13)."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..cgi.request import RequestHead

_TAG = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_IMF_FIXDATE = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", re.ASCII)
_RFC_850 = re.compile(r"[A-Z][a-z]{5,8}, \d\d-[A-Z][a-z]{2}-\d\d \d\d:\d\d:\d\d GMT", re.ASCII)
_ASCTIME = re.compile(r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}", re.ASCII)
_FUTURE = 50
"""Years from now beyond which a year of two digits is one of the past (RFC 9110 section 5.6.7)."""


@dataclass(frozen=True, slots=True)
class Validators:
    """The validators of a representation (RFC 9110 section 8.8)."""

    etag: bytes
    """The entity tag with its quotation marks, and with `W/` if it is weak."""
    modified: int | None
    """The modification time in seconds since 1970; None for a representation without one."""

    def evaluate(self, request: RequestHead) -> Literal[200, 304, 412]:
        """The status that the preconditions lead to, in the order of RFC 9110 section 13.2.2.

        200 stands for a response as without preconditions. If-Range is no matter of this function.
        """
        if tags := request.values(b"if-match"):
            if not _contains(tags, self.etag, is_strong=True):
                return 412
        elif self._is_newer(request.values(b"if-unmodified-since")) is True:
            return 412
        if tags := request.values(b"if-none-match"):
            if _contains(tags, self.etag, is_strong=False):
                return 304
        elif self._is_newer(request.values(b"if-modified-since")) is False:
            return 304
        return 200

    def _is_newer(self, dates: Sequence[bytes]) -> bool | None:
        """Whether the representation is newer than the date of a field; None if the field is absent or ignored."""
        date = parse_date(dates[0]) if len(dates) == 1 else None
        return None if date is None or self.modified is None else self.modified > date

    def permits_range(self, request: RequestHead) -> bool:
        """Whether If-Range holds the same strong entity tag or date, or is absent (RFC 9110 section 13.1.5)."""
        values = request.values(b"if-range")
        if not values:
            return True
        if len(values) > 1:
            return False
        if values[0].endswith(b'"'):
            return values[0] == self.etag and _is_strong(self.etag)
        return self.modified is not None and parse_date(values[0]) == self.modified


def _contains(values: Sequence[bytes], etag: bytes, *, is_strong: bool) -> bool:
    """Whether a field of entity tags has `etag` or `*`. A malformed field has none (RFC 9110 section 8.8.3.2)."""
    field = b", ".join(values)
    if field.strip(b" \t") == b"*":
        return True
    if _TAG.sub(b"", field).strip(b" \t,"):
        return False
    if is_strong:
        return _is_strong(etag) and etag in _TAG.findall(field)
    return etag.removeprefix(b"W/") in (tag.removeprefix(b"W/") for tag in _TAG.findall(field))


def _is_strong(etag: bytes) -> bool:
    return not etag.startswith(b"W/")


def parse_date(value: bytes) -> int | None:
    """An HTTP-date in seconds since 1970, in any of the three formats; None for another value (RFC 9110 section 5.6.7).

    >>> parse_date(b"Sun, 06 Nov 1994 08:49:37 GMT")
    784111777
    """
    text = value.decode("latin-1")
    try:
        if _IMF_FIXDATE.fullmatch(text):
            return calendar.timegm(time.strptime(text, "%a, %d %b %Y %H:%M:%S GMT"))
        if _ASCTIME.fullmatch(text):
            return calendar.timegm(time.strptime(text, "%a %b %d %H:%M:%S %Y"))
        if _RFC_850.fullmatch(text):
            date = time.strptime(text, "%A, %d-%b-%y %H:%M:%S GMT")
            return calendar.timegm((_full_year(date.tm_year % 100), *date[1:6]))
    except ValueError:  # no such month, day or time
        pass
    return None


def _full_year(year: int) -> int:
    now = time.gmtime().tm_year
    full = now - now % 100 + year
    return full - 100 if full > now + _FUTURE else full
