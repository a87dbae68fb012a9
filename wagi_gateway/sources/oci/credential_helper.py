"""Docker credential helpers: `docker-credential-NAME get`, with the registry on standard input.

Source: https://github.com/docker/docker-credential-helpers.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from typing import IO, NamedTuple, TypeGuard, cast

HELPER_TIME = 10.0
"""Seconds of a helper's run; some query a cloud's metadata service."""
HELPER_OUTPUT = 64 * 1024
"""Bytes of a helper's output."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# The protocol has no exit code for a missing entry: a failure with this line is one.
_NOT_FOUND = b"credentials not found in native keychain"


class HelperFailed(Exception):
    """A helper without a usable result; the message never holds the helper's output."""


class HelperCredentials(NamedTuple):
    """The result of a helper."""

    username: str
    secret: str
    """A password, or with the user name `<token>` an identity token."""


def run_helper(
    name: str, server: str, environ: Mapping[str, str], timeout: float = HELPER_TIME
) -> HelperCredentials | None:
    """The credentials that `docker-credential-NAME` has for `server`, or None. Raises HelperFailed."""
    program = f"docker-credential-{name}"
    if not _NAME.fullmatch(name):
        raise HelperFailed(f"{name!r} is not the name of a credential helper")
    path = shutil.which(program, path=environ.get("PATH", os.defpath))
    if not path:
        raise HelperFailed(f"the credential helper {program} is not on the PATH")
    code, output = _run(path, program, server, environ, timeout)
    if code != 0:
        if output.lstrip().startswith(_NOT_FOUND):
            return None
        raise HelperFailed(f"{program} failed with exit code {code}; `echo {server} | {program} get` shows why")
    try:
        answer = json.loads(output)
        username, secret = answer["Username"], answer["Secret"]
    except (ValueError, RecursionError, KeyError, TypeError):
        username = secret = None
    if not is_text(username) or not is_text(secret):
        raise HelperFailed(f"{program} printed something else than JSON with Username and Secret")
    return HelperCredentials(username, secret) if secret else None


def is_text(value: object) -> TypeGuard[str]:
    """Whether a value of JSON is a string without lone surrogates, which JSON can escape and UTF-8 cannot encode."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _run(path: str, program: str, server: str, environ: Mapping[str, str], timeout: float) -> tuple[int, bytes]:
    """Exit code and output. After a failure the helper and its children are killed."""
    deadline = time.monotonic() + timeout
    try:
        process = subprocess.Popen(  # noqa: S603 - the user's configuration names it
            [path, "get"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # may hold secrets
            env=dict(environ),
            start_new_session=True,
        )
    except OSError as error:
        raise HelperFailed(f"{program} cannot be run: {error.strerror}") from None
    stdin, stdout = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
    with stdout:
        try:
            with contextlib.suppress(BrokenPipeError), stdin:
                stdin.write(f"{server}\n".encode())  # fits into the pipe, so it does not block
            output = _read(stdout.fileno(), program, deadline)
            return process.wait(max(0.0, deadline - time.monotonic())), output
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and its children are of another group
                os.killpg(process.pid, signal.SIGKILL)  # the children of the helper, too
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise HelperFailed(f"{program} did not answer in {timeout:g} s") from None
            raise


def _read(pipe: int, program: str, deadline: float) -> bytes:
    """Reads a pipe to its end."""
    output = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise subprocess.TimeoutExpired(program, 0)
            piece = os.read(pipe, HELPER_OUTPUT)
            if not piece:
                return output
            output += piece
            if len(output) > HELPER_OUTPUT:
                raise HelperFailed(f"{program} printed more than {HELPER_OUTPUT // 1024} KiB")
