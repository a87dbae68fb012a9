"""A recording as a command or a file: curl, `wagi-gateway run`, a test, HAR."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl

from ..errors import GatewayError
from ..version import __version__
from .detail import parsed_output
from .masks import Masks
from .recording import Recording

_OF_CONNECTION = frozenset(b"connection content-length host transfer-encoding te upgrade keep-alive".split())
_TEXT_SAFE = bytes(range(0x20, 0x7F)) + b"\t\n\r"


class ServedConfiguration(NamedTuple):
    """The configuration of `dev`, as its command line names it."""

    file: Path
    settings: Path | None = None
    environment: Mapping[str, str] = {}

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the configuration."""
        return (self.file, self.settings) if self.settings else (self.file,)


class CannotExport(GatewayError):
    """A recording lacks what the export needs."""


def as_curl(recording: Recording, origin: str, *, reveal: bool = False) -> str:
    """A curl command that sends the request to `origin`, such as `http://127.0.0.1:3000`. Raises CannotExport."""
    masks = Masks.of(recording, is_off=reveal)
    words = ["curl", "-sS", "-i", "-g", "--path-as-is", *_request_words(recording, masks)]
    command = shlex.join([*words, "--", origin + _target(recording, masks)])
    return _with_body(recording, masks, command, "--data-binary")


def as_run(recording: Recording, config: ServedConfiguration, *, reveal: bool = False) -> str:
    """A `wagi-gateway run` command of the same request through the configuration. Raises CannotExport."""
    masks = Masks.of(recording, is_off=reveal)
    return _with_body(recording, masks, shlex.join(_run_words(recording, config, masks)), "--data")


def as_test(recording: Recording, config: ServedConfiguration, *, reveal: bool = False) -> str:
    """A shell script that runs the request and compares status and body with those recorded. Raises CannotExport."""
    masks = Masks.of(recording, is_off=reveal)
    body = _response_body(recording, masks)
    lines = [
        "#!/bin/sh",
        "# Compares the answer of the module with the one that was recorded.",
        "set -u",
        'answer=$(mktemp) && expected=$(mktemp) && trap \'rm -f "$answer" "$expected"\' EXIT',
        f'{as_run(recording, config, reveal=reveal)} >"$answer"',
        f"printf '{_octal(body)}' >\"$expected\"",
        f'head -n 1 "$answer" | grep -q " {recording.status}" || {{ echo "another status than {recording.status}"; '
        'head -n 1 "$answer"; exit 1; }',
        r"""sed '1,/^\r\{0,1\}$/d' "$answer" | cmp - "$expected" && echo ok""",
    ]
    return "\n".join(lines) + "\n"


def as_pytest(recording: Recording, config: ServedConfiguration, *, reveal: bool = False) -> str:
    """A test for pytest that does the same as `as_test`. Raises CannotExport."""
    masks = Masks.of(recording, is_off=reveal)
    expected = _response_body(recording, masks)
    words = _run_words(recording, config, masks)
    body = _request_body(recording, masks)
    command = [*words, "--data", "-"] if body else words
    name = re.sub(r"\W+", "_", _target(recording, masks), flags=re.ASCII).strip("_")[:60].lower() or "root"
    method = re.sub(r"\W", "_", recording.request.method, flags=re.ASCII).lower()
    lines = [
        '"""The answer of the module is the one that was recorded."""',
        "",
        "import subprocess",
        "",
        "",
        f"def test_{method}_{name}() -> None:",
        "    command = [",
        *(f"        {word!r}," for word in command),
        "    ]",
        f"    answer = subprocess.run(command, input={body!r}, capture_output=True, timeout=60).stdout",
        r'    head, _, body = answer.partition(b"\r\n\r\n")',
        f'    assert head.split()[1:2] == [b"{recording.status}"], head',
        f"    assert body == {expected!r}",
    ]
    return "\n".join(lines) + "\n"


def as_har(recordings: Iterable[Recording], origin: str, *, reveal: bool = False) -> dict[str, object]:
    """The recordings as an HTTP Archive 1.2."""
    entries = [_har_entry(one, origin, Masks.of(one, is_off=reveal)) for one in recordings]
    creator = {"name": "wagi-gateway", "version": __version__}
    return {"log": {"version": "1.2", "creator": creator, "entries": entries}}


def _run_words(recording: Recording, config: ServedConfiguration, masks: Masks) -> list[str]:
    words = ["wagi-gateway", "run", str(config.file), "--path", _target(recording, masks)]
    words += ["--settings", str(config.settings)] if config.settings else []
    for name, value in config.environment.items():
        words += ["-e", f"{name}={_text(masks.value(name.encode(), value.encode()))}"]
    words += _method(recording) + _fields(recording, masks, _OF_CONNECTION - {b"host"})
    if recording.body.size and not recording.request.values(b"content-type"):
        words += ["-H", "content-type:"]  # in place of the content type of a form
    return words


