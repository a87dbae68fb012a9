"""The registries behind the store: tries the mirror, then the registry, with a circuit breaker for unreachable ones."""

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
from .retry import DEFAULT_POLICY, RetryPolicy

CIRCUIT_OPEN_TIME = 30.0
"""Seconds for which an unreachable endpoint is not contacted again, where a mirror or a stored copy can be used
instead."""
MIRROR_POLICY = RetryPolicy(retries=1, connect_time=5.0)
"""For a mirror."""
CACHED_POLICY = RetryPolicy(retries=0, connect_time=2.0, answer_time=10.0)
"""For a tag of which the store has a copy."""

T = TypeVar("T")
Operation = Callable[[RegistryEndpoint, RetryPolicy], T]


class _CircuitOpen(Unreachable):
    """The endpoint was unreachable a short time ago, and is not contacted."""


class Upstream:
    """Runs operations on the endpoints of an image, until one succeeds."""

    def __init__(self, registries: Registries, cancelled: threading.Event) -> None:
        """Once `cancelled` is set, no request is repeated."""
        self._registries = registries
        self._cancelled = cancelled
        self._failures: dict[str, tuple[float, Unreachable]] = {}
        """The time and error of the last failure, by host."""
        self._unreachable: dict[str, Unreachable] = {}
        """Errors by host after all retries of DEFAULT_POLICY; the host is not contacted again."""

    @property
    def warnings(self) -> list[str]:
        """Unusable files of credentials."""
        return self._registries.warnings

    def run(self, reference: ImageReference, operation: Operation[T], warnings: list[str]) -> T:
        """Returns the result of the first endpoint that succeeds. Raises RegistryError with the messages of all.

        The error is Unreachable if any endpoint was unreachable: that endpoint may have the image, and a stored copy
        may serve.
        """
        *mirrors, origin = self._registries.endpoints(reference)
        failures: list[RegistryError] = []
        messages: list[str] = []
        for endpoint, retry in [*((mirror, MIRROR_POLICY) for mirror in mirrors), (origin, DEFAULT_POLICY)]:
            try:
                with error_context(str(reference), endpoint):
                    result = self._run(endpoint, retry, operation)
            except RegistryError as error:
                failures.append(error)
                messages.append(error.what if endpoint.host in error.what else f"{endpoint.host}: {error.what}")
            else:
                # A mirror without the image is no reason for a warning.
                warnings += [
                    f"mirror: {what}"
                    for what, error in zip(messages, failures, strict=True)
                    if not isinstance(error, ImageNotFound)
                ]
                return result
        *before, _ = messages
        last = failures[-1]
        kind = Unreachable if any(isinstance(error, Unreachable) for error in failures) else type(last)
        raise kind("; ".join([last.what, *(f"before, the mirror: {what}" for what in before)]), str(reference))

    def current_digest(self, reference: ImageReference, endpoint: RegistryEndpoint) -> str:
        """Resolves a tag of which the store has a copy, with few retries. Raises RegistryError."""

        def operation(endpoint: RegistryEndpoint, retry: RetryPolicy) -> str:
            _check_reachable(endpoint, retry.connect_time, str(reference))
            with Repository(reference, endpoint, retry, self._cancelled) as repository:
                return repository.digest_of(reference.version)

        return self._run(endpoint, CACHED_POLICY, operation)

    def origin(self, reference: ImageReference) -> RegistryEndpoint:
        """The registry itself. Raises RegistryError."""
        return self._registries.origin(reference)

    def _run(self, endpoint: RegistryEndpoint, retry: RetryPolicy, operation: Operation[T]) -> T:
        if open_circuit := self._unreachable.get(endpoint.host):
            raise _CircuitOpen(open_circuit.what)  # without `where`, which names the image of the earlier failure
        failed_at, failure = self._failures.get(endpoint.host, (0.0, None))
        if retry is not DEFAULT_POLICY and failure and time.monotonic() < failed_at + CIRCUIT_OPEN_TIME:
            raise _CircuitOpen(failure.what)
        try:
            return operation(endpoint, retry)
        except _CircuitOpen:  # from `current_digest`
            raise
        except Unreachable as error:
            self._failures[endpoint.host] = time.monotonic(), error
            # After an interrupted transfer the circuit stays closed: the host itself answers.
            if retry is DEFAULT_POLICY and not isinstance(error, Interrupted):
                self._unreachable[endpoint.host] = error
            raise _CircuitOpen(error.what, error.where) from None


@contextlib.contextmanager
def error_context(where: str, endpoint: RegistryEndpoint) -> Iterator[None]:
    """Adds the image and the origin of the credentials to an error."""
    try:
        yield
    except Unauthorised as error:
        raise Unauthorised(f"{error.what}; {endpoint.explanation}", error.where or where) from None
    except RegistryError as error:
        raise error.at(where) from None


def _check_reachable(endpoint: RegistryEndpoint, timeout: float, where: str) -> None:
    """Raises Unreachable if no connection can be made. An offline start then need not import oras, which takes
    longest."""
    if any(name.lower() in ("http_proxy", "https_proxy", "all_proxy") for name in os.environ):
        return  # the proxy may be the only route
    address = urlsplit(f"//{endpoint.host}")
    deadline = time.monotonic() + timeout
    reason: str | None = None
    try:
        port = address.port or (80 if endpoint.is_plain else 443)
        for found in _look_up(address.hostname or "", port, timeout):
            # Half the time for each, so that an address without a route does not use up all of it.
            if time.monotonic() < deadline and (reason := _try_to_connect(found, timeout / 2)) is None:
                return
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None)
    raise Unreachable(f"{endpoint.host} cannot be reached ({(reason or 'no answer').lower()})", where)


def _look_up(host: str, port: int, timeout: float) -> list[tuple[Any, ...]]:
    """Resolves a name on a thread, because `getaddrinfo` has no timeout. Raises OSError."""
    result: SimpleQueue[list[tuple[Any, ...]] | OSError] = SimpleQueue()

    def look_up() -> None:
        try:
            result.put([found for *_, found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)])
        except OSError as error:
            result.put(error)

    threading.Thread(target=look_up, name="look-up", daemon=True).start()
    try:
        addresses = result.get(timeout=timeout)
    except Empty:
        raise TimeoutError(errno.ETIMEDOUT, "no answer from the name server") from None
    if isinstance(addresses, OSError):
        raise addresses
    return addresses


def _try_to_connect(address: tuple[Any, ...], timeout: float) -> str | None:
    """Connects to an address; returns the error, or None."""
    try:
        socket.create_connection(address[:2], timeout).close()
    except OSError as error:
        return error.strerror or "no answer in time"
    return None
