"""Pipes whose reading end does not block, and the path that opens their writing end."""

from __future__ import annotations

import contextlib
import os

import pytest

from wagi_gateway.sandbox.pipes import available, descriptor_path, open_pipe, read_available

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)


@pytest.mark.parametrize("capacity", [None, 65536, 2**40], ids=["default", "asked for", "more than the kernel gives"])
def test_a_pipe(capacity: int | None) -> None:
    with contextlib.ExitStack() as stack:
        reader, writer = open_pipe(stack, capacity)
        assert (available(reader), read_available(reader)) == (0, b"")
        with open(descriptor_path(writer), "wb", buffering=0) as guest:
            guest.write(b"hello")
        assert available(reader) == 5
        assert (read_available(reader, 4), read_available(reader)) == (b"hell", b"o")
        assert os.get_blocking(writer)
