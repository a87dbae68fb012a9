"""The options of `run` for limits."""

from __future__ import annotations

from wagi_gateway.cli.limit_options import LIMITS, limit_option
from wagi_gateway.config.settings import Limits


def test_every_limit_of_one_request_has_an_option() -> None:
    assert set(LIMITS) == Limits.model_fields.keys() - {"concurrency", "queue", "queue_time"}


def test_an_option_has_the_name_of_its_limit() -> None:
    assert [limit_option(name) for name in ("time", "header_block", "body")] == [
        "--time",
        "--header-block",
        "--limit-body",
    ]
