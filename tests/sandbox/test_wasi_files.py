"""The open files of components."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.support.component_guests import PROBE, invocation, probe
from wagi_gateway.sandbox import wasi_files
from wagi_gateway.sandbox.context import ExecutionContext
from wagi_gateway.sandbox.invocation import GuestVolume
from wagi_gateway.sandbox.wasi_helper import running


@pytest.fixture(autouse=True)
def path() -> str:
    """The backend of components, of which there is one."""
    return "hot"


@pytest.mark.parametrize("limit", [1, 5, 64])
def test_files_are_limited(volume: GuestVolume, limit: int) -> None:
    assert probe(b"open", volumes=(volume,), files=limit)[0] == f"{limit}\n"


def test_files_that_are_closed_count_no_more(volume: GuestVolume) -> None:
    assert probe(b"reopen", volumes=(volume,), files=5)[0] == "1000\n"


def test_a_path_has_a_bound(volume: GuestVolume) -> None:
    assert probe(b"long", volumes=(volume,))[0] == "Err(InvalidFilename)\n"


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("a.txt", "Ok(())"),
        ("directory", "Ok(())"),
        ("link to a file", "Ok(())"),
        ("nothing", "Err(NotFound)"),
        ("fifo", "Err(PermissionDenied)"),
        ("socket", "Err(PermissionDenied)"),
        ("link to the fifo", "Err(PermissionDenied)"),
        ("link to a device", "Err(PermissionDenied)"),
    ],
)
def test_files_and_directories_alone_are_opened(volume: GuestVolume, name: str, printed: str) -> None:
    root = Path(volume.host.decode())
    (root / "directory").mkdir()
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket"))
    for link, target in (("file", "a.txt"), ("device", "/dev/zero")):
        (root / f"link to a {link}").symlink_to(target)
    (root / "link to the fifo").symlink_to("fifo")
    assert probe(b"file", name.encode(), volumes=(volume,), time="20s")[0] == f"{printed}\n"


def test_guests_that_run_at_the_same_time_share_the_sum_of_their_limits(volume: GuestVolume) -> None:
    given = invocation(PROBE.read_bytes(), volumes=(volume,), files=3)
    context = ExecutionContext(given)
    assert wasi_files.most_open(context) == 3
    context.running = [_Running(ExecutionContext(given)) for _ in range(4)]
    assert wasi_files.most_open(context) == 12


def test_descriptors_beneath_the_volume_are_counted(volume: GuestVolume) -> None:
    context = ExecutionContext(invocation(PROBE.read_bytes(), volumes=(volume,)))
    before = wasi_files.count_open(context)
    with Path(volume.host.decode(), "a.txt").open(), Path(volume.host.decode(), "a.txt").open():
        assert wasi_files.count_open(context) == before + 2
    assert wasi_files.count_open(context) == before


def test_files_are_counted_again_once_a_guest_has_opened_its_share_of_what_is_left(
    volume: GuestVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ExecutionContext(invocation(PROBE.read_bytes(), volumes=(volume,), files=8))
    counted: list[int] = []
    count = wasi_files.count_open

    def count_open(context: ExecutionContext) -> int:
        counted.append(count(context))
        return counted[-1]

    monkeypatch.setattr(wasi_files, "count_open", count_open)
    assert probe(b"reopen", volumes=(volume,), files=8)[0] == "1000\n"
    assert len(counted) < 1000 / 4
    context.running = [_Running(context) for _ in range(4)]
    assert wasi_files._may_open(context)
    assert running.opened == 8 + 1 - 8


def test_counting_files_counts_as_host_calls(volume: GuestVolume) -> None:
    context = ExecutionContext(invocation(PROBE.read_bytes(), volumes=(volume,)))
    left = context.calls_left
    wasi_files.count_open(context)
    assert context.calls_left < left


class _Running:
    """A running guest, as far as it is counted."""

    def __init__(self, context: ExecutionContext) -> None:
        self.context = context
        self.invocation = context.invocation
