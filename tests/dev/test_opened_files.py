"""Opened files as documents."""

from __future__ import annotations

from tests.support.recordings import recording
from wagi_gateway.dev.masks import Masks
from wagi_gateway.dev.opened_files import opened_files
from wagi_gateway.sandbox.invocation import OpenedFile


def test_files_have_their_errors_in_words() -> None:
    one = recording()
    for error in (0, 44, 76, 99):
        one.add_file(OpenedFile(b"/x", is_written=bool(error), error=error))
    assert [(file["mode"], file["error"]) for file in opened_files(one, Masks())] == [
        ("read", ""),
        ("write", "No such file or directory (44)"),
        ("write", "outside of the volume, or not permitted in it (76)"),
        ("write", "error (99)"),
    ]
