"""The Lease of the node: its sign of life, and the proof that no second node has its name."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from ..errors import GatewayError, Problem, StartupError
from ..observe.log import logger
from .api import LEASES, Api, ApiError, Object
from .atomic_file import write_atomically
from .options import NodeOptions
from .timestamps import microseconds, parse

NAMESPACE = "kube-node-lease"
MAX_DURATION = 300.0
"""Seconds for which a Lease of another node is watched: Krustlet's duration."""


class LeaseLost(GatewayError):
    """Another node of this name has taken the Lease."""


def holder_identity(options: NodeOptions) -> str:
    """The identity of the node in its state directory: the same after a restart, another one elsewhere.

    Raises StartupError if it cannot be kept: after a restart the node would take its own Lease for another one's.
    """
    path = options.state_directory / "holder"
    with contextlib.suppress(OSError, ValueError):
        name, _, rest = path.read_text().strip().rpartition("_")
        if name == options.name and rest:
            return f"{name}_{rest}"
    identity = f"{options.name}_{uuid.uuid4()}"
    try:
        write_atomically(path, f"{identity}\n")
    except OSError as error:
        what = f"the identity of the node cannot be kept there: {error.strerror}; free the disk, or mend the directory"
        raise StartupError(Problem(str(path), what)) from None
    return identity


class Lease:
    """The Lease of a node as one of its holders."""

    def __init__(
        self,
        api: Api,
        options: NodeOptions,
        holder: str,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._options = options
        self._holder = holder
        self._sleep = sleep
        self._clock = clock
        self._stored: Object | None = None

    async def claim(self) -> None:
        """Returns when no other node holds the Lease.

        A Lease of another holder is watched for its duration by this machine's clock alone: as long as nothing renews
        it, its holder may be dead. Raises StartupError if it is renewed, ApiError and ApiUnreachable.
        """
        self._stored = await self._get()
        before = _claim(self._stored)
        if not self._is_of_other(self._stored):
            return
        duration = self._duration(self._stored)
        logger.warning("another node holds the Lease of %s; watching it for %g s", self._options.name, duration)
        end = self._clock() + duration
        while self._clock() < end:
            await self._sleep(min(1.0, duration / 10))
            self._stored = await self._get()
            if not self._is_of_other(self._stored):
                return
            if (found := _claim(self._stored)) != before:
                what = f"a node of this name is alive: {found[0]} renews its Lease; stop it, or choose another name"
                raise StartupError(Problem(f"node {self._options.name}", what))

    async def renew(self, node_uid: str) -> None:
        """Renews the Lease, or creates it. Raises LeaseLost, ApiError and ApiUnreachable."""
        if self._stored is None:
            self._stored = await self._get()
            if self._is_of_other(self._stored):
                raise LeaseLost(f"{_claim(self._stored)[0]} has taken the Lease of the Node {self._options.name}")
        lease = copy.deepcopy(self._stored) if self._stored else _new(self._options.name)
        lease["metadata"]["ownerReferences"] = [
            {"apiVersion": "v1", "kind": "Node", "name": self._options.name, "uid": node_uid}
        ]
        spec = lease.setdefault("spec", {})
        now, duration = _renewal(spec.get("renewTime")), max(1, round(self._options.lease_duration))
        if spec.get("holderIdentity") != self._holder:
            spec["acquireTime"] = now
        spec |= {"holderIdentity": self._holder, "renewTime": now, "leaseDurationSeconds": duration}
        known, self._stored = self._stored, None  # after an error it has to be read again
        if known:
            self._stored = await self._api.replace(LEASES, lease)
        else:
            self._stored = await self._api.create(LEASES, lease)

    async def release(self) -> None:
        """Gives the Lease up, so that a successor need not watch it. Raises ApiError and ApiUnreachable."""
        if self._stored:
            lease = copy.deepcopy(self._stored)
            lease["spec"] = {"leaseDurationSeconds": 1, "renewTime": _renewal(lease["spec"].get("renewTime"))}
            await self._api.replace(LEASES, lease)

    async def _get(self) -> Object | None:
        try:
            return await self._api.get(LEASES, self._options.name, NAMESPACE)
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    def _is_of_other(self, lease: Object | None) -> bool:
        return _claim(lease)[0] not in (None, self._holder)

    def _duration(self, lease: Object | None) -> float:
        """Seconds for which a Lease is watched; a holder chooses its own duration, within bounds."""
        spec = (lease or {}).get("spec") or {}
        return min(float(spec.get("leaseDurationSeconds") or self._options.lease_duration), MAX_DURATION)


def _renewal(before: str | None) -> str:
    """The time of a renewal: now, or right after the renewal `before` if the clock has been set back.

    The node controller takes a Lease for renewed if its time is later than before, and the node for dead otherwise.
    """
    now = datetime.now(UTC)
    with contextlib.suppress(ValueError, OverflowError):
        now = max(now, parse(before) + timedelta(microseconds=1)) if before else now
    return microseconds(now)


def _claim(lease: Object | None) -> tuple[str | None, str | None]:
    """Who holds a Lease, and when it was renewed."""
    spec = (lease or {}).get("spec") or {}
    return spec.get("holderIdentity") or None, spec.get("renewTime")


def _new(name: str) -> Object:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": NAMESPACE},
    }
