"""Recordings as JSON documents for the inspector, with secrets masked."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

from ..cgi.request import RequestHead
from ..config.settings import ModuleConfig
from .capture import Capture
from .failure import diagnosis, frames
from .header_fields import ParsedOutput, parse_output
from .lint import lint
from .masks import Masks
from .opened_files import opened_files
from .recording import Recording
from .withheld import withheld_fields

Document = dict[str, object]

_MAX_TEXT = 1000
"""Characters of a path, a query or an end in a row of the list: many rows may wait for a slow page."""
_STOPS = {
    "time": "limits.time",
    "stdout": "limits.stdout",
    "temporary": "limits.temporary",
    "disconnect": "client left",
    "shutdown": "server stopped",
}
_OUTCOMES = {
    "answered": "allowed, answered",
    "denied": "denied by allowed_hosts",
    "refused": "refused: the call is not valid",
    "failed": "allowed, failed",
    "timeout": "allowed, ran out of time",
    "stopped": "stopped with the guest",
}


def summary(recording: Recording) -> Document:
    """The row of a recording in the list."""
    masks = Masks.of(recording)
    request, outcome = recording.request, recording.outcome
    return {
        "number": recording.number,
        "parent": recording.parent,
        "began": recording.began,
        "method": request.method,
        "path": _short(_text(masks.hide(request.raw_path))),
        "query": _short(_text(masks.hide_pairs(request.query))),
        "route": recording.route,
        "source": recording.source,
        "status": recording.status,
        "seconds": recording.seconds if recording.is_over else None,
        "guest_seconds": outcome.seconds if outcome else None,
        "sent": recording.sent,
        "stderr_lines": recording.stderr.content.count(b"\n"),
        "memory": outcome.memory if outcome else 0,
        "end": _short(masks.text(recording.error if _is_refused(recording) else end_of(recording))),
        "is_bad": is_bad(recording),
        "is_over": recording.is_over,
        "build": recording.build,
        "digest": recording.digest[:19],
    }


def end_of(recording: Recording) -> str:
    """How the request ended, in a few words."""
    outcome, reason = recording.outcome, recording.stop_reason
    if reason:
        return _STOPS.get(reason, reason)
    if outcome is None:
        return (recording.error or "files") if recording.is_over else "runs"
    if outcome.kind == "exit":
        return f"exit {outcome.code}"
    return f"{outcome.kind}: {outcome.trap}"


def _is_refused(recording: Recording) -> bool:
    """Whether the guest has ended well, and its output was refused."""
    return bool(recording.error) and end_of(recording) == "exit 0"


def is_bad(recording: Recording) -> bool:
    """Whether the request failed, or its guest did."""
    return bool(recording.error or recording.failure) or recording.status >= 500


def detail(recording: Recording, previous: Recording | None, base: Path, *, reveal: bool = False) -> Document:
    """Everything about a recording; `previous` is the one that its environment is compared with.

    `base` is the directory whose sources are shown, `reveal` shows secrets.
    """
    masks = Masks.of(recording, is_off=reveal)
    config = recording.config
    parsed = parsed_output(recording)
    return {
        **summary(recording),
        "id": recording.request.request_id,
        "is_revealed": reveal,
        "request": _request(recording.request, recording, masks),
        "environ": _environ(recording, previous, masks),
        "previous": previous.number if previous else None,
        "argv": _argv(recording, config, masks),
        "stdin": _capture(recording.body, masks, has_pairs=True),
        "stdout": _capture(recording.stdout, masks),
        "parsed": _parsed(parsed, recording.stdout.content, masks) if parsed else None,
        "response": {
            "status": recording.status,
            "headers": [[_text(name), _text(masks.value(name, value))] for name, value in recording.headers],
            "size": recording.sent,
        },
        "redirects": [masks.text(path) for path in recording.redirects],
        "stderr": _capture(recording.stderr, masks),
        "stderr_pieces": [[piece.offset, round(piece.seconds * 1000, 1)] for piece in recording.stderr_pieces],
        "stderr_dropped": recording.stderr_dropped,
        "end": _end(recording, base, masks),
        "marks": {name: round(seconds * 1000, 3) for name, seconds in recording.marks.items()},
        "executor": recording.executor,
        "memory": _memory(recording),
        "calls": [
            {
                "method": call.method,
                "origin": call.origin,
                "decision": _OUTCOMES.get(call.outcome, call.outcome),
                "status": call.status,
                "reason": masks.text(call.reason),
                "milliseconds": round(call.seconds * 1000, 1),
                "sent": call.sent,
                "received": call.received,
            }
            for call in list(recording.calls)
        ],
        "files": opened_files(recording, masks),
        "file_count": recording.file_count,
        "lint": [masks.text(text) for text in lint(recording, parsed)],
        "module": {
            "digest": recording.digest,
            "entrypoint": recording.entrypoint,
            "build": recording.build,
            "compile_seconds": recording.compile_seconds,
        },
    }


def parsed_output(recording: Recording) -> ParsedOutput | None:
    """The standard output of a guest as a CGI response; None where no guest ran."""
    config = recording.config
    if config is None or (recording.outcome is None and not recording.stdout.size):
        return None
    limit = config.limits.header_block
    return parse_output(recording.stdout.content, limit, front_end_headers=config.front_end_headers)


def _request(request: RequestHead, recording: Recording, masks: Masks) -> Document:
    query = b"?" + masks.hide_pairs(request.query) if request.query else b""
    passes = recording.config.pass_authorization if recording.config else False
    return {
        "line": f"{request.method} {_text(masks.hide(request.raw_path) + query)} HTTP/{request.http_version}",
        "client": request.client[0] if request.client else "",
        "scheme": request.scheme,
        "headers": [[_text(name), _text(masks.value(name, value))] for name, value in request.headers],
        "withheld": [field._asdict() for field in withheld_fields(request, pass_authorization=passes)],
    }


def _environ(recording: Recording, previous: Recording | None, masks: Masks) -> list[Document]:
    before = previous.environ if previous else None
    operator = {name.encode() for name in recording.config.environment} if recording.config else set()
    return [
        {
            "name": _text(name),
            "value": _text(masks.value(name, value)),
            "kind": "operator" if name in operator else "field" if name.startswith(b"HTTP_") else "cgi",
            "is_changed": before is not None and before.get(name) != value,
        }
        for name, value in sorted(recording.environ.items())
    ]


def _argv(recording: Recording, config: ModuleConfig | None, masks: Masks) -> Document:
    return {
        "template": config.argv if config else None,
        "mode": config.argv_mode if config else "",
        "items": [_text(masks.hide_pairs(item)) for item in recording.argv],
    }


def _capture(capture: Capture, masks: Masks, *, has_pairs: bool = False) -> Document:
    hide = masks.hide_pairs if has_pairs else masks.hide
    return {
        "base64": base64.b64encode(hide(capture.content)).decode(),
        "size": capture.size,
        "sha256": capture.digest,
        "is_cut": capture.is_cut,
    }


def _parsed(parsed: ParsedOutput, output: bytes, masks: Masks) -> Document:
    wanted = [*(line.offset for line in parsed.lines), parsed.body, parsed.error_at]
    shown = _masked_offsets(output, [offset for offset in wanted if offset is not None], masks)
    lines = [
        {
            "offset": shown[line.offset],
            "name": line.name,
            "value": _text(masks.value(line.name.encode("latin-1"), line.value)),
            "fate": line.fate,
            "reason": masks.text(line.reason),
        }
        for line in parsed.lines
    ]
    return {
        "lines": lines,
        "body": shown.get(parsed.body),
        "error": masks.text(parsed.error),
        "error_at": shown.get(parsed.error_at),
    }


def _masked_offsets(output: bytes, offsets: Iterable[int], masks: Masks) -> dict[int | None, int]:
    """The offsets in the masked output by those in `output`, each byte of which is looked through once."""
    found: dict[int | None, int] = {}
    before = size = 0
    for offset in sorted(offsets):
        size += len(masks.hide(output[before:offset]))
        found[offset], before = size, offset
    return found


def _end(recording: Recording, base: Path, masks: Masks) -> Document:
    outcome = recording.outcome
    return {
        "text": masks.text(end_of(recording)),
        "kind": outcome.kind if outcome else "",
        "code": outcome.code if outcome else None,
        "error": masks.text(recording.error),
        "failure": masks.text(recording.failure),
        "frames": [frame._asdict() for frame in frames(recording, base)],
        "advice": diagnosis(recording, masks).advice,
    }


def _memory(recording: Recording) -> Document:
    outcome, config = recording.outcome, recording.config
    limit = config.limits.memory if config else 0
    return {
        "used": outcome.memory if outcome else 0,
        "limit": limit,
        "is_short": outcome.was_short_of_memory if outcome else False,
    }


def _short(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
