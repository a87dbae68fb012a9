"""What the registries behind the store may cost a start that has a copy of everything."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from wagi_gateway.sources.access import Access
from wagi_gateway.sources.errors import Unreachable
from wagi_gateway.sources.upstream import _check_that_somebody_listens


def test_a_silent_name_server_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    end = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: end.wait(10) and [])
    begin = time.monotonic()
    with pytest.raises(Unreachable, match="no answer from the name server"):
        _check_that_somebody_listens(Access("registry.test"), 0.1, "registry.test/x:1")
    assert time.monotonic() - begin < 5
    end.set()
