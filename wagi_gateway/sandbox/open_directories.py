"""The directories that a guest has open, with their paths and listings."""

from __future__ import annotations

from collections.abc import Sequence

from .beneath import open_directory_beneath
from .directory_listing import DirectoryListing
from .streams import STDERR

MAX_LISTINGS = 1
"""Directories that a guest reads at the same time; another one is begun anew if it is read on. A listing has two
descriptors."""
MAX_PATH = 4096
"""Bytes of a path (PATH_MAX of Linux)."""


class OpenDirectories:
    """The directories that a guest has open, as paths beneath its volumes, and those of them that it reads."""

    def __init__(self, volumes: Sequence[bytes]) -> None:
        """`volumes` are paths of the host, whose descriptors follow the standard streams."""
        self._paths = {STDERR + 1 + index: (volume, b"") for index, volume in enumerate(volumes)}
        self._listings: dict[int, DirectoryListing] = {}

    def add(self, parent: int, path: bytes, descriptor: int) -> None:
        """Notes that the guest has opened a directory."""
        self._end_listing(descriptor)
        self._paths.pop(descriptor, None)
        if found := self._paths.get(parent):
            volume, prefix = found
            if len(prefix) + len(path) < MAX_PATH and b"\0" not in path:
                self._paths[descriptor] = volume, prefix + b"/" + path

    def renumber(self, source: int, target: int) -> None:
        """Moves a directory to another descriptor."""
        self._end_listing(source)
        self._end_listing(target)
        moved = self._paths.pop(source, None)
        self._paths.pop(target, None)
        if moved:
            self._paths[target] = moved

    def place(self, descriptor: int) -> tuple[bytes, bytes] | None:
        """The volume of an open directory, and the directory's path in the volume; None if it is not known."""
        return self._paths.get(descriptor)

    def listing(self, descriptor: int) -> DirectoryListing:
        """The listing of a directory, which is begun if there is none. Raises OSError."""
        if descriptor not in self._listings:
            if descriptor not in self._paths:
                raise FileNotFoundError(f"the path of the directory {descriptor} is not known")
            listing = DirectoryListing(open_directory_beneath(*self._paths[descriptor]))
            if len(self._listings) >= MAX_LISTINGS:
                self._end_listing(next(iter(self._listings)))
            self._listings[descriptor] = listing
        return self._listings[descriptor]

    def close(self) -> None:
        """Ends all listings."""
        for descriptor in list(self._listings):
            self._end_listing(descriptor)

    def _end_listing(self, descriptor: int) -> None:
        if listing := self._listings.pop(descriptor, None):
            listing.close()
