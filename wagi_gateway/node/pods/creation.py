"""The Pods of a node from its options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...errors import Problem, StartupError
from ..api import Api
from ..options import NodeOptions
from .address_pool import AddressPool, why_not_local
from .addresses import PodAddresses
from .ceiling import PodCeiling
from .forks import Forks
from .gateway_configuration import NodeTables
from .image_pull import ImagePuller, RegistryAccess
from .pods import Pods
from .resources import ControlGroups
from .runtime import PodRuntime, RecordsEvents

DEFAULT_LIMITS = {"memory": 256 * 2**20, "time": 30.0, "concurrency": 16}
"""The defaults of `[limits]`, which the ceiling may lower."""


def create_pods(
    options: NodeOptions,
    api: Api,
    events: RecordsEvents,
    addresses: tuple[str, ...],
    allocatable: Mapping[str, str],
) -> Pods:
    """The Pods of a node whose InternalIPs are `addresses`. Runs inside an event loop.

    Raises StartupError if the addresses of `pod_cidr` are not local, or the node's own is one of them.
    """
    ceiling = options.ceiling
    limits = {
        "memory": int(min(DEFAULT_LIMITS["memory"], ceiling.memory)),
        "time": float(min(DEFAULT_LIMITS["time"], ceiling.time)),
        "concurrency": int(min(DEFAULT_LIMITS["concurrency"], ceiling.concurrency)),
    }
    access = RegistryAccess(
        cache=options.cache.absolute(),
        registries=options.registries,
        auth_files=[options.auth_file] if options.auth_file else [],
        base=Path.cwd(),
    )
    return Pods(
        PodRuntime(
            api=api,
            events=events,
            puller=ImagePuller(access),
            state_directory=options.state_directory.absolute(),
            addresses=_addresses(options, addresses),
            tables=NodeTables(
                cache=options.cache.absolute(),
                limits=limits,
                public_addresses_only=not ceiling.allow_private_networks,
            ),
            ceiling=PodCeiling(ceiling, frozenset({options.port})),
            groups=ControlGroups.find(),
            forks=Forks(options.state_directory.absolute()),
            allocatable=allocatable,
            shutdown_grace=options.shutdown_grace,
        )
    )


def _addresses(options: NodeOptions, addresses: tuple[str, ...]) -> PodAddresses:
    shared, host = options.pod_ip or addresses[0], addresses[0]
    if options.pod_cidr is None:
        return PodAddresses(shared, host)
    pool = AddressPool.open(options.pod_cidr)
    for one in (*addresses, shared):
        if one in pool.range:
            what = f'"{pool.range}": has {one}, an address of the node; take a range without it'
            raise StartupError(Problem("pod_cidr", what))
    return PodAddresses(shared, host, pool, tuple(one for one in addresses if why_not_local(one) is None))
