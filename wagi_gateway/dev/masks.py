"""Masks: secret values of a request and its response, hidden wherever they appear."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from urllib.parse import unquote_to_bytes

from ..build.secret_names import is_secret
from .header_fields import parse_output
from .recording import Recording

MASK = "••••••••".encode()
_MIN_VALUE = 4
"""Bytes of the shortest value that is hidden outside of its own field: a shorter one is in many words."""
_MAX_VALUE = 64 * 1024
"""Bytes of a value that are looked for: no head of a request is longer."""
MAX_VALUES = 300
"""Values of one recording that are looked for."""
_MAX_CANDIDATES = 20 * MAX_VALUES
"""Values of one recording that are looked at: a body may repeat one without end."""
_WORDS = (b"token", b"secret", b"password", b"passwd", b"key")
"""The words of _PAIR and _JSON_PAIR: a search for them takes a hundredth of the time."""
# Bounded, and begun at the start of a word alone: a body is hostile, and its length must not count twice.
_PAIR = re.compile(
    rb"(?<![\w.%\[\]-])([\w.%\[\]-]{0,80}(?:token|secret|password|passwd|key)[\w.%\[\]-]{0,80}=)"
    rb"([^&;,\s\"'<>]+)",
    re.IGNORECASE,
)
_JSON_PAIR = re.compile(
    rb'"[^"\\]{0,80}(?:token|secret|password|passwd|key)[^"\\]{0,80}"\s{0,20}:\s{0,20}"((?:[^"\\]|\\.)+)"',
    re.IGNORECASE,
)
_PART = re.compile(
    rb'\bname="[^"\r\n]{0,80}(?:token|secret|password|passwd|key)[^"\r\n]{0,80}"[^\r\n]{0,200}\r\n'
    rb"(?:[^\r\n]{1,200}\r\n){0,4}\r\n([^\r\n]+)",
    re.IGNORECASE,
)
"""The first line of a part of multipart/form-data (RFC 7578)."""
_USERINFO = re.compile(rb"://[^\s/:@]{0,200}:([^\s/@]{1,200})@")
"""The password in a URL, as of a database."""


class Masks:
    """The secret values of one recording."""

    def __init__(self, values: Iterable[bytes] = (), *, is_off: bool = False) -> None:
        """`is_off` hides nothing."""
        self.is_off = is_off
        # A part of the mask itself would be masked again and again.
        known = {value[:_MAX_VALUE] for value in values if len(value) >= _MIN_VALUE and value not in MASK + MASK}
        self._values = sorted(known, key=len, reverse=True)

    @classmethod
    def of(cls, recording: Recording, *, is_off: bool = False) -> Masks:
        """The masks of a recording: values of secret names in its head, environment, body and output."""
        if is_off:
            return cls((), is_off=True)
        if recording.secrets is not None:
            return cls(recording.secrets)
        found = frozenset(_secrets(recording))
        if recording.is_over:  # nothing is added any more
            recording.secrets = found
        return cls(found)

    def hide(self, data: bytes) -> bytes:
        """`data` with every known secret masked."""
        if not self.is_off:
            for value in self._values:  # not a regular expression, whose compilation costs more, and is cached
                data = data.replace(value, MASK)
        return data

    def beginning(self, data: bytes, size: int) -> bytes:
        """The first `size` bytes of the masked data. A secret may begin there and end behind."""
        return self.hide(data[: size + _MAX_VALUE])[:size]

    def end(self, data: bytes, size: int) -> bytes:
        """The last `size` bytes of the masked data. A secret may begin before and end there."""
        return self.hide(data[-size - _MAX_VALUE :])[-size:]

    def hide_pairs(self, data: bytes) -> bytes:
        """`data` with every known secret masked, and the values of `name=value` pairs with a secret name."""
        if self.is_off:
            return data
        hidden = self.hide(data)
        return _PAIR.sub(rb"\1" + MASK, hidden) if _has_word(hidden) else hidden

    def value(self, name: bytes, value: bytes) -> bytes:
        """The value of a header field or variable, masked as a whole if its name is secret."""
        if self.is_off:
            return value
        return MASK if value and is_secret(name) else self.hide_pairs(value)

    def text(self, text: str) -> str:
        """`text` with every known secret masked."""
        return self.hide(text.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")


def _secrets(recording: Recording) -> set[bytes]:
    found: set[bytes] = set()
    for value in islice(_candidates(recording), _MAX_CANDIDATES):
        if len(found) >= MAX_VALUES:
            break
        found |= {value[:_MAX_VALUE], unquote_to_bytes(value[:_MAX_VALUE].replace(b"+", b" "))}
    return found


def _candidates(recording: Recording) -> Iterator[bytes]:
    """The secret values, first the operator's, which a request with many others must not uncover; last the body's."""
    limit = recording.config.limits.header_block if recording.config else 0
    output = parse_output(recording.stdout.content[: limit + 4], limit).lines if limit else []
    printed = [(line.name.encode("latin-1"), line.value) for line in output]
    environ = sorted(recording.environ.items(), key=lambda variable: variable[0].startswith(b"HTTP_"))
    for name, value in [*environ, *recording.request.headers, *recording.headers, *printed]:
        if is_secret(name):
            yield from _parts(name, value.strip())
        yield from (pair[2] for pair in _PAIR.finditer(value))
        yield from (url[1] for url in _USERINFO.finditer(value))
    yield from (pair[2] for pair in _PAIR.finditer(recording.request.query))
    if _has_word(body := recording.body.content):
        yield from (pair[2] for pair in _PAIR.finditer(body))
        yield from (text for pair in _JSON_PAIR.finditer(body) for text in _json_texts(pair[1]))
        yield from (part[1] for part in _PART.finditer(body))


def _json_texts(text: bytes) -> Iterator[bytes]:
    """The content of a JSON string as it is written, and what it stands for."""
    yield text
    if b"\\" in text:
        with contextlib.suppress(ValueError):
            yield str(json.loads(b'"%s"' % text)).encode("utf-8", "replace")


def _has_word(data: bytes) -> bool:
    lower = data.lower()
    return any(word in lower for word in _WORDS)


def _parts(name: bytes, value: bytes) -> set[bytes]:
    """The secret parts of a secret field: the values of cookies, the credentials behind a scheme."""
    parts = {value}
    field = name.lower().removeprefix(b"http_").replace(b"_", b"-")
    if "cookie" in field.decode("latin-1"):
        pairs = value.split(b";")[: 1 if field.startswith(b"set-") else None]
        return parts | {pair.partition(b"=")[2].strip().strip(b'"') for pair in pairs}
    if field.endswith(b"authorization"):
        credentials = value.partition(b" ")[2].strip()
        parts.add(credentials)
        try:
            basic = base64.b64decode(credentials, validate=True)
        except binascii.Error:
            return parts
        return parts | {basic, basic.partition(b":")[2]}
    return parts
