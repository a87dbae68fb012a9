"""All Pods of the node, by uid: a name may be used again while the earlier Pod still ends."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

from ...config.pod.annotation import BadAnnotation, parse_modules
from ...config.pod.manifest import MODULES
from ...observe.log import logger
from ..api import MALFORMED, Object
from ..server.containers import Container, UnknownContainer, UnknownPod
from ..timestamps import seconds
from .adoption import find_pods
from .pod_worker import AdoptedRun, PodWorker
from .resources import bound_command
from .runtime import PodRuntime
from .shape import shape_problem
from .status import status_document

_DEFAULT_PODS = "110"


class Pods:
    """Runs the Pods that the API binds to the node."""

    def __init__(self, runtime: PodRuntime) -> None:
        self._runtime = runtime
        self._workers: dict[str, PodWorker] = {}
        self._most = int(runtime.allocatable.get("pods", _DEFAULT_PODS))
        self._is_draining = False

    async def changed(self, pod: Object) -> None:
        """Takes a Pod that was bound to the node, or another version of one. A repeated one changes nothing."""
        if key := shape_problem(pod):
            name = pod["metadata"].get("name") if isinstance(pod.get("metadata"), dict) else None
            logger.warning("the Pod %s has no usable %s, and is left out", str(name)[:253], key)
            return
        try:
            self._take(pod)
        except MALFORMED as error:  # one Pod keeps no other from being seen
            logger.warning("Pod %s cannot be taken: %r", pod["metadata"]["uid"], error)

    def _take(self, pod: Object) -> None:
        if worker := self._workers.get(pod["metadata"]["uid"]):
            worker.update(pod)
            return
        if self._is_draining:  # a version from before the end of its gateway would start it again
            return
        status = pod.get("status") or {}
        if status.get("phase") in ("Succeeded", "Failed") and not pod["metadata"].get("deletionTimestamp"):
            return
        worker = PodWorker(self._runtime, pod)
        used, most = sum(not one.has_ended for one in self._workers.values()), self._most
        if used >= most and not pod["metadata"].get("deletionTimestamp"):
            what = f"Node didn't have enough resource: pods, requested: 1, used: {used}, capacity: {most}"
            worker.refuse("OutOfpods", what)
        self._add(worker)

    async def deleted(self, pod: Object) -> None:
        """Ends a Pod that the API has no more, at once: it was deleted by force, or while the node was away."""
        if worker := self._workers.get(pod["metadata"]["uid"]):
            worker.kill()

    async def adopt(self) -> list[Object]:
        """Takes over the Pods of an earlier process of the node, before the API is asked for the current ones.

        Returns the Pods as that process saw them: `deleted` has to be called for those that the API has no more.
        """
        found = find_pods(self._runtime.state_directory, self._runtime.clock())
        self._runtime.forks.end_strays([one.process.pid for one in found if one.process])
        with contextlib.suppress(OSError):  # the first start of a gateway has the error
            self._runtime.forks.begin()
        adopted = []
        for pod, state, process in found:
            worker = PodWorker(self._runtime, pod, AdoptedRun(state, process))
            self._add(worker)
            adopted.append(pod)
        return adopted

    async def stop(self) -> None:
        """Ends the tasks of all Pods, and no gateway: the next process of the node adopts them."""
        workers = list(self._workers.values())
        await asyncio.gather(*(worker.stop() for worker in workers))
        self._workers.clear()
        self._runtime.forks.end()

    async def drain(self) -> None:
        """Ends every gateway, and leaves the Pods in the API with phase Failed: their controllers make others
        elsewhere."""
        self._is_draining = True
        workers = list(self._workers.values())
        await asyncio.gather(*(worker.drain() for worker in workers))
        self._workers.clear()

    def pods(self) -> list[Object]:
        """Each Pod with its status as the node knows it, those that are being deleted last. Not to be changed."""
        found = []
        for worker in sorted(self._workers.values(), key=lambda one: one.deleted.is_set()):
            document = status_document(worker.pod, worker.state, self._runtime.addresses, seconds())
            found.append(worker.pod | {"status": _plain(document["status"])})
        return found

    def container(self, namespace: str, pod: str, name: str) -> Container:
        """A container as it is now. Raises UnknownPod and UnknownContainer."""
        named = [one for one in self._workers.values() if _name(one.pod) == (namespace, pod)]
        if not named:
            raise UnknownPod(pod)
        worker = min(named, key=lambda one: one.deleted.is_set())  # of two, the one that is not being deleted
        if all(one["name"] != name for one in worker.pod["spec"]["containers"]):
            raise UnknownContainer(pod, name)
        state, folder = worker.state, worker.folder
        log = folder.log(name, state.latest)
        # Until the next run, the latest one is the previous one, too.
        is_between = not state.run and not state.termination and state.last_termination is not None
        has_begun = state.run or state.termination or is_between
        return Container(
            log=log,
            previous_log=log if is_between else folder.previous_log(name, state.latest),
            waiting=None if has_begun else state.waiting_images.get(name, state.waiting).reason,
            is_running=state.run is not None,
            configuration=folder.configuration,
            route=_route(worker.pod, name),
            pid=state.run.pid if state.run else None,
            admin=folder.admin_socket,
            bound=partial(bound_command, self._runtime.groups, worker.pod),
        )

    def _add(self, worker: PodWorker) -> None:
        self._workers[worker.uid] = worker
        worker.start(self._removed)

    def _removed(self, worker: PodWorker) -> None:
        if self._workers.get(worker.uid) is worker:
            del self._workers[worker.uid]


def _name(pod: Object) -> tuple[str, str]:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


def _route(pod: Object, container: str) -> str:
    """The route of a container in the annotation; empty without one."""
    try:
        entry = parse_modules((pod["metadata"].get("annotations") or {}).get(MODULES, "{}")).get(container)
    except BadAnnotation:
        return ""
    return str(entry.get("route", "")) if isinstance(entry, dict) else ""


def _plain(status: Object) -> Object:
    """A status without the directives of a patch."""
    addresses: Object = {
        key: [one for one in status[key] if "$patch" not in one] for key in ("podIPs", "hostIPs") if status[key]
    }
    return {key: value for key, value in {**status, **addresses}.items() if value is not None}
