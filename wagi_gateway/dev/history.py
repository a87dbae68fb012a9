"""The history: the last recordings within a bound of memory, and the subscribers that see each change."""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from ..cgi.request import RequestHead
from ..memory import give_back
from .capture import CaptureBudget
from .recording import Recording

MAX_RECORDINGS = 200
MAX_MEMORY = 64 * 1024 * 1024
"""Bytes of all recordings together."""
_HEADROOM = 4 * 1024 * 1024
"""Bytes of MAX_MEMORY for everything but the streams, which have the rest."""
_FREED = 16 * 1024 * 1024
"""Bytes of dropped streams after which the allocator's free memory is given back."""
_MAX_PENDING = 200
"""Events that wait for one subscriber; a slower one reads the whole list anew."""

Event = dict[str, object]


class History:
    """The last requests, in order. Belongs to the event loop."""

    def __init__(self, limit: int = MAX_RECORDINGS, memory: int = MAX_MEMORY) -> None:
        self._limit = limit
        self._recordings: OrderedDict[int, Recording] = OrderedDict()
        self._numbers = itertools.count(1)
        self._subscribers: set[asyncio.Queue[Event]] = set()
        self._freed = 0
        """Bytes of streams that were dropped since memory was given back."""
        self._headroom = min(_HEADROOM, memory // 4)
        self.budget = CaptureBudget(memory - self._headroom, self._drop_streams)

    def begin(self, request: RequestHead, parent: int | None, build: int) -> Recording:
        """Adds the recording of a request that begins."""
        recording = Recording.begin(next(self._numbers), request, self.budget, parent, build)
        self._recordings[recording.number] = recording
        self.trim()
        return recording

    def __iter__(self) -> Iterator[Recording]:
        return iter(list(self._recordings.values()))

    def get(self, number: int) -> Recording | None:
        """The recording of this number, while it is kept."""
        return self._recordings.get(number)

    def previous(self, recording: Recording) -> Recording | None:
        """The latest earlier recording of the same route whose guest has run."""
        for number in reversed(self._recordings):
            other = self._recordings[number]
            if number < recording.number and other.route == recording.route and other.environ:
                return other
        return None

    @property
    def held(self) -> int:
        """Bytes of all recordings together: an estimate."""
        return self.budget.used + sum(recording.size for recording in self)

    def clear(self) -> None:
        """Drops the recordings of requests that are over."""
        for recording in [one for one in self if one.is_over]:
            self._drop(recording)
        self._give_back()
        self.publish({"type": "clear"})

    def trim(self) -> None:
        """Drops the oldest recordings beyond the bounds of number and memory."""
        sizes = {recording.number: recording.size for recording in self._recordings.values()}
        total = sum(sizes.values())
        for recording in self:
            if len(self._recordings) <= self._limit and total <= self._headroom:
                break
            total -= sizes[recording.number]
            self._drop(recording)

    def _drop_streams(self, missing: int) -> None:
        """Drops the oldest recordings that are over, until `missing` bytes of streams are free."""
        for recording in self:
            if missing <= 0:
                break
            if recording.is_over:
                missing -= recording.held
                self._drop(recording)

    def _drop(self, recording: Recording) -> None:
        self._freed += recording.free()
        del self._recordings[recording.number]
        if self._freed >= _FREED:
            self._give_back()
        self.publish({"type": "drop", "number": recording.number})

    def _give_back(self) -> None:
        self._freed = 0
        give_back()

    def publish(self, event: Event) -> None:
        """Sends an event to every subscriber."""
        for queue in self._subscribers:
            if queue.qsize() >= _MAX_PENDING:
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait({"type": "resync"})
            else:
                queue.put_nowait(event)

    @contextmanager
    def subscribed(self) -> Iterator[asyncio.Queue[Event]]:
        """The queue of the events from now on."""
        queue: asyncio.Queue[Event] = asyncio.Queue()
        self._subscribers.add(queue)
        try:
            yield queue
        finally:
            self._subscribers.remove(queue)

    @property
    def subscribers(self) -> int:
        """The number of subscribers."""
        return len(self._subscribers)
