"""The builds of a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from wagi_gateway.build.module_builds import module_builds
from wagi_gateway.config.file import ConfigFile, read_config
from wagi_gateway.errors import StartupError

CONFIG = """
[[module]]
route = "/b"
module = "b.wasm"
build = { command = ["make", "b"] }
[[module]]
route = "/none"
module = "none.wasm"
[[module]]
route = "/a"
module = "a/a.wasm"
build = { command = ["make"], directory = "a" }
[[module]]
route = "/again"
module = "a/again.wasm"
build = { command = ["make"], directory = "a" }
[[module]]
route = "/image"
module = "oci:registry.example/a:1"
build = { command = ["make", "image"] }
"""


@pytest.fixture
def file(tmp_path: Path) -> ConfigFile:
    (tmp_path / "modules.toml").write_text(CONFIG)
    return read_config(tmp_path / "modules.toml")


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (
            None,
            [
                (("/b",), "make b", "", ["b.wasm"]),
                (("/a", "/again"), "make", "a", ["a/a.wasm", "a/again.wasm"]),
                (("/image",), "make image", "", []),
            ],
        ),
        ("/again", [(("/again",), "make", "a", ["a/again.wasm"])]),
    ],
    ids=["all-in-order", "one"],
)
def test_builds(
    file: ConfigFile, route: str | None, expected: list[tuple[tuple[str, ...], str, str, list[str]]]
) -> None:
    found = [(one.routes, str(one.build), one.build.directory, list(one.modules)) for one in module_builds(file, route)]
    assert found == [
        (routes, command, file.base / directory, [file.base / module for module in modules])
        for routes, command, directory, modules in expected
    ]


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ("/none", 'ROUTE: /none has no build; add build = { command = ["…"] } to its [[module]] in '),
        ("/agian", "has no route /agian; did you mean /again?"),
        ("/nothing/like/it", "has no route /nothing/like/it; there are /b, /none, /a, /again, /image"),
        ("x", '"x": a route begins with "/"'),
    ],
)
def test_a_route_without_a_build_is_refused(file: ConfigFile, route: str, message: str) -> None:
    with pytest.raises(StartupError) as refusal:
        module_builds(file, route)
    assert message in str(refusal.value)
