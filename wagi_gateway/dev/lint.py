"""Lint: doubtful points of an answer that no error shows."""

from __future__ import annotations

from .header_fields import ParsedOutput
from .recording import Recording


def lint(recording: Recording, parsed: ParsedOutput | None) -> list[str]:
    """The doubtful points of a guest's answer; `parsed` is its standard output."""
    outcome = recording.outcome
    if recording.config is None or outcome is None or parsed is None:
        return []
    found = list(_of_fields(parsed, recording.stdout.content))
    if outcome.kind == "exit" and outcome.code and not recording.error:
        found.append(f"The guest exited with code {outcome.code} after its response, which the client does not see.")
    memory, limit = outcome.memory, recording.config.limits.memory
    if memory * 2 > limit:
        found.append(f"The guest used {memory >> 20} of {limit >> 20} MiB (limits.memory): more than half.")
    if recording.stderr_dropped:
        found.append(f"{recording.stderr_dropped} bytes of standard error are beyond limits.stderr.")
    return found


def _of_fields(parsed: ParsedOutput, output: bytes) -> list[str]:
    kept = {line.name: line.value for line in parsed.lines if line.fate == "kept"}
    found = [f"{line.name} is not sent: {line.reason}." for line in parsed.lines if line.fate == "dropped"]
    body = output[parsed.body :] if parsed.body is not None else b""
    content_type = kept.get("content-type", b"").decode("latin-1").lower()
    if body and not content_type and not parsed.error:
        found.append("The body has no Content-Type.")
    if content_type and "/" not in content_type:
        found.append(f'Content-Type "{content_type}" is no media type; text/html is one.')
    if content_type.startswith("text/") and "charset" not in content_type and not body.isascii():
        found.append(f"{content_type} has no charset, and the body is not ASCII: write {content_type}; charset=utf-8.")
    return found
