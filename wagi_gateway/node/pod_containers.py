"""The containers of the node's Pods, as the node's API shows them."""

from __future__ import annotations

from ..config.pod.annotation import BadAnnotation, parse_modules
from .api import Object
from .pods.pod_worker import PodWorker
from .pods.pods import Pods
from .server.containers import Container, Containers, UnknownContainer, UnknownPod

_MODULES = "alpha.wagi.krustlet.dev/modules"


class PodContainers(Containers):
    """The containers of all Pods."""

    def __init__(self, pods: Pods) -> None:
        self._pods = pods

    def container(self, namespace: str, pod: str, name: str) -> Container:
        """A container as it is now. Raises UnknownPod and UnknownContainer."""
        worker = self._pods.worker(namespace, pod)
        if worker is None:
            raise UnknownPod(pod)
        if all(one["name"] != name for one in worker.pod["spec"].get("containers") or ()):
            raise UnknownContainer(pod, name)
        state, folder = worker.state, worker.folder
        has_ended = state.run is None and state.termination is None and state.last_termination is not None
        has_begun = state.run is not None or state.termination is not None or has_ended
        return Container(
            log=folder.log(name, state.restarts),
            # While a restart is awaited, the latest run is the previous one.
            previous_log=folder.log(name, state.restarts) if has_ended else folder.previous_log(name, state.restarts),
            waiting=None if has_begun else state.waiting_images.get(name, state.waiting).reason,
            is_running=state.run is not None,
            configuration=folder.configuration,
            route=_route(worker, name),
            pid=state.run.pid if state.run else None,
        )

    def pods(self) -> list[Object]:
        """The Pods with their status."""
        return self._pods.statuses


def _route(worker: PodWorker, name: str) -> str:
    """The route of a container; empty if the annotation gives it none."""
    annotations = worker.pod["metadata"].get("annotations") or {}
    try:
        module = parse_modules(annotations.get(_MODULES, "{}")).get(name)
    except BadAnnotation:
        return ""
    route = module.get("route") if isinstance(module, dict) else None
    return route if isinstance(route, str) else ""
