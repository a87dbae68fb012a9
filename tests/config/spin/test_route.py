"""Spin's routes as routes of a modules.toml."""

from __future__ import annotations

import pytest

from wagi_gateway.config.spin.route import convert_route


@pytest.mark.parametrize(
    ("text", "base", "route"),
    [
        ("/hello", "/", "/hello"),
        ("hello/", "/", "/hello"),
        ("/", "/", "/"),
        ("/...", "/", "/..."),
        ("/a/...", "/base/", "/base/a/..."),
        ("/", "/base", "/base"),
    ],
)
def test_the_same_route(text: str, base: str, route: str) -> None:
    assert convert_route(text, base) == (route, None)


@pytest.mark.parametrize(
    ("text", "route", "comment"),
    [
        ("/users/:id", "/users/...", "/:id in PATH_INFO and should answer 404 to any other path"),
        ("/users/:id/posts/:post", "/users/...", "/:id/posts/:post in PATH_INFO and should answer 404"),
        ("/:lang/...", "/...", "/:lang/... in PATH_INFO"),
    ],
)
def test_a_parameter_becomes_a_prefix_with_a_comment(text: str, route: str, comment: str) -> None:
    found = convert_route(text)
    assert (found.route, found.comment and comment in found.comment) == (route, True)
    assert found.comment
    assert found.comment.startswith(f"was {text} in Spin: ")
