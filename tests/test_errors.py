"""The tree of errors: what a client gets of each, and that the module's docstring shows it."""

from __future__ import annotations

import re

import pytest

from wagi_gateway import errors
from wagi_gateway.errors import (
    BodyTooLarge,
    GatewayError,
    GuestFailed,
    Problem,
    RequestError,
    RequestTimeout,
    StartupError,
    counted,
    redact,
)
from wagi_gateway.http.reason_phrase import reason_phrase


def below(error: type[GatewayError]) -> list[type[GatewayError]]:
    """The subclasses of an error in this module, in the order of the tree."""
    return [
        one for child in error.__subclasses__() if child.__module__ == errors.__name__ for one in (child, *below(child))
    ]


REQUEST_ERRORS = [error for error in below(RequestError) if issubclass(error, RequestError)]


@pytest.mark.parametrize("error", REQUEST_ERRORS)
def test_a_client_gets_a_status_and_the_public_text(error: type[RequestError]) -> None:
    assert 400 <= error.status < 600
    assert error.public.partition(":")[0] == reason_phrase(error.status)
    assert all(name == name.lower() for name, _ in error.headers)


@pytest.mark.parametrize("error", REQUEST_ERRORS)
def test_an_error_is_documented(error: type[RequestError]) -> None:
    assert error.__dict__["__doc__"]
    assert re.search(rf"── {error.__name__} +{error.status}  \S", errors.__doc__ or "")


def test_the_tree_shows_every_error_and_no_other() -> None:
    shown = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert sorted(shown) == sorted(error.__name__ for error in below(GatewayError))


def test_a_client_is_told_the_bound_of_a_body() -> None:
    assert BodyTooLarge("inside", bound=9).public == "Content Too Large: the request body may have at most 9 bytes"
    assert BodyTooLarge.public == "Content Too Large"


@pytest.mark.parametrize(("number", "text"), [(0, "0 routes"), (1, "1 route"), (2, "2 routes")])
def test_counted(number: int, text: str) -> None:
    assert counted(number, "route") == text


def test_the_message_is_not_the_public_text() -> None:
    error = GuestFailed("/srv/secret.wasm: trap")
    assert (str(error), error.public) == ("/srv/secret.wasm: trap", "Internal Server Error: the module failed")


@pytest.mark.parametrize(
    ("error", "limit"),
    [(GuestFailed(), None), (GuestFailed("a", limit="stdout"), "stdout"), (RequestTimeout(), "body_time")],
    ids=["none", "named", "of the class"],
)
def test_a_limit_is_named(error: RequestError, limit: str | None) -> None:
    assert error.limit == limit


def test_a_start_up_error_has_a_line_for_each_problem() -> None:
    problems = Problem("modules.toml", "a"), Problem("", "b")
    error = StartupError(*problems, warnings=[Problem("", "c")])
    assert str(error) == "modules.toml: a\nb"
    assert (error.problems, error.warnings, error.exit_code) == (problems, (Problem("", "c"),), 3)


def test_a_long_problem_is_cut_off_after_its_secrets_are_taken_out() -> None:
    url = "http://user:" + "p" * 5000 + "@host/"
    assert Problem("", f"{url} {'x' * 5000}").what == f"http://…@host/ {'x' * 3985}… (1015 more characters)"


def test_an_interface_of_a_component_is_no_user_name() -> None:
    assert redact("imports wasi:http/types@0.2.3.f, which") == "imports wasi:http/types@0.2.3.f, which"
    assert redact("wasi:secret/x@10.0.0.1") == "…@10.0.0.1"
