"""AssemblyScript with as-wasi, the I/O library of WAGI's AssemblyScript modules."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from samples.packages import Compiled
from tests.conftest import Serve
from tests.support.config import module
from tests.system.foreign.toolchains import Toolchains

_HERE = Path(__file__).parent
_CONSOLE = Compiled(
    (_HERE / "console.ts", _HERE.parent / "outbound/package.json"),
    ("--binaryFile", "built.wasm", "--optimizeLevel", "2", "--runtime", "stub", "--use", "abort=wasi_abort"),
)


@pytest.fixture(scope="module")
def console(toolchains: Toolchains) -> Path:
    """The module of `console.ts`."""
    return _CONSOLE.build(toolchains)


@pytest.mark.parametrize("lines", [1, 50, 40_000])
def test_line_ends_are_kept(serve: Serve, console: Path, lines: int) -> None:
    server = serve(module("/print", console))
    response = server.get(f"/print?{lines}")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/plain")
    assert response.text == "".join(f"line {line} of a text\n" for line in range(lines))
    server.wait_for_log("guest: that was all route=/print")


def test_a_flood_is_stopped(serve: Serve, console: Path) -> None:
    server = serve(module("/print", console, limits={"stdout": "1MiB", "time": "60s"}))
    with pytest.raises(httpx.RemoteProtocolError):
        server.get("/print?2000000000")
    server.wait_for_log(r"printed more than limits\.stdout")
