"""Static files: the directory of a `[[static]]` route (RFC 9110 sections 13 and 14)."""

from __future__ import annotations

import errno
import mimetypes
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Message, Receive, Scope

from ..cgi.request import RequestHead
from ..cgi.response import ResponseHead
from ..config.settings import StaticConfig
from ..errors import AtCapacity, ClientDisconnect, FilesOnly, NotFound, RequestError
from ..router import RouteMatch
from .reply import Reply
from .request import unless_disconnected

_ONE_RANGE = rb"(?:\d{1,15}-(?:\d{1,15})?|-\d{1,15})"
_RANGE = re.compile(rb"bytes=" + _ONE_RANGE + rb"(?:[ \t]*,[ \t]*" + _ONE_RANGE + rb")*")
_VISIBLE = ".well-known"
"""The one name with a leading dot that is served (RFC 8615)."""
_CODINGS = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
"""Media types of compressed files: `a.txt.gz` is sent as gzip, without Content-Encoding."""


@dataclass(frozen=True, slots=True)
class _File:
    """An open file. The descriptor keeps it the file that was checked, whatever takes its name meanwhile."""

    descriptor: int
    status: os.stat_result
    name: str

    @property
    def media_type(self) -> str:
        kind, coding = mimetypes.guess_type(self.name)
        return (_CODINGS.get(coding) if coding else kind) or "application/octet-stream"


class StaticDirectory(StaticFiles):
    """The target of a `[[static]]` route."""

    def __init__(self, config: StaticConfig, directory: Path) -> None:
        super().__init__(directory=directory, check_dir=False)
        mimetypes.init()  # reads the system's table now rather than in the first request
        self.config = config
        self.path = directory
        self._headers = {"x-content-type-options": "nosniff"}
        if config.cache_control:
            self._headers["cache-control"] = config.cache_control

    @property
    def source(self) -> str:
        """The directory as the configuration names it."""
        return self.config.directory

    async def answer(self, request: RequestHead, match: RouteMatch[object], receive: Receive, reply: Reply) -> None:
        """Sends the file of a path. Raises NotFound, FilesOnly, AtCapacity, ClientDisconnect."""
        if request.method not in ("GET", "HEAD"):
            raise FilesOnly(f"{request.method} is not for files")
        path = _path(match)
        file = await run_in_threadpool(self._open, path, is_directory=match.path_info.endswith(b"/"))
        if file is None:
            query = b"?" + request.query if request.query else b""
            target = quote(match.path + b"/" + query, safe="/%?!$&'()*+,;=:@~-._")
            await _send(RedirectResponse(target), request, receive, reply)
            return
        try:
            response = FileResponse(
                f"/proc/self/fd/{file.descriptor}",
                headers=self._headers,
                media_type=file.media_type,
                stat_result=file.status,
            )
            is_known = self.is_not_modified(response.headers, Headers(raw=_fields(request)))
            await _send(NotModifiedResponse(response.headers) if is_known else response, request, receive, reply)
        finally:
            os.close(file.descriptor)

    def _open(self, path: str, *, is_directory: bool) -> _File | None:
        """The file of a path; None for a directory without the trailing slash. Raises NotFound, AtCapacity."""
        try:
            found, status = self.lookup_path(path)
            if status and stat.S_ISDIR(status.st_mode):
                found, status = self.lookup_path(os.path.join(path, "index.html"))
                if status and not is_directory:
                    return None
            elif is_directory:
                status = None
            if status is None or not stat.S_ISREG(status.st_mode):
                raise NotFound("there is no such file")
            return self._opened(found)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise AtCapacity(f"the file cannot be opened: {error.strerror}", limit="descriptors") from None
            # No permission, a name that is too long, or a file that was just removed.
            raise NotFound(f"the file cannot be read: {error.strerror}") from None

    def _opened(self, path: str) -> _File:
        """Raises OSError, NotFound."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status, real = os.fstat(descriptor), os.readlink(f"/proc/self/fd/{descriptor}")
            # A directory of the path may have become a symbolic link since `lookup_path`.
            if not stat.S_ISREG(status.st_mode) or not Path(real).is_relative_to(os.path.realpath(self.path)):
                raise NotFound("there is no such file")
        except BaseException:
            os.close(descriptor)
            raise
        return _File(descriptor, status, os.path.basename(path))


def _path(match: RouteMatch[object]) -> str:
    """The path below the directory. Raises NotFound for a path that no served file has."""
    if b"%2f" in match.raw_path_info.lower():
        raise NotFound("the path has an encoded slash, and a file's name none")
    segments = match.path_info.decode().split("/")[1:]
    if "" in segments[:-1]:
        raise NotFound("the path has a void segment")
    if any(segment.startswith(".") and segment != _VISIBLE for segment in segments):
        raise NotFound("names that start with a dot are not served")
    return "/".join(segments).removesuffix("/")


def _fields(request: RequestHead) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, values in request.fields.items() for value in values]


async def _send(response: Response, request: RequestHead, receive: Receive, reply: Reply) -> None:
    """Sends a starlette response. Raises ClientDisconnect, RequestError."""
    scope: Scope = {
        "type": "http",
        "asgi": {"spec_version": "2.4"},  # from this version on starlette leaves disconnects to `send`
        "method": request.method,
        "headers": [field for field in _fields(request) if field[0] != b"range" or _is_range(request)],
    }
    sending = _Sending(reply, is_head=request.method == "HEAD")

    async def send() -> None:
        with suppress(_Complete):
            await response(scope, receive, sending)

    try:
        await unless_disconnected(receive, send())
    except ClientDisconnect:
        if not reply.is_ended:  # after the end of the response servers report a disconnect, too
            raise
    except OSError as error:
        raise RequestError(f"the file cannot be read: {error.strerror}") from None
    if not reply.is_ended:
        raise RequestError("the file became shorter while it was sent")


def _is_range(request: RequestHead) -> bool:
    """Whether the Range field is valid; an invalid one is ignored (RFC 9110 section 14.2)."""
    values = request.values(b"range")
    if request.method != "GET" or len(values) != 1 or not _RANGE.fullmatch(values[0].lower()):
        return False
    ranges = (one.strip().split(b"-") for one in values[0].partition(b"=")[2].split(b","))
    return all(not first or not last or int(first) <= int(last) for first, last in ranges)


class _Complete(Exception):
    """Raised once Content-Length bytes are sent."""


class _Sending:
    """An ASGI `send` into a Reply that ends the body at Content-Length, although the file may grow."""

    def __init__(self, reply: Reply, *, is_head: bool) -> None:
        self._reply = reply
        self._is_head = is_head
        self._left = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._start(message)
            return
        body = bytes(message.get("body", b""))[: self._left]
        self._left -= len(body)
        if body:
            await self._reply.send(body)
        if not self._left:
            await self._reply.end()
            raise _Complete

    async def _start(self, message: Message) -> None:
        headers = tuple((name, value) for name, value in message["headers"] if name != b"content-length")
        lengths = [int(value) for name, value in message["headers"] if name == b"content-length"]
        await self._reply.start(ResponseHead(message["status"], headers, None), lengths[0] if lengths else None)
        self._left = 0 if self._is_head or not lengths else lengths[0]
