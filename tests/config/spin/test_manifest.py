"""The models of a spin.toml, and version 1 in the form of version 2."""

from __future__ import annotations

import tomllib

import pytest

from wagi_gateway.config.spin.manifest import SpinManifest, rearranged

VERSION_1 = """
spin_manifest_version = "1"
name = "old"
version = "0.1.0"
trigger = { type = "http", base = "/base" }
[variables]
api = { default = "a.example" }
[[component]]
id = "hello"
source = "hello.wasm"
files = ["a/**", { source = "b", destination = "/b" }]
[component.trigger]
route = "/hello"
executor = { type = "wagi" }
[component.build]
command = "make"
"""


def test_version_1_has_the_form_of_version_2() -> None:
    manifest = SpinManifest.model_validate(rearranged(tomllib.loads(VERSION_1)))
    assert (manifest.application.name, manifest.application.trigger.http.base) == ("old", "/base")
    (trigger,) = manifest.trigger["http"]
    assert (trigger.route, trigger.component.reference, trigger.executor.type) == ("/hello", "hello", "wagi")
    component = manifest.component["hello"]
    assert (component.source.path, [files.pattern for files in component.files]) == ("hello.wasm", ["a/**", None])
    assert component.build
    assert component.build.command == ["make"]
    assert manifest.variables["api"].default == "a.example"


def test_a_component_without_a_name_has_its_number() -> None:
    assert list(rearranged({"component": [{}, {"id": "b"}]})["component"]) == ["1", "b"]


@pytest.mark.parametrize(
    ("tables", "what"),
    [
        ({"component": {}}, "component: is not a list"),
        ({"component": [1]}, "component: is not a list"),
        ({"trigger": "http"}, "trigger: must be a table"),
        ({"component": [{"id": "a", "trigger": 1}]}, "component.a.trigger: must be a table"),
    ],
)
def test_what_is_no_version_1(tables: dict[str, object], what: str) -> None:
    with pytest.raises(ValueError, match=f"^{what}"):
        rearranged(tables)


def test_a_private_route_and_an_inline_component() -> None:
    manifest = SpinManifest.model_validate(
        {"trigger": {"http": [{"route": {"private": True}, "component": {"source": {"url": "https://a/b.wasm"}}}]}}
    )
    (trigger,) = manifest.trigger["http"]
    assert (trigger.route, trigger.component.reference, trigger.component.source.url) == (
        None,
        None,
        "https://a/b.wasm",
    )
