"""The status lines of responses, which uvicorn sends."""

from __future__ import annotations

import inspect
from importlib.metadata import version

import pytest
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from wagi_gateway.http.reason_phrase import RENAMED, reason_phrase
from wagi_gateway.server.status_line import rename_phrases


def test_status_lines_have_the_phrases_of_rfc_9110(monkeypatch: pytest.MonkeyPatch) -> None:
    for status in RENAMED:
        monkeypatch.setitem(STATUS_LINE, status, b"old")
    rename_phrases()
    assert all(line == b"HTTP/1.1 %d %s\r\n" % (n, reason_phrase(n).encode()) for n, line in STATUS_LINE.items())


def test_uvicorn_reads_the_table_for_each_response() -> None:
    assert "STATUS_LINE[status_code]" in inspect.getsource(RequestResponseCycle.send), f"uvicorn {version('uvicorn')}"
