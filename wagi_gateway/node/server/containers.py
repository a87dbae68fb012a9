"""The containers of the node's Pods, as its API shows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ...errors import GatewayError
from ..api import Object


class UnknownPod(GatewayError):
    """The node has no Pod of that name."""

    def __init__(self, pod: str) -> None:
        super().__init__(f'pod "{pod}" does not exist')


class UnknownContainer(GatewayError):
    """The Pod has no container of that name."""

    def __init__(self, pod: str, container: str) -> None:
        super().__init__(f'container "{container}" not found in pod "{pod}"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container of a Pod: a module that a gateway serves."""

    log: Path
    """The log of the latest run, whose file may not exist: each run has its own."""
    previous_log: Path | None = None
    """The log of the run before."""
    waiting: str | None = None
    """The reason of the state `waiting`, such as `ContainerCreating`; None if the container runs or has ended."""
    is_running: bool = True
    configuration: Path
    """The `modules.toml` of the Pod."""
    route: str
    """The route of the module in it."""
    pid: int | None = None
    """The process of the Pod's gateway, if it runs."""
    admin: Path | None = None
    """The UNIX socket of its admin listener."""
    bound: Callable[[int], None] = lambda _: None
    """Applies the limits of the Pod to another process of it."""


class Containers(Protocol):
    """The Pods of the node and their containers."""

    def container(self, namespace: str, pod: str, name: str) -> Container:
        """A container as it is now. Raises UnknownPod and UnknownContainer."""

    def pods(self) -> list[Object]:
        """The Pods with their status. Of two of one name, the one that is not being deleted comes first."""


def current_pods(containers: Containers) -> list[Object]:
    """One Pod of each name: a container is asked for by name, and each series of metrics is about one Pod."""
    named: dict[tuple[str, str], Object] = {}
    for pod in containers.pods():
        named.setdefault((pod["metadata"]["namespace"], pod["metadata"]["name"]), pod)
    return list(named.values())
