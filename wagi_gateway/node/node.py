"""The node from start to end: identity, Lease, Pods, heartbeat, and the shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ..errors import Problem, StartupError
from ..observe.log import logger
from ..server.systemd import READY, STOPPING, service_manager
from .api import MALFORMED, PODS, Api, ApiError, ApiUnreachable, Object, described
from .bootstrap import rotate
from .certificates import ServingCertificate
from .events import Events
from .heartbeat import Heartbeat
from .identity import Identity, open_identity
from .lease import Lease, LeaseLost, holder_identity
from .options import NodeOptions
from .orphans import Orphans
from .pods.adoption import end_gateways
from .reflector import Reflector
from .registration import own_address

RETRY = 2.0
"""Seconds between two attempts to reach the API server at the start."""
LAST_WORDS = 5.0
"""Seconds for what is written to the API server at the end: an API server that is away does not delay the end."""


class Workload(Protocol):
    """The Pods of the node."""

    async def adopt(self) -> list[Object]:
        """Takes over the Pods of an earlier process, and returns them as it saw them."""

    async def changed(self, pod: Object) -> None:
        """A Pod was bound to the node, or has changed."""

    async def deleted(self, pod: Object) -> None:
        """A Pod is no longer in the API."""

    async def drain(self) -> None:
        """Ends every Pod within its grace period."""

    async def stop(self) -> None:
        """Ends what runs in this process, and leaves the Pods to a later process of the node."""


@dataclass(frozen=True, slots=True)
class NodeParts:
    """What the node gives its Pods and its API."""

    api: Api
    options: NodeOptions
    events: Events
    addresses: tuple[str, ...]
    certificate: ServingCertificate
    identity: Identity


class Served(NamedTuple):
    """The Pods of a node, and its API."""

    pods: Workload
    serve: Callable[[], Coroutine[Any, Any, object]]
    """Serves the node's API until it is cancelled. Raises StartupError if it cannot listen."""


Build = Callable[[NodeParts], Awaitable[Served]]
Connect = Callable[[NodeOptions], Awaitable[Identity]]


def run_node(options: NodeOptions, build: Build, connect: Connect = open_identity) -> None:
    """Runs the node until SIGTERM or SIGINT.

    Raises StartupError, also if another node of the name takes over.
    """
    try:
        with _state(options):
            asyncio.run(_run(options, build, connect))
    except ExceptionGroup as group:
        error = _first(group)
        if isinstance(error, LeaseLost):
            what = "this one ends; its Pods serve on until its next start, which adopts or ends them"
            error = StartupError(Problem(f"node {options.name}", f"{error}; {what}"))
        raise error from group


@contextmanager
def _state(options: NodeOptions) -> Iterator[None]:
    """The state directory, which no second process uses meanwhile. Raises StartupError."""
    path = options.state_directory
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StartupError(Problem(str(path), f"cannot be used as state_directory: {error.strerror}")) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        what = "another node uses this state_directory; stop it, or name another directory"
        raise StartupError(Problem(str(path), what)) from None
    else:
        yield
    finally:
        os.close(lock)


async def _run(options: NodeOptions, build: Build, connect: Connect) -> None:
    stopped, started = asyncio.Event(), asyncio.Event()
    node = asyncio.create_task(_open(options, build, connect, stopped, started))

    def stop() -> None:
        stopped.set()
        if not started.is_set():
            node.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    with contextlib.suppress(asyncio.CancelledError):
        await node
    if not started.is_set() and options.at_stop == "drain":
        await _end_gateways(options)


async def _open(
    options: NodeOptions, build: Build, connect: Connect, stopped: asyncio.Event, started: asyncio.Event
) -> None:
    identity = await connect(options)
    try:
        addresses = options.addresses or (await _own_address(identity.server),)
        certificate = ServingCertificate(options, addresses, is_node=identity.is_node)
        events = Events(identity.api, options.name)
        lease = Lease(identity.api, options, holder_identity(options))
        try:
            await _claim(lease)
        except StartupError:  # the other node runs the Pods
            await _end_gateways(options)
            raise
        parts = NodeParts(identity.api, options, events, addresses, certificate, identity)
        started.set()
        await _serve(parts, lease, await build(parts), stopped)
    finally:
        await identity.api.aclose()


