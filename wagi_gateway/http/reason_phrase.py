"""The reason phrase of a status code (RFC 9110 section 15)."""

from __future__ import annotations

import http

RENAMED = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
"""The phrases for which `http.HTTPStatus` has those of RFC 7231 before Python 3.13."""


def reason_phrase(status: int) -> str:
    """The reason phrase of a status code; empty for a code without one.

    >>> reason_phrase(413)
    'Content Too Large'
    """
    try:
        return RENAMED.get(status) or http.HTTPStatus(status).phrase
    except ValueError:
        return ""