def _request_words(recording: Recording, masks: Masks) -> list[str]:
    method = ["-I"] if recording.request.method == "HEAD" else _method(recording)
    return method + _fields(recording, masks, _OF_CONNECTION)


def _method(recording: Recording) -> list[str]:
    method = recording.request.method
    return [] if method == "GET" and not recording.body.size else ["-X", method]


def _fields(recording: Recording, masks: Masks, omitted: Collection[bytes]) -> list[str]:
    """A `-H` for each field of the request, in their order."""
    words = []
    for name, value in recording.request.headers:
        if name not in omitted:
            words += ["-H", f"{_text(name)}: {_text(masks.value(name, value))}"]
    return words


def _with_body(recording: Recording, masks: Masks, command: str, option: str) -> str:
    body = _request_body(recording, masks)
    if not body:
        return command
    if option == "--data-binary":
        return f"printf '{_octal(body)}' | {command.replace('curl ', f'curl {option} @- ', 1)}"
    return f"printf '{_octal(body)}' | {command} {option} -"


def _request_body(recording: Recording, masks: Masks) -> bytes:
    """The body to send. Raises CannotExport."""
    if recording.body.is_cut:
        raise CannotExport(f"the request body has {recording.body.size} bytes, of which the first are kept alone")
    return masks.hide_pairs(recording.body.content)


def _target(recording: Recording, masks: Masks) -> str:
    request = recording.request
    query = b"?" + masks.hide_pairs(request.query) if request.query else b""
    return _text(masks.hide(request.raw_path) + query)


def _response_body(recording: Recording, masks: Masks) -> bytes:
    parsed = parsed_output(recording)
    if parsed is None or parsed.body is None or recording.stdout.is_cut or recording.error:
        raise CannotExport("the answer of a guest is needed, of at most 1 MiB")
    return b"" if recording.request.method == "HEAD" else masks.hide(recording.stdout.content[parsed.body :])


def _har_entry(recording: Recording, origin: str, masks: Masks) -> dict[str, object]:
    request = recording.request
    try:
        body = _response_body(recording, masks)
    except CannotExport:
        body = b""
    mime = next((_text(value) for name, value in recording.headers if name == b"content-type"), "")
    is_text = _is_utf8(body)
    content: dict[str, object] = {"size": recording.sent, "mimeType": mime}
    content |= {"text": body.decode()} if is_text else {"text": base64.b64encode(body).decode(), "encoding": "base64"}
    sent: dict[str, object] = {
        "method": request.method,
        "url": origin + _target(recording, masks),
        "httpVersion": f"HTTP/{request.http_version}",
        "cookies": [],
        "headers": _har_fields(request.headers, masks),
        "queryString": [
            {"name": name, "value": value}
            for name, value in parse_qsl(_text(masks.hide_pairs(request.query)), keep_blank_values=True)
        ],
        "headersSize": -1,
        "bodySize": recording.body.size,
    }
    if recording.body.size:
        kind = next((_text(value) for name, value in request.headers if name == b"content-type"), "")
        sent["postData"] = {"mimeType": kind, "text": _text(masks.hide_pairs(recording.body.content))}
    milliseconds = round(recording.seconds * 1000, 3)
    return {
        "startedDateTime": datetime.fromtimestamp(recording.began, UTC).isoformat(),
        "time": milliseconds,
        "request": sent,
        "response": {
            "status": recording.status,
            "statusText": HTTPStatus(recording.status).phrase if recording.status in set(HTTPStatus) else "",
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": _har_fields(recording.headers, masks),
            "content": content,
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": recording.sent,
        },
        "cache": {},
        "timings": {"send": 0, "wait": milliseconds, "receive": 0},
    }


def _har_fields(fields: Iterable[tuple[bytes, bytes]], masks: Masks) -> list[dict[str, str]]:
    return [{"name": _text(name), "value": _text(masks.value(name, value))} for name, value in fields]


def _octal(data: bytes) -> str:
    """`data` in the notation of printf(1), within single quotation marks."""
    special = {ord("\\"): "\\\\", ord("%"): "%%", ord("'"): "\\047", ord("\n"): "\\n", ord("\r"): "\\r", 9: "\\t"}
    return "".join(special.get(byte) or (chr(byte) if byte in _TEXT_SAFE else f"\\{byte:03o}") for byte in data)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode()
