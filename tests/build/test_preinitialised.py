"""Components that are pre-initialised, by their last section."""

from __future__ import annotations

from pathlib import Path

import pytest

from wagi_gateway.build.preinitialised import is_preinitialised

COMPONENT, MODULE = b"\0asm\x0d\0\1\0", b"\0asm\1\0\0\0"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(COMPONENT + bytes(70_000) + b"component-init-transform\x050.2.0", True, id="componentize-py"),
        pytest.param(COMPONENT + b"ComponentizeJS\x060.23.0", True, id="ComponentizeJS"),
        pytest.param(COMPONENT + b"ComponentizeJS" + bytes(70_000), False, id="not-at-the-end"),
        pytest.param(COMPONENT + b"wit-component", False, id="Rust"),
        pytest.param(MODULE + b"ComponentizeJS", False, id="core-module"),
        pytest.param(b"", False, id="empty"),
    ],
)
def test_a_component_names_its_tools(tmp_path: Path, data: bytes, expected: bool) -> None:
    path = tmp_path / "app.wasm"
    path.write_bytes(data)
    assert is_preinitialised(path) == expected
