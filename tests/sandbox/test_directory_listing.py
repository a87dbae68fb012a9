"""The entries of a directory and their cookies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wagi_gateway.sandbox.directory_listing import DirectoryListing


@pytest.fixture
def listing(tmp_path: Path) -> DirectoryListing:
    for number in range(200):
        (tmp_path / str(number)).touch()
    return DirectoryListing(os.open(tmp_path, os.O_RDONLY))


def nothing() -> None:
    pass


def names(listing: DirectoryListing, cookie: int = 0) -> list[bytes]:
    found = []
    while entry := listing.entry(cookie, nothing):
        found.append(entry.name)
        cookie += 1
    return found


def test_every_entry_has_a_cookie(listing: DirectoryListing) -> None:
    whole = names(listing)
    assert sorted(whole) == sorted([b".", b"..", *(str(number).encode() for number in range(200))])
    assert [names(listing, cookie) for cookie in (0, 5, 5, 201, 202, 9_999)] == [
        *(whole, whole[5:], whole[5:], whole[201:]),
        *([], []),
    ]
    listing.close()


def test_an_entry_that_did_not_fit_is_read_again(listing: DirectoryListing) -> None:
    first = listing.entry(0, nothing)
    assert listing.entry(0, nothing) is first
    assert listing.entry(1, nothing) is not first
    listing.close()


def test_progress_is_reported(listing: DirectoryListing) -> None:
    calls: list[None] = []
    assert listing.entry(10_000, lambda: calls.append(None)) is None
    assert len(calls) == 202 // 64
    listing.close()
