"""Warnings of settings that are valid and probably not meant."""

from __future__ import annotations

import pytest

from wagi_gateway.config.settings import Config, ModuleConfig
from wagi_gateway.site.doubtful_settings import warn_of_doubtful_route, warn_of_doubtful_settings
from wagi_gateway.site.findings import Findings


def of_route(route: str) -> list[str]:
    findings = Findings("modules.toml")
    warn_of_doubtful_route(route, findings)
    return [warning.what.removeprefix(f'route = "{route}": ') for warning in findings.warnings]


def of_argv(argv: str) -> list[str]:
    findings = Findings("modules.toml")
    module = ModuleConfig.model_validate({"route": "/x", "module": "m.wasm", "argv": argv})
    warn_of_doubtful_settings(module, Config(module=(module,)), findings)
    return [warning.what for warning in findings.warnings]


@pytest.mark.parametrize(
    "route",
    [
        "/",
        "/...",
        "/a",
        "/a/...",
        "/v1/things:batch",
        "/~me/x.html",
        "/price-$5",
        "/sp%20ace",
        "/[1]",
        "/c++",
        "/a:b",
        "/urn:x:y",
        "GET /x",
    ],
)
def test_a_usual_route(route: str) -> None:
    assert of_route(route) == []


@pytest.mark.parametrize(
    ("route", "segment", "wider"),
    [
        ("/users/:id", ":id", "/users/..."),
        ("/users/:id?", ":id?", "/users/..."),
        ("/users/{id}/...", "{id}", "/users/..."),
        ("/u/{id}.json", "{id}.json", "/u/..."),
        ("/u/<int:id>", "<int:id>", "/u/..."),
        ("/x/*", "*", "/x/..."),
        ("/y/**", "**", "/y/..."),
        ("/*.php", "*.php", "/..."),
        ("/$id/posts", "$id", "/..."),
        ("/[id]", "[id]", "/..."),
        (r"/u/(\d+)", r"(\d+)", "/u/..."),
        ("/u/[0-9]+", "[0-9]+", "/u/..."),
        ("/u/[^/]+/x", "[^", "/u/..."),
        ("/u/.+", ".+", "/u/..."),
        ("/u/:user-id", ":user-id", "/u/..."),
        ("/u/:id.json", ":id.json", "/u/..."),
        ("/u/@:name", "@:name", "/u/..."),
        ("/u/:from-:to/x", ":from-:to", "/u/..."),
        ("/a/^b$", "^b$", "/a/..."),
    ],
)
def test_a_route_for_another_router(route: str, segment: str, wider: str) -> None:
    what = f'"{segment}" stands for itself, not for any text; write "{wider}" and read PATH_INFO'
    assert of_route(route) == [what]


@pytest.mark.parametrize(
    ("route", "what"),
    [
        ("/trail/", 'answers this path alone, not "/trail"; write "/trail/..." for both'),
        ("/sp ace", 'has a blank, which a request has as "%20"; remove it, or write "/sp%20ace"'),
        ("/b ", 'has a blank, which a request has as "%20"; remove it, or write "/b"'),
        ("/a\\b", 'a backslash stands for itself; write "/"'),
        ("/a//b", "has a void segment"),
        ("/a/…", 'the character "…" stands for itself; write three dots'),
        ("/a/.../b", '"..." stands for everything below at the end only'),
    ],
)
def test_a_route_with_a_typo(route: str, what: str) -> None:
    (found,) = of_route(route)
    assert found.startswith(what)


@pytest.mark.parametrize("argv", ["php", "php ${ARGS}", "${SCRIPT_NAME} -m it's", '{"a":1}', "--price=5$"])
def test_a_usual_argv(argv: str) -> None:
    assert of_argv(argv) == []


@pytest.mark.parametrize(
    ("argv", "whats"),
    [
        ("python 'a b.py'", ["quotes are part of the argument, as in 'a:"]),
        ('python --name="b c"', ['quotes are part of the argument, as in --name="b:']),
        ("run a\\ b", ["a backslash is part of the argument"]),
        ("a | b", ["| is an argument like others: there is no shell"]),
        ("a $HOME ${QUERY}", ["$HOME stands for itself; only ${", "${QUERY} stands for itself; only ${"]),
        ("a $ARGS ${args}", ["$ARGS stands for itself; write ${ARGS}", "${args} stands for itself; write ${ARGS}"]),
        ("a ${script_name", ["${script_name stands for itself; write ${SCRIPT_NAME}"]),
        ("a $(date)", ["$( stands for itself"]),
        ("a $@ $1", ["$@ stands for itself", "$1 stands for itself"]),
        (
            "a {ARGS} {{QUERY_STRING}}",
            ["{ARGS} stands for itself; write ${ARGS}", "{{QUERY_STRING}} stands for itself"],
        ),
    ],
)
def test_an_argv_for_a_shell(argv: str, whats: list[str]) -> None:
    found = of_argv(argv)
    assert len(found) == len(whats)
    assert all(one.startswith(f"argv: {what}") for one, what in zip(found, whats, strict=True))
