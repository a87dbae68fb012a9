"""Static files: the directory of a `[[static]]` route (RFC 9110 sections 13 and 14)."""

from __future__ import annotations

import errno
import mimetypes
import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Message, Receive, Scope

from ..cgi.request import RequestHead
from ..cgi.response import ResponseHead
from ..config.settings import StaticConfig
from ..errors import (
    AtCapacity,
    ClientDisconnect,
    FilesOnly,
    NotFound,
    PreconditionFailed,
    RangeUnsatisfiable,
    RequestError,
)
from ..router import RouteMatch
from .file_content import FileContent, FileContents
from .preconditions import Validators
from .ranges import satisfiable_ranges
from .reply import Reply
from .request import unless_disconnected
from .source_names import source_pattern

_VISIBLE = ".well-known"
"""The one name with a leading dot that is served (RFC 8615)."""
_SOURCE = source_pattern()
_CODINGS = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
"""Media types of compressed files: `a.txt.gz` is sent as gzip, without Content-Encoding."""
_REPRODUCIBLE = 11 * 365 * 86_400
"""Seconds since 1970, in December 1980: an earlier mtime is a constant of reproducible builds (0, 1, 1980-01-01,
1980-02-01), which stays when the content changes, and thus no modification time."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """An open file. The descriptor keeps it the file that was checked, whatever takes its name meanwhile."""

    descriptor: int
    status: os.stat_result
    media_type: str
    content: FileContent

    @property
    def validators(self) -> Validators:
        modified = int(self.status.st_mtime)
        return Validators(self.content.etag.encode(), modified if modified > _REPRODUCIBLE else None)

    def content_type(self, charset: str | None) -> str:
        """The media type, text with `charset`; without one with UTF-8 if that is what the file has."""
        charset = charset or ("utf-8" if self.content.is_utf8 else None)
        is_text = self.media_type.startswith("text/") or self.media_type == "application/javascript"
        return f"{self.media_type}; charset={charset}" if is_text and charset else self.media_type


class StaticDirectory(StaticFiles):
    """The target of a `[[static]]` route."""

    def __init__(self, config: StaticConfig, directory: Path) -> None:
        super().__init__(directory=directory, check_dir=False)
        mimetypes.init()  # reads the system's table now rather than in the first request
        self.config = config
        self.path = directory
        self._contents = FileContents()
        self._headers = {"x-content-type-options": "nosniff"}
        if config.cache_control:
            self._headers["cache-control"] = config.cache_control

    @property
    def source(self) -> str:
        """The directory as the configuration names it."""
        return self.config.directory

    async def answer(self, request: RequestHead, match: RouteMatch[object], receive: Receive, reply: Reply) -> None:
        """Sends the file of a path. Raises RequestError, ClientDisconnect."""
        if request.method not in ("GET", "HEAD"):
            raise FilesOnly(f"{request.method} is not for files")
        path = _path(match)
        file = await run_in_threadpool(self._open, path, is_directory=match.path_info.endswith(b"/"))
        if file is None:
            await redirect_to_directory(request, match, receive, reply)
            return
        await self.send_file(file, request, receive, reply)

    async def has_answered(
        self, request: RequestHead, match: RouteMatch[object], receive: Receive, reply: Reply
    ) -> bool:
        """Sends the file of a path; False, with nothing sent, for a path without a file, for source code, which is the
        module's to run, and for other methods than GET and HEAD. Raises RequestError, ClientDisconnect."""
        if _SOURCE.search(match.path_info.decode().rpartition("/")[2]):
            return False
        try:
            await self.answer(request, match, receive, reply)
        except (FilesOnly, NotFound):  # raised before anything is sent
            return False
        return True

    async def send_file(self, file: OpenFile, request: RequestHead, receive: Receive, reply: Reply) -> None:
        """Sends an open file, and closes it. Raises PreconditionFailed, RangeUnsatisfiable, ClientDisconnect."""
        try:
            await self._send_file(file, request, receive, reply)
        finally:
            os.close(file.descriptor)

    async def _send_file(self, file: OpenFile, request: RequestHead, receive: Receive, reply: Reply) -> None:
        """Raises PreconditionFailed, RangeUnsatisfiable."""
        validators = file.validators
        headers = {"content-type": file.content_type(self.config.charset), "etag": file.content.etag, **self._headers}
        if validators.modified is not None:  # not in the future: RFC 9110 section 8.8.2.1
            headers["last-modified"] = formatdate(min(validators.modified, int(time.time())), usegmt=True)
        response = FileResponse(f"/proc/self/fd/{file.descriptor}", headers=headers, stat_result=file.status)
        if validators.modified is None:
            del response.headers["last-modified"]
        status = validators.evaluate(request)
        if status == 412:
            raise PreconditionFailed("the file is another than If-Match or If-Unmodified-Since asks for")
        if status == 304:
            await _send(NotModifiedResponse(response.headers), request, receive, reply)
            return
        size = file.status.st_size
        ranges = satisfiable_ranges(request, size) if validators.permits_range(request) else None
        if ranges == []:
            raise RangeUnsatisfiable("the file has none of the requested ranges", size=size)
        await _send(response, request, receive, reply, _range_field(ranges) if ranges else None)

    def _open(self, path: str, *, is_directory: bool) -> OpenFile | None:
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
            return self.open_file(found)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise AtCapacity(f"the file cannot be opened: {error.strerror}", limit="descriptors") from None
            # No permission, a name that is too long, or a file that was just removed.
            raise NotFound(f"the file cannot be read: {error.strerror}") from None

    def open_file(self, path: str) -> OpenFile:
        """Opens a file by its real path. Raises OSError, and NotFound for a path that leads elsewhere meanwhile."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status, real = os.fstat(descriptor), os.readlink(f"/proc/self/fd/{descriptor}")
            # A directory of the path may have become a symbolic link since `lookup_path`.
            if not stat.S_ISREG(status.st_mode) or not Path(real).is_relative_to(os.path.realpath(self.path)):
                raise NotFound("there is no such file")
            media_type = _media_type(os.path.basename(path))
            file = OpenFile(descriptor, status, media_type, self._contents.describe(descriptor, status, media_type))
        except BaseException:
            os.close(descriptor)
            raise
        return file


def is_hidden(segment: str) -> bool:
    """Whether the name of a file or directory keeps it from being served."""
    return segment.startswith(".") and segment != _VISIBLE


def _media_type(name: str) -> str:
    kind, coding = mimetypes.guess_type(name)
    return (_CODINGS.get(coding) if coding else kind) or "application/octet-stream"


def _range_field(ranges: list[tuple[int, int]]) -> bytes:
    """A Range field that starlette reads as these ranges."""
    return b"bytes=" + b",".join(b"%d-%d" % each for each in ranges)


async def redirect_to_directory(
    request: RequestHead, match: RouteMatch[object], receive: Receive, reply: Reply
) -> None:
    """Sends a redirect to the path with a slash at its end. Raises ClientDisconnect."""
    query = b"?" + request.query if request.query else b""
    target = quote(match.path + b"/" + query, safe="/%?!$&'()*+,;=:@~-._")
    await _send(RedirectResponse(target), request, receive, reply)


def _path(match: RouteMatch[object]) -> str:
    """The path below the directory. Raises NotFound for a path that no served file has."""
    if b"%2f" in match.raw_path_info.lower():
        raise NotFound("the path has an encoded slash, and a file's name none")
    segments = match.path_info.decode().split("/")[1:]
    if "" in segments[:-1]:
        raise NotFound("the path has a void segment")
    if any(map(is_hidden, segments)):
        raise NotFound("names that start with a dot are not served")
    return "/".join(segments).removesuffix("/")


async def _send(
    response: Response, request: RequestHead, receive: Receive, reply: Reply, range_field: bytes | None = None
) -> None:
    """Sends a starlette response. Raises ClientDisconnect, RequestError."""
    scope: Scope = {
        "type": "http",
        "asgi": {"spec_version": "2.4"},  # from this version on starlette leaves disconnects to `send`
        "method": request.method,
        "headers": [] if range_field is None else [(b"range", range_field)],
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
