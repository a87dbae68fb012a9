"""The bound on memory in files as the kernel shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from wagi_gateway.memory import Bound, memory_bound

V2 = "0::/system.slice/wagi.service\n"
V1 = "9:name=systemd:/elsewhere\n4:cpu,memory:/docker/a\n0::/\n"
NONE = "9223372036854771712\n"


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        pytest.param(V2, {"system.slice/wagi.service/memory.max": "2147483648\n"}, (2**31, 0), id="its own"),
        pytest.param(
            V2,
            {"system.slice/wagi.service/memory.max": "max\n", "system.slice/memory.max": "4096\n"},
            (4096, 1),
            id="one around it",
        ),
        pytest.param(
            V2,
            {
                "system.slice/wagi.service/memory.max": "8192\n",
                "system.slice/memory.max": "4096\n",
                "memory.max": "max\n",
            },
            (4096, 1),
            id="the tightest",
        ),
        pytest.param(V2, {"system.slice/wagi.service/memory.max": "max\n"}, None, id="no bound"),
        pytest.param(V2, {"elsewhere/memory.max": "4096\n", "wagi.service/memory.max": "4096\n"}, None, id="others"),
        pytest.param(V2, {"memory.max": "4096\n"}, (4096, 0), id="a container that knows its path outside"),
        pytest.param("0::/\n", {"memory.max": "4096\n"}, (4096, 0), id="a container"),
        pytest.param("0::/../a\n", {"memory.max": "4096\n", "a/memory.max": "1\n"}, (4096, 0), id="above what is seen"),
        pytest.param(V1, {"memory/docker/a/memory.limit_in_bytes": "4096\n"}, (4096, 0), id="version 1"),
        pytest.param(
            V1,
            {"memory/docker/a/memory.limit_in_bytes": NONE, "memory/memory.limit_in_bytes": NONE},
            (int(NONE), 0),
            id="version 1, no bound",
        ),
        pytest.param(V1, {"elsewhere/memory.max": "1\n", "docker/a/memory.max": "1\n"}, None, id="no mixture"),
        pytest.param("", {"memory.max": "4096\n"}, None, id="nothing known"),
        pytest.param("nonsense\n0:\n:\n::\n", {"memory.max": "nonsense\n"}, None, id="nonsense"),
    ],
)
def test_the_bound(tmp_path: Path, membership: str, files: dict[str, str], expected: tuple[int, int] | None) -> None:
    """`expected` is the bound, and which of the files says so."""
    (tmp_path / "membership").write_text(membership)
    mount = tmp_path / "mount"
    for name, text in files.items():
        (mount / name).parent.mkdir(parents=True, exist_ok=True)
        (mount / name).write_text(text)
    found = memory_bound(tmp_path / "membership", mount)
    assert found == (expected and Bound(expected[0], mount / list(files)[expected[1]]))


def test_a_system_without_control_groups(tmp_path: Path) -> None:
    assert memory_bound(tmp_path / "membership", tmp_path / "mount") is None


def test_this_system_is_understood() -> None:
    found = memory_bound()
    assert found is None or int(found.file.read_text()) == found.size > 2**20
