"""A CGI script for CPython on WASI: PATH_INFO names the function that responds, in JSON."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs


def respond(value: object, status: str = "200 OK", headers: str = "") -> None:
    """Prints a whole response."""
    print(f"Status: {status}\nContent-Type: application/json; charset=utf-8\n{headers}")
    print(json.dumps(value, ensure_ascii=False))


def environ() -> None:
    """The interpreter's environment."""
    respond({"argv": sys.argv, "environ": dict(os.environ), "version": sys.version_info[:2]})


def upload() -> None:
    """Length and digest of the body, read through standard input in pieces."""
    digest, length = hashlib.sha256(), 0
    while piece := sys.stdin.buffer.read(65536):
        digest.update(piece)
        length += len(piece)
    respond({"length": length, "sha256": digest.hexdigest()})


def form() -> None:
    """The fields of a form: of the query for GET, of the body for POST."""
    match os.environ["REQUEST_METHOD"]:
        case "GET":
            respond(parse_qs(os.environ["QUERY_STRING"]))
        case "POST":
            respond(parse_qs(sys.stdin.read(int(os.environ["CONTENT_LENGTH"]))))
        case method:
            respond({"method": method}, "405 Method Not Allowed", "Allow: GET, POST\n")


def write() -> None:
    """The result of a write to each volume, and of an access outside of all volumes."""
    outcomes = {}
    for name in "/app/new.txt", "/data/new.txt", "/outside.txt", "/data/../../outside.txt":
        try:
            Path(name).write_text("written by the guest\n")
            outcomes[name] = "written"
        except OSError as error:
            outcomes[name] = type(error).__name__
    respond(outcomes)


def cookies() -> None:
    """Two cookies, each in a header field of its own."""
    jar: SimpleCookie = SimpleCookie({"first": "1", "second": "2"})
    respond([], headers=jar.output() + "\n")


def unicode() -> None:
    """The path after this function's name, decoded, and a few more characters."""
    respond({"path": os.environ["PATH_INFO"], "text": "naïve ✓ 日本語 🐍"})


def hoard() -> None:
    """The result of an allocation over the memory limit."""
    try:
        respond(len(bytearray(2**30)))
    except MemoryError:
        respond("MemoryError")


def sleep() -> None:
    """Sleeps for an hour before the response."""
    time.sleep(3600)
    respond("awake")


def fail() -> None:
    """Raises an unhandled exception before the response."""
    raise RuntimeError("nobody handles this")


FUNCTIONS: dict[str, Callable[[], None]] = {
    function.__name__: function for function in (environ, upload, form, write, cookies, unicode, hoard, sleep, fail)
}

FUNCTIONS[os.environ["PATH_INFO"].split("/")[1]]()
