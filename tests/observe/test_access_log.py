"""The access log's line of each request."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from tests.conftest import Serve
from tests.support import guests
from tests.support.access import access
from tests.support.config import guest
from tests.support.reloading import hang_up, write
from wagi_gateway.config.settings import LogConfig
from wagi_gateway.observe import log
from wagi_gateway.observe.access_log import log_access
from wagi_gateway.observe.log_record import ACCESS

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


class Seen(logging.Handler):
    """A handler or filter of another program."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def filter(self, record: logging.LogRecord) -> bool:
        self.records.append(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        pass


def _propagates(seen: Seen) -> None:
    log.logger.propagate = True
    logging.getLogger().handlers[:] = [seen]


def _stands_alone(seen: Seen) -> None:
    logging.getLogger(ACCESS).propagate = False
    logging.getLogger(ACCESS).addHandler(seen)


OTHERS: dict[str, tuple[Callable[[Seen], None], bool]] = {
    "handler of the access log": (logging.getLogger(ACCESS).addHandler, True),
    "handler beside the gateway's": (log.logger.addHandler, True),
    "handler of the root logger": (_propagates, True),
    "handler in place of the gateway's": (_stands_alone, False),
    "filter of the access log": (logging.getLogger(ACCESS).addFilter, True),
    "filter of the gateway's handler": (lambda seen: log.logger.handlers[0].addFilter(seen), True),
}


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize(("add", "is_beside"), OTHERS.values(), ids=OTHERS)
def test_handlers_and_filters_of_a_program_around_the_gateway_get_records(
    add: Callable[[Seen], None], is_beside: bool, log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def written() -> list[str]:
        _log(count=2)
        return [line.partition("Z")[2] for line in capsys.readouterr().err.splitlines()]

    log.configure(LogConfig.model_validate({"format": log_format}))
    alone = written()
    seen = Seen()
    add(seen)
    assert written() == (alone if is_beside else [])
    assert [record.getMessage() for record in seen.records] == ["GET /a/b?c=1"] * 2
    assert vars(seen.records[0])["fields"] == access().fields()


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_level_and_a_formatter_of_a_program_around_the_gateway_count(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure(LogConfig.model_validate({"format": log_format}))
    (handler,) = log.logger.handlers
    handler.setFormatter(logging.Formatter("mine: %(message)s"))
    _log(count=1)
    assert capsys.readouterr().err == "mine: GET /a/b?c=1\n"
    handler.setLevel(logging.WARNING)
    _log(count=1)
    assert capsys.readouterr().err == ""


def _log(count: int) -> None:
    for _ in range(count):
        log_access(access())
