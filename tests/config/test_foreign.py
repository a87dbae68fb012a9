"""Configurations of other programs, named by their keys."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from wagi_gateway.config.file import read_config
from wagi_gateway.config.foreign import convert_command, name_foreign
from wagi_gateway.errors import StartupError


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("spin_manifest_version = 2\n", "is a Spin manifest; run: wagi-gateway convert x.toml > modules.toml"),
        ('spin_version = "1"\n', "is a Spin manifest; run: wagi-gateway convert x.toml > modules.toml"),
        ("[[trigger.http]]\n[component.a]\n", "is a Spin manifest; run: wagi-gateway convert x.toml > modules.toml"),
        ('bindleVersion = "1.0.0"\n[bindle]\n', "is a Bindle invoice, and bindles are gone;"),
        ("[bindle]\n[[parcel]]\n", "is a Bindle invoice, and bindles are gone;"),
        ('[cache]\nenabled = true\ncleanup-interval = "1d"\n', "is the configuration of wasmtime's cache"),
        ('[cache]\nenabled = true\ndirectory = "/c"\n', "is the configuration of wasmtime's cache"),
        ("[package]\n[dependencies]\n", "is a manifest of Cargo;"),
        ("[project]\n", "is a Python project's pyproject.toml;"),
        ('compatibility_date = "2026-01-01"\n', "is a configuration of Cloudflare's wrangler;"),
    ],
)
def test_a_foreign_configuration(text: str, what: str) -> None:
    found = name_foreign(Path("x.toml"), tomllib.loads(text))
    assert found
    assert found.startswith(what)


@pytest.mark.parametrize(
    "text",
    ["", "[[module]]\n[cache]\n", "cache = 1\n", "[cache]\nmax_module = 1\n", "[servr]\n", "[[module]]\n[package]\n"],
)
def test_our_own_configuration_with_or_without_mistakes(text: str) -> None:
    assert name_foreign(Path("x.toml"), tomllib.loads(text)) is None


def test_the_command_names_the_files_for_a_shell() -> None:
    assert (
        convert_command(Path("my app/spin.toml")) == "wagi-gateway convert 'my app/spin.toml' > 'my app/modules.toml'"
    )


@pytest.mark.parametrize("name", ["hello.wasm", "hello.wat"])
def test_a_module_is_named_as_such(name: str) -> None:
    with pytest.raises(StartupError, match=f"{name}: is a module; .* wagi-gateway run {name}"):
        read_config(name)


def test_a_configuration_that_is_read(tmp_path: Path) -> None:
    path = tmp_path / "spin.toml"
    path.write_text("spin_manifest_version = 2\n")
    with pytest.raises(StartupError) as error:
        read_config(path)
    assert str(error.value) == f"{path}: is a Spin manifest; run: {convert_command(path)}"


def test_a_compose_file(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text("services:\n  web:\n    image: nginx\n")
    with pytest.raises(StartupError, match="it is a compose file, whose services are containers"):
        read_config(path)
