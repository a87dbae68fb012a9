"""The registries behind the store: the mirror first, then the registry itself, with as much patience as makes sense."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any, TypedDict, TypeVar
from urllib.parse import urlsplit

from .access import Access
from .errors import NotFound, RegistryError, Unauthorised, Unreachable
from .reference import ImageReference
from .registries import Registries
from .registry import Repository

SILENCE = 30.0
"""Seconds for which a registry that did not answer is not asked again, where there is a mirror or a copy instead."""


class Hurry(TypedDict, total=False):
    """What to ask a registry with when there is something better to do than to wait for it."""

    retries: int
    connect_time: float
    answer_time: float


PATIENT = Hurry()
MIRROR = Hurry(retries=1, connect_time=5.0)
WARM = Hurry(retries=0, connect_time=2.0, answer_time=10.0)
"""There is a copy at hand."""

T = TypeVar("T")
Question = Callable[[Access, Hurry], T]


class Upstream:
    """Asks questions of whoever can answer them."""

    def __init__(self, registries: Registries) -> None:
        self._registries = registries
        self._silent: dict[str, tuple[float, Unreachable]] = {}

    @property
    def warnings(self) -> list[str]:
        """What was wrong with files of credentials."""
        return self._registries.warnings

    def ask(self, reference: ImageReference, question: Question[T], warnings: list[str]) -> T:
        """The answer of the first that has one. Raises RegistryError, which says what all of them said."""
        *mirrors, origin = self._registries.ways(reference)
        failures: list[RegistryError] = []
        for access, hurry in [*((mirror, MIRROR) for mirror in mirrors), (origin, PATIENT)]:
            try:
                with explaining(f"{reference} at {access.host}" if access in mirrors else str(reference), access):
                    answer = self._ask(access, hurry, question)
            except RegistryError as error:
                failures.append(error)
            else:
                # That it does not have everything is what mirrors are like.
                warnings += [f"mirror: {error}" for error in failures if not isinstance(error, NotFound)]
                return answer
        *before, last = failures
        raise type(last)("; ".join([str(last), *(f"before, the mirror: {error}" for error in before)]))

    def digest_now(self, reference: ImageReference, access: Access) -> str:
        """What a tag stands for now, for somebody who has a copy and no time. Raises RegistryError."""

        def question(access: Access, hurry: Hurry) -> str:
            _check_that_somebody_listens(access, hurry["connect_time"], str(reference))
            with Repository(reference, access, **hurry) as repository:
                return repository.digest_of(reference.version)

        return self._ask(access, WARM, question)

    def origin(self, reference: ImageReference) -> Access:
        """The registry itself. Raises RegistryError."""
        return self._registries.origin(reference)

    def _ask(self, access: Access, hurry: Hurry, question: Question[T]) -> T:
        since, silence = self._silent.get(access.host, (0.0, None))
        if hurry and silence and time.monotonic() < since + SILENCE:
            raise Unreachable(silence.what)  # it was about another image
        try:
            return question(access, hurry)
        except Unreachable as error:
            self._silent[access.host] = time.monotonic(), error
            raise


@contextlib.contextmanager
def explaining(where: str, access: Access) -> Iterator[None]:
    """Adds to an error where it happened and whose credentials were used."""
    try:
        yield
    except Unauthorised as error:
        raise Unauthorised(f"{error.what}; {access.explanation}", error.where or where) from None
    except RegistryError as error:
        raise error.at(where) from None


def _check_that_somebody_listens(access: Access, timeout: float, where: str) -> None:
    """Raises Unreachable. An offline start need not import oras, which takes longer than everything else."""
    if any(name.lower() in ("http_proxy", "https_proxy", "all_proxy") for name in os.environ):
        return  # the registry may be reached through the proxy alone
    address = urlsplit(f"//{access.host}")
    deadline = time.monotonic() + timeout
    reason: str | None = None
    try:
        port = address.port or (80 if access.is_plain else 443)
        for found in _look_up(address.hostname or "", port, timeout):
            # Half the time, so that a dead IPv6 does not hide what IPv4 reaches.
            if time.monotonic() < deadline and (reason := _try_to_connect(found, timeout / 2)) is None:
                return
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None)
    raise Unreachable(f"{access.host} cannot be reached ({(reason or 'no answer').lower()})", where)


def _look_up(host: str, port: int, timeout: float) -> list[tuple[Any, ...]]:
    """Addresses, from a thread that nobody waits for: a name server may be silent for many seconds. Raises OSError."""
    answer: SimpleQueue[list[tuple[Any, ...]] | OSError] = SimpleQueue()

    def look_up() -> None:
        try:
            answer.put([found for *_, found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)])
        except OSError as error:
            answer.put(error)

    threading.Thread(target=look_up, name="look-up", daemon=True).start()
    try:
        addresses = answer.get(timeout=timeout)
    except Empty:
        raise TimeoutError(errno.ETIMEDOUT, "no answer from the name server") from None
    if isinstance(addresses, OSError):
        raise addresses
    return addresses


def _try_to_connect(address: tuple[Any, ...], timeout: float) -> str | None:
    """Why nobody can be reached at an address."""
    try:
        socket.create_connection(address[:2], timeout).close()
    except OSError as error:
        return error.strerror or "no answer in time"
    return None
