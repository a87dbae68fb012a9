"""The recording of one request: what the client sent, what the guest read and wrote, and how it ended."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import NamedTuple

from starlette.types import Message

from ..cgi.request import RequestHead
from ..config.settings import ModuleConfig
from ..outbound.client import Call
from ..sandbox.invocation import OpenedFile, Outcome
from .capture import Capture, CaptureBudget

MAX_STDERR = 4096
"""Pieces of standard error that keep a time of their own; later ones are added to the last piece."""
MAX_CALLS = 1000
"""Outbound calls that are kept."""
MAX_FILES = 500
"""Opened files that are kept."""
_OWN_SIZE = 4096
"""Bytes that a recording costs beside its streams and its environment."""


class StderrPiece(NamedTuple):
    """A piece of standard error: its first byte in the stream, and the seconds since the request began."""

    offset: int
    seconds: float


@dataclass(slots=True, eq=False, kw_only=True)
class Recording:
    """One request and the guest that answered it. Belongs to the event loop."""

    number: int
    request: RequestHead
    body: Capture
    """The request body."""
    stdout: Capture
    """The guest's standard output, as far as the gateway has read it."""
    stderr: Capture
    parent: int | None = None
    """The recording that this request repeats."""
    began: float = field(default_factory=time.time)
    """Seconds since the epoch."""
    clock: float = field(default_factory=time.perf_counter)
    route: str = ""
    """The pattern of the matched route; empty for a request that matches none."""
    config: ModuleConfig | None = None
    """The `[[module]]` of the route; None for a directory of files."""
    source: str = ""
    digest: str = ""
    """Digest of the module."""
    entrypoint: str = ""
    compile_seconds: float | None = None
    """Seconds of the module's compilation; None if its machine code came from the cache."""
    build: int = 0
    """The number of builds before the request."""
    environ: dict[bytes, bytes] = field(default_factory=dict)
    argv: list[bytes] = field(default_factory=list)
    redirects: list[str] = field(default_factory=list)
    """The paths of local redirects."""
    stderr_pieces: list[StderrPiece] = field(default_factory=list)
    stderr_dropped: int = 0
    calls: list[Call] = field(default_factory=list)
    files: list[OpenedFile] = field(default_factory=list)
    file_count: int = 0
    """Files that were opened, those beyond MAX_FILES too."""
    status: int = 0
    """Status of the response; 0 before a response began."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Header fields of the response."""
    sent: int = 0
    """Bytes of the response body."""
    error: str = ""
    """Why the gateway, and not the guest, answered."""
    refused_at: int | None = None
    """Byte of standard output that is no response; None for output that was not refused."""
    outcome: Outcome | None = None
    stop_reason: str | None = None
    failure: str = ""
    """What went wrong with the guest, in the words of the log."""
    executor: str = ""
    marks: dict[str, float] = field(default_factory=dict)
    """Seconds since the request began, by the name of what happened."""
    is_over: bool = False
    final_size: int | None = None
    """`size` of a request that is over, whose secrets were looked for."""
    secrets: frozenset[bytes] | None = None
    """The values that are masked, once they were looked for in a request that is over."""

    @classmethod
    def begin(
        cls, number: int, request: RequestHead, budget: CaptureBudget, parent: int | None, build: int
    ) -> Recording:
        """The recording of a request that begins."""
        streams = [Capture(budget) for _ in range(3)]
        return cls(
            number=number,
            request=request,
            body=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            parent=parent,
            build=build,
        )

    def mark(self, name: str) -> None:
        """Records the time of an event, unless it happened before."""
        self.marks.setdefault(name, time.perf_counter() - self.clock)

    def see(self, message: Message) -> bool:
        """Records a message of the response; returns whether the response begins with it."""
        is_start: bool = message["type"] == "http.response.start"
        if is_start:
            self.status, self.headers = message["status"], tuple(message["headers"])
            self.mark("first byte")
        else:
            self.sent += len(message.get("body", b""))
            if not message.get("more_body"):
                self.mark("sent")
        return is_start

    def end(self) -> None:
        """Records the end of the request and of its guest."""
        self.mark("over")
        self.is_over = True
        for capture in (self.body, self.stdout, self.stderr):
            capture.seal()

    def redirect(self, path: str) -> None:
        """Records a local redirect: the output of the guest before it was no response."""
        self.redirects.append(path)
        self.stdout = self.stdout.replaced()

    def feed_stderr(self, data: bytes) -> None:
        """Adds a piece of standard error."""
        if len(self.stderr_pieces) < MAX_STDERR:
            self.stderr_pieces.append(StderrPiece(self.stderr.size, time.perf_counter() - self.clock))
        self.stderr.feed(data)

    def add_call(self, call: Call) -> None:
        """Adds a finished outbound call. May be called on the guest's thread."""
        if len(self.calls) < MAX_CALLS:
            self.calls.append(call)

    def add_file(self, file: OpenedFile) -> None:
        """Adds a file that the guest has opened, or could not open. Called on the guest's thread."""
        self.file_count += 1
        if len(self.files) < MAX_FILES:
            self.files.append(file)

    @property
    def size(self) -> int:
        """Bytes of memory without those of the streams, which have a budget: an estimate."""
        if self.final_size is None:
            size = self._count()
            if not self.is_over or self.secrets is None:
                return size
            self.final_size = size
        return self.final_size

    def _count(self) -> int:
        fields = [*self.request.headers, *self.environ.items(), *self.headers]
        parts = sum(len(name) + len(value) + 200 for name, value in fields)
        texts = (self.request.raw_path, self.request.query, self.error, self.failure)
        parts += sum(len(item) + 60 for item in (*texts, *self.argv, *self.redirects, *(self.secrets or ())))
        parts += sum(len(file.path) + 150 for file in list(self.files))
        frames = self.outcome.frames if self.outcome else ()
        parts += sum(len(frame.function) + len(frame.file or "") + 300 for frame in frames)
        parts += sum(len(call.method) + len(call.origin) + len(call.reason) + 400 for call in list(self.calls))
        return _OWN_SIZE + parts + 120 * len(self.stderr_pieces)

    @property
    def seconds(self) -> float:
        """Seconds from the request to the end of the response; up to now for a request that is not over."""
        return self.marks.get("sent") or self.marks.get("over") or time.perf_counter() - self.clock

    @property
    def held(self) -> int:
        """Bytes of the streams that are kept."""
        return self.body.held + self.stdout.held + self.stderr.held

    def free(self) -> int:
        """Drops the streams; returns the number of bytes."""
        held = self.held
        for capture in (self.body, self.stdout, self.stderr):
            capture.free()
        return held
