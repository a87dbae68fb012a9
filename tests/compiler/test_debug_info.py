"""The debug information of modules."""

from __future__ import annotations

import pytest

from tests.support.modules import binary
from wagi_gateway.compiler.debug_info import DebugInfo, debug_info

BARE = b"\0asm\1\0\0\0"


def custom(name: bytes, content: bytes = b"") -> bytes:
    """A custom section."""
    return bytes([0, 1 + len(name) + len(content), len(name)]) + name + content


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(binary("(func $f)"), DebugInfo(True, False), id="names"),
        pytest.param(binary("(func)"), DebugInfo(False, False), id="stripped"),
        pytest.param(BARE + custom(b"name") + custom(b".debug_line", b"x"), DebugInfo(True, True), id="lines"),
        pytest.param(BARE + custom(b"producers") + custom(b"name")[:-2], DebugInfo(False, False), id="cut-off"),
        pytest.param(BARE + custom(b"\xff") + custom(b"name"), DebugInfo(False, False), id="no-UTF-8"),
        pytest.param(BARE + custom(b"") * 10_000 + custom(b"name"), DebugInfo(False, False), id="too-many"),
        pytest.param(b"(module)", None, id="text"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_debug_info(data: bytes, expected: DebugInfo | None) -> None:
    assert debug_info(data) == expected
