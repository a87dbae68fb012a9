"""All Pods of the node, by uid: a name may be used again while the earlier Pod still ends."""

from __future__ import annotations

import asyncio
import copy

from ..api import Object
from ..timestamps import seconds
from .adoption import find_pods
from .pod_worker import AdoptedRun, PodWorker
from .runtime import PodRuntime
from .status import status_document


class Pods:
    """Runs the Pods that the API binds to the node."""

    def __init__(self, runtime: PodRuntime) -> None:
        self._runtime = runtime
        self._workers: dict[str, PodWorker] = {}

    async def changed(self, pod: Object) -> None:
        """Takes a Pod that was bound to the node, or another version of one. A repeated one changes nothing."""
        uid = pod["metadata"]["uid"]
        if worker := self._workers.get(uid):
            worker.update(pod)
            return
        status = pod.get("status") or {}
        if status.get("phase") in ("Succeeded", "Failed") and not pod["metadata"].get("deletionTimestamp"):
            return
        self._add(PodWorker(self._runtime, pod))

    async def deleted(self, pod: Object) -> None:
        """Ends a Pod that the API has no more, at once: it was deleted by force, or while the node was away."""
        if worker := self._workers.get(pod["metadata"]["uid"]):
            worker.kill()

    async def adopt(self) -> list[Object]:
        """Takes over the Pods of an earlier process of the node, before the API is asked for the current ones.

        Returns the Pods as that process saw them: `deleted` has to be called for those that the API has no more.
        """
        adopted = []
        for pod, state, process in find_pods(self._runtime.state_directory, self._runtime.clock()):
            worker = PodWorker(self._runtime, pod, AdoptedRun(state, process))
            self._add(worker)
            adopted.append(pod)
        return adopted

    async def stop(self) -> None:
        """Ends the tasks of all Pods, and no gateway: the next process of the node adopts them."""
        workers = list(self._workers.values())
        await asyncio.gather(*(worker.stop() for worker in workers))
        self._workers.clear()

    async def drain(self) -> None:
        """Ends every gateway, and leaves the Pods in the API with phase Failed: their controllers make others
        elsewhere."""
        workers = list(self._workers.values())
        await asyncio.gather(*(worker.drain() for worker in workers))
        self._workers.clear()

    @property
    def statuses(self) -> list[Object]:
        """Each Pod with its status as the node knows it."""
        found = []
        for worker in self._workers.values():
            pod = copy.deepcopy(worker.pod)
            document = status_document(pod, worker.state, self._runtime.addresses, seconds())
            pod["status"] = _plain(document["status"])
            found.append(pod)
        return found

    def worker(self, namespace: str, name: str) -> PodWorker | None:
        """The Pod of a name; of two, the one that is not being deleted."""
        named = [one for one in self._workers.values() if _name(one.pod) == (namespace, name)]
        return min(named, key=lambda one: one.deleted.is_set(), default=None)

    def _add(self, worker: PodWorker) -> None:
        self._workers[worker.uid] = worker
        worker.start(self._removed)

    def _removed(self, worker: PodWorker) -> None:
        if self._workers.get(worker.uid) is worker:
            del self._workers[worker.uid]


def _name(pod: Object) -> tuple[str, str]:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


def _plain(status: Object) -> Object:
    """A status without the directives of a patch."""
    addresses: Object = {
        key: [one for one in status[key] if "$patch" not in one] for key in ("podIPs", "hostIPs") if key in status
    }
    return {key: value for key, value in {**status, **addresses}.items() if value is not None}
