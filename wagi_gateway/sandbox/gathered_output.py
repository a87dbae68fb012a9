"""Standard output that a guest's own code has gathered in a memory of its instance (`compiler.gathered_writes`)."""

from __future__ import annotations

import struct

from ..compiler.gathered_writes import CAPACITY, SIZE

_ROOM = struct.Struct("<I")


class GatheredOutput:
    """The added memory of an instance, with room for output from now on until `close`, before the instance ends."""

    __slots__ = ("_view",)

    def __init__(self, view: memoryview) -> None:
        """`view` begins where the memory does."""
        self._view = view
        _ROOM.pack_into(view, 0, CAPACITY)

    def take(self) -> bytes:
        """Takes what is gathered, and makes room."""
        view = self._view
        (room,) = _ROOM.unpack_from(view)
        _ROOM.pack_into(view, 0, CAPACITY)
        return view[SIZE - CAPACITY : SIZE - room].tobytes()

    def close(self) -> None:
        """Leaves no room, so that the host gets every write."""
        _ROOM.pack_into(self._view, 0, 0)
