"""The access log's line of each request."""

from __future__ import annotations

import pytest

from tests.conftest import Serve
from tests.support import guests
from tests.support.config import guest
from tests.support.reloading import hang_up, write

SECRET = "?token=s3cret"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_query_is_left_out_where_it_is_not_wanted(serve: Serve, log_format: str) -> None:
    log = f'[log]\nformat = "{log_format}"\n'
    config = guest("/hello", "hello") + guest("/trap", "trap")
    server = serve(f"{log}query = false\n{config}", hello=guests.HELLO, trap=guests.TRAP)
    for path in ("/hello", "/trap", "/nothing"):
        server.get(path + SECRET)
        server.wait_for_log(rf'GET {path}[ "]')
    assert "s3cret" not in server.log
    write(server, "modules.toml", log + config)
    hang_up(server)
    server.wait_for_log("reloaded: ")
    server.get("/hello" + SECRET)
    server.wait_for_log(r"GET /hello\?token=s3cret")
