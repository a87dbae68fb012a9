"""The modules of a configuration: files and images, their warnings, and what marks images as used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sources.oci.conftest import refused_address
from wagi_gateway.config.settings import Config
from wagi_gateway.errors import StartupError
from wagi_gateway.sources.modules import ModuleSources, is_image, references
from wagi_gateway.sources.oci.errors import ImageNotFound, Unreachable


def config(*modules: dict[str, str]) -> Config:
    """A configuration with a route for each module."""
    return Config.model_validate(
        {"module": [{"route": f"/{number}", **module} for number, module in enumerate(modules)]}
    )


@pytest.mark.parametrize(
    ("reference", "expected"),
    [("oci:ghcr.io/a/b:1", True), ("OCI:ghcr.io/a/b:1", True), ("hello.wasm", False), ("ocifile.wasm", False)],
)
def test_is_image(reference: str, expected: bool) -> None:
    assert is_image(reference) == expected


def test_references_are_distinct_and_have_a_policy() -> None:
    modules = config(
        {"module": "oci:ghcr.io/a/b:1"},
        {"module": "oci:ghcr.io/a/b:1"},
        {"module": "oci:ghcr.io/a/b:1", "pull_policy": "never"},
        {"module": "oci:ghcr.io/a/b"},
        {"module": "hello.wasm"},
    ).module
    assert [(str(reference), policy) for reference, policy in references(modules)] == [
        ("ghcr.io/a/b:1", "if-not-present"),
        ("ghcr.io/a/b:1", "never"),
        ("ghcr.io/a/b:latest", "always"),
    ]


def test_a_file_is_read_and_warned_about(tmp_path: Path) -> None:
    (tmp_path / "hello.wasm").write_bytes(b"module")
    whole = config({"module": "hello.wasm"}, {"module": "hello.wasm", "pull_policy": "always"}, {"module": "no.wasm"})
    sources = ModuleSources(whole, tmp_path, tmp_path / "cache")
    (first, first_warnings), (second, second_warnings) = (sources.read(module) for module in whole.module[:2])
    assert first is second
    assert (first.data, first.name, first.image) == (b"module", "hello.wasm", None)
    assert (first_warnings, second_warnings) == ((), ("pull_policy has no effect on a file",))
    with pytest.raises(StartupError, match="there is no file"):
        sources.read(whole.module[2])
    sources.toucher()()
    assert not (tmp_path / "cache").exists()


def test_an_image_that_cannot_be_pulled_is_an_error_where_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    address = refused_address()
    never = {"module": f"oci:{address}/hello:1", "pull_policy": "never"}
    whole = config({"module": f"oci:{address}/hello:2", "pull_policy": "never"}, never)
    sources = ModuleSources(whole, tmp_path, tmp_path / "cache")
    for module in whole.module:
        with pytest.raises((ImageNotFound, Unreachable), match='the pull policy is "never"'):
            sources.read(module)
    assert not sources.pulls


def test_a_cache_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StartupError, match="modules from registries have no place: "):
        ModuleSources(config({"module": "oci:ghcr.io/a/b:1"}), tmp_path, tmp_path / "cache")


def test_files_alone_import_nothing_for_registries() -> None:
    code = (
        "import json, sys\n"
        "import wagi_gateway.sources.modules\n"
        "print(json.dumps([name for name in ('oras', 'requests', 'wagi_gateway.sources.oci.puller',"
        " 'wagi_gateway.sources.oci.store') if name in sys.modules]))"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert json.loads(output) == []
