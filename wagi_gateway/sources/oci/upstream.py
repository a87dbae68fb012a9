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
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ...config.image_reference import ImageReference
from .endpoint import RegistryEndpoint
from .errors import ImageNotFound, RegistryError, Unauthorised, Unreachable
from .registries import Registries
from .repository import Interrupted, Repository
from .retry import PATIENT, RetryPolicy

SILENCE = 30.0
"""Seconds for which a registry that did not answer is not asked again, where there is a mirror or a copy instead."""


MIRROR = RetryPolicy(retries=1, connect_time=5.0)
WARM = RetryPolicy(retries=0, connect_time=2.0, answer_time=10.0)
"""There is a copy at hand."""

T = TypeVar("T")
Question = Callable[[RegistryEndpoint, RetryPolicy], T]


class _CircuitOpen(Unreachable):
    """Who does not answer is known already."""


class Upstream:
    """Asks questions of whoever can answer them."""

    def __init__(self, registries: Registries, over: threading.Event) -> None:
        """Once `over` is set, nobody is asked again."""
        self._registries = registries
        self._over = over
        self._silent: dict[str, tuple[float, Unreachable]] = {}
        self._dead: dict[str, Unreachable] = {}
        """Who did not answer with all patience, and is not asked for another module."""

    @property
    def warnings(self) -> list[str]:
        """What was wrong with files of credentials."""
        return self._registries.warnings

    def ask(self, reference: ImageReference, question: Question[T], warnings: list[str]) -> T:
        """The answer of the first that has one. Raises RegistryError, which says what all of them said.

        It is Unreachable if any of them is: that one might have had it, and a copy that is already here may serve.
        """
        *mirrors, origin = self._registries.ways(reference)
        failures: list[RegistryError] = []
        said: list[str] = []
        for access, retry in [*((mirror, MIRROR) for mirror in mirrors), (origin, PATIENT)]:
            try:
                with explaining(str(reference), access):
                    answer = self._ask(access, retry, question)
            except RegistryError as error:
                failures.append(error)
                said.append(error.what if access.host in error.what else f"{access.host}: {error.what}")
            else:
                # That it does not have everything is what mirrors are like.
                warnings += [
                    f"mirror: {what}"
                    for what, error in zip(said, failures, strict=True)
                    if not isinstance(error, ImageNotFound)
                ]
                return answer
        *before, _ = said
        last = failures[-1]
        kind = Unreachable if any(isinstance(error, Unreachable) for error in failures) else type(last)
        raise kind("; ".join([last.what, *(f"before, the mirror: {what}" for what in before)]), str(reference))

    def digest_now(self, reference: ImageReference, access: RegistryEndpoint) -> str:
        """What a tag stands for now, for somebody who has a copy and no time. Raises RegistryError."""

        def question(access: RegistryEndpoint, retry: RetryPolicy) -> str:
            _check_that_somebody_listens(access, retry.connect_time, str(reference))
            with Repository(reference, access, retry, self._over) as repository:
                return repository.digest_of(reference.version)

        return self._ask(access, WARM, question)

    def origin(self, reference: ImageReference) -> RegistryEndpoint:
        """The registry itself. Raises RegistryError."""
        return self._registries.origin(reference)

    def _ask(self, access: RegistryEndpoint, retry: RetryPolicy, question: Question[T]) -> T:
        if dead := self._dead.get(access.host):
            raise _CircuitOpen(dead.what)  # without its place: it was about another image
        since, silence = self._silent.get(access.host, (0.0, None))
        if retry is not PATIENT and silence and time.monotonic() < since + SILENCE:
            raise _CircuitOpen(silence.what)
        try:
            return question(access, retry)
        except _CircuitOpen:  # by `digest_now`, with less patience
            raise
        except Unreachable as error:
            self._silent[access.host] = time.monotonic(), error
            if retry is PATIENT and not isinstance(error, Interrupted):  # that one answers, but for one layer
                self._dead[access.host] = error
            raise _CircuitOpen(error.what, error.where) from None


@contextlib.contextmanager
def explaining(where: str, access: RegistryEndpoint) -> Iterator[None]:
    """Adds to an error where it happened and whose credentials were used."""
    try:
        yield
    except Unauthorised as error:
        raise Unauthorised(f"{error.what}; {access.explanation}", error.where or where) from None
    except RegistryError as error:
        raise error.at(where) from None


def _check_that_somebody_listens(access: RegistryEndpoint, timeout: float, where: str) -> None:
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
