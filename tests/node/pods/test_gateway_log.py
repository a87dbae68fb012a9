"""The log of a Pod's gateway: its bound, and its end in a status."""

from __future__ import annotations

from pathlib import Path

import pytest

from wagi_gateway.node.pods import gateway_log as module
from wagi_gateway.node.pods.gateway_log import open_log, rotate, tail


def test_a_log_begins_anew_beyond_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process keeps its descriptor, and goes on at the beginning of the file."""
    monkeypatch.setattr(module, "MAX_SIZE", 1000)
    log = tmp_path / "gateway.log"
    with open_log(log) as output:
        for number in range(50):
            output.write(b"x" * 500 + b" %d\n" % number)
            output.flush()
            rotate(log)
            assert log.stat().st_size <= 1000
        rotate(log)
    before = tmp_path / "gateway.log.1"
    assert before.stat().st_size <= 1000
    assert tail(log).endswith(" 49")
    assert " 48" in tail(log)
    assert {one.name for one in tmp_path.iterdir()} == {"gateway.log", "gateway.log.1"}
    with open_log(log):
        assert not before.exists()
    assert tail(log) == ""


def test_a_log_is_private_and_no_link_is_followed(tmp_path: Path) -> None:
    open_log(tmp_path / "log").close()
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "log")
    with pytest.raises(OSError, match="symbolic"):
        open_log(tmp_path / "link")


def test_the_end_of_a_log(tmp_path: Path) -> None:
    assert tail(tmp_path / "absent") == ""
    rotate(tmp_path / "absent")
    (tmp_path / "log").write_bytes(b"x" * 5000 + b"\nlast \xff\n")
    assert tail(tmp_path / "log").endswith("last \ufffd")
    assert len(tail(tmp_path / "log")) <= 1500