async def _own_address(server: str) -> str:
    try:
        return await own_address(server)
    except OSError as error:
        what = f"no address leads to the API server {server}: {error.strerror or error}; name one with --address"
        raise StartupError(Problem("addresses", what)) from None


async def _end_gateways(options: NodeOptions) -> None:
    """Ends what an earlier process of the node has left to a later one."""
    if number := await end_gateways(options.state_directory, options.shutdown_grace):
        logger.warning("the node does not run; the gateways of %d Pods, which were left to it, are ended", number)


async def _claim(lease: Lease) -> None:
    """Waits until no other node holds the Lease, and for an API server that is away. Raises StartupError."""
    failures = 0
    while True:
        try:
            return await lease.claim()
        except (ApiError, ApiUnreachable, *MALFORMED) as error:
            failures += 1
            if failures in (1, 10):  # a server that has just started forbids what it allows a second later
                logger.warning("the start waits for the API server: %s", described(error))
            await asyncio.sleep(RETRY)


async def _serve(parts: NodeParts, lease: Lease, served: Served, stopped: asyncio.Event) -> None:
    """Runs everything until the node is stopped, and then the shutdown.

    After an error, and where another node has taken the Lease, nothing is written to the API any more, and the gateways
    are left to the next start.
    """
    try:
        await _serve_until_stopped(parts, lease, served, stopped)
    except BaseException:
        await served.pods.stop()
        raise
    with contextlib.suppress(TimeoutError, ApiError, ApiUnreachable):
        async with asyncio.timeout(LAST_WORDS):
            await lease.release()


async def _serve_until_stopped(parts: NodeParts, lease: Lease, served: Served, stopped: asyncio.Event) -> None:
    options, pods, notify = parts.options, served.pods, service_manager()
    reflector = Reflector(parts.api, PODS, f"spec.nodeName={options.name}", changed=pods.changed, deleted=pods.deleted)
    heartbeat = Heartbeat(parts.api, options, lease, parts.events, parts.addresses, recovered=reflector.hurry)
    reflector.expect(await pods.adopt())
    async with asyncio.TaskGroup() as group:
        background = [
            group.create_task(parts.events.run()),
            group.create_task(heartbeat.run()),
            group.create_task(parts.certificate.keep(parts.api)),
            group.create_task(parts.identity.credentials.keep()),
            group.create_task(Orphans().keep()),
            group.create_task(served.serve()),
        ]
        if parts.identity.is_bootstrapped:
            background.append(group.create_task(rotate(parts.api, options, parts.identity.credentials.refresh)))
        watcher = group.create_task(reflector.run())
        ready = group.create_task(_announce(reflector, heartbeat, lambda: notify(READY)))
        await stopped.wait()
        notify(STOPPING)
        ready.cancel()
        logger.info("the node stops")
        heartbeat.set_ready("the node is stopped")
        if options.at_stop == "drain":
            await _drain(pods, options)
        watcher.cancel()
        await pods.stop()
        with contextlib.suppress(TimeoutError, ApiError, ApiUnreachable):
            async with asyncio.timeout(LAST_WORDS):
                await heartbeat.flush()
                await parts.events.flush()
        for task in background:
            task.cancel()


async def _announce(reflector: Reflector, heartbeat: Heartbeat, notify: Callable[[], None]) -> None:
    """Reports that the node is ready once its Pods are known."""
    await reflector.synced.wait()
    heartbeat.set_ready(None)
    notify()


async def _drain(pods: Workload, options: NodeOptions) -> None:
    try:
        async with asyncio.timeout(options.shutdown_grace + LAST_WORDS):
            await pods.drain()
    except TimeoutError:
        logger.warning("Pods have not ended within shutdown_grace (%g s)", options.shutdown_grace)


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """The first error of a group that has words for the user, or else the first one."""
    errors = group.exceptions
    return next((one for one in errors if isinstance(one, StartupError | LeaseLost)), errors[0])
