"""What all Pods of one node share."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from ..api import Api, Object
from .addresses import PodAddresses
from .ceiling import PodCeiling
from .downward import DownwardFields
from .forks import Forks
from .gateway_configuration import NodeTables
from .image_pull import ImagePuller
from .ports import Listeners
from .resources import ControlGroups


class RecordsEvents(Protocol):
    """Reports Events; `node.events.Events` is one."""

    def record(
        self,
        about: Object,
        reason: str,
        message: str,
        type: Literal["Normal", "Warning"] = "Normal",  # noqa: A002
    ) -> None:
        """Reports an event about a Pod; never waits and never fails."""


def _start_places() -> asyncio.Semaphore:
    return asyncio.Semaphore((os.cpu_count() or 1) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRuntime:
    """The node as its Pods use it."""

    api: Api
    events: RecordsEvents
    puller: ImagePuller
    state_directory: Path
    addresses: PodAddresses
    tables: NodeTables
    ceiling: PodCeiling
    groups: ControlGroups
    forks: Forks
    allocatable: Mapping[str, str] = field(default_factory=dict)
    """The node's resources, for `resourceFieldRef`."""
    starts: asyncio.Semaphore = field(default_factory=_start_places)
    """Places for gateways that start, whose interpreters need a processor each."""
    listeners: Listeners = field(default_factory=Listeners)
    shutdown_grace: float = 30.0
    """Seconds that a Pod has to end when the node is stopped."""
    refresh: float = 30.0
    """Seconds between two looks at ConfigMaps, Secrets and sizes of volumes."""
    back_off: float = 10.0
    """Seconds of the first delay after a failure; each further one is twice as long, up to thirty times this."""
    clock: Callable[[], float] = time.time
    """The time in seconds since the epoch."""

    def fields(self, pod: Object, address: str) -> DownwardFields:
        """The downward API of a Pod, whose own address is `address`."""
        return DownwardFields(pod, self.addresses.of(pod, address), self.addresses.host_ip, self.allocatable)
