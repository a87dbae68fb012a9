"""What a Pod needs before its gateway starts: valid annotations, images, volumes, variables and a configuration."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable, Mapping

from ..api import Object
from ..atomic_file import write_atomically
from .address_pool import AddressesExhausted
from .downward import DownwardFields
from .fields import unsupported
from .folder import PodFolder
from .gateway_configuration import PodParts, configuration_text, read_parts
from .gateway_log import rotate
from .image_pull import ImagePullFailed, PulledImage, is_always
from .mounts import VolumeMounts, make_mounts
from .ports import PortUnavailable, bind
from .pull_secrets import PullSecrets, read_pull_secrets
from .references import ReferenceMissing, References
from .runtime import PodRuntime
from .service_variables import ServiceVariables, read_service_variables
from .state import PodState, Waiting
from .storage_limits import excess
from .threads import in_thread
from .validation import MAX_MESSAGE, ValidatedPod, validate
from .variables import resolve_variables
from .volumes import VolumeDirectories

_MAX_WARNINGS = 5


class Preparation:
    """Prepares one Pod. Each method may be called again after it failed."""

    def __init__(
        self, runtime: PodRuntime, pod: Object, folder: PodFolder, state: PodState, changed: Callable[[], None]
    ) -> None:
        """`changed` is called when the state has changed."""
        self.pod = pod
        self.volumes = VolumeDirectories(
            runtime.api, pod, folder.volumes, runtime.fields(pod, state.address), runtime.ceiling
        )
        self._runtime = runtime
        self._folder = folder
        self._state = state
        self._changed = changed
        self._warned: set[str] = set()
        self._pulled: set[str] = set()
        """The containers whose images were pulled for the next run."""

    def begin(self) -> None:
        """Another run begins, for which images with the policy Always are pulled again."""
        self._pulled.clear()

    def update(self, pod: Object) -> None:
        """Takes another version of the Pod."""
        self.pod = pod
        self.volumes.update(pod, self._fields())
        if pod["spec"].get("ephemeralContainers"):
            self._warn_of(unsupported(pod))

    def warn(self, reason: str, message: str) -> None:
        """Reports an Event once for this Pod."""
        if message not in self._warned:
            self._warned.add(message)
            self._runtime.events.record(self.pod, reason, message, "Warning")

    def validate(self) -> ValidatedPod:
        """The checks of the Pod; their warnings are Events."""
        found = validate(self.pod, self._folder.volumes, self._runtime.ceiling, self._runtime.addresses)
        self._warn_of(found.warnings)
        return found

    async def assign_address(self) -> None:
        """Gives the Pod its address; while none is free, waits for the end of another Pod."""
        state, addresses = self._state, self._runtime.addresses
        before, waits = state.address, False
        while True:
            try:
                state.address = addresses.assign(self.pod, state.address)
            except AddressesExhausted as error:
                if not waits:
                    waits, state.address, state.waiting = True, "", Waiting("ContainerCreating", str(error))
                    text = f"Failed to create pod sandbox: {error}"
                    self._runtime.events.record(self.pod, "FailedCreatePodSandBox", text, "Warning")
                    self._changed()
                await addresses.wait_for_release()
            else:
                break
        if waits:
            state.waiting = Waiting()
        if waits or state.address != before:
            self._changed()

    def _warn_of(self, warnings: Iterable[str]) -> None:
        """Reports warnings, many of them as one Event: a Pod may have a few Events at once."""
        found = list(warnings)
        for warning in found if len(found) <= _MAX_WARNINGS else ["; ".join(found)[:MAX_MESSAGE]]:
            self.warn("Unsupported", warning)

    async def pull(self, served: tuple[str, ...]) -> bool:
        """Pulls the images that the state does not name yet, and those of Always once for each run; False if one
        failed, whose container says why.

        Raises ApiError, ApiUnreachable.
        """
        containers = {one["name"]: one for one in self.pod["spec"]["containers"]}
        due = {name for name, one in containers.items() if name not in self._pulled and is_always(one)}
        missing = [name for name in served if name not in self._state.images or name in due]
        if not missing:
            return True
        secrets = await read_pull_secrets(self._runtime.api, self.pod)
        for warning in secrets.warnings:
            self.warn("FailedToRetrieveImagePullSecret", warning)
        pulls = [self._pull_one(containers[name], secrets) for name in missing]
        results = await asyncio.gather(*pulls)
        return all(results)

    def _fields(self) -> DownwardFields:
        return self._runtime.fields(self.pod, self._state.address)

    async def _pull_one(self, container: Object, secrets: PullSecrets) -> bool:
        name, image = container["name"], container["image"]
        record = self._runtime.events.record
        if container.get("imagePullPolicy") != "Never":
            record(self.pod, "Pulling", f'Pulling image "{image}"')
        try:
            namespace, policy = self.pod["metadata"]["namespace"], container.get("imagePullPolicy")
            pulled = await self._runtime.puller.pull(image, policy, secrets, namespace=namespace)
        except ImagePullFailed as error:
            self._state.waiting_images[name] = Waiting(error.reason, str(error)[:1000])
            record(self.pod, "Failed", f'Failed to pull image "{image}": {error}', "Warning")
            record(self.pod, "Failed", f"Error: {error.reason}", "Warning")
            self._changed()
            return False
        self._pulled.add(name)
        self._state.images[name] = pulled.pinned
        self._state.waiting_images.pop(name, None)
        record(self.pod, "Pulled", _pulled_text(image, pulled))
        self._changed()
        return True

    async def write_volumes(self) -> None:
        """Makes the volumes. Raises VolumeNotReady, ApiError, ApiUnreachable."""
        self.volumes.update(self.pod, self._fields())
        await self.volumes.write(time.monotonic())
        for warning in self.volumes.warnings:
            self.warn("TokenForbidden", warning)

    def excess(self) -> str | None:
        """Why the Pod is evicted, if its files have grown beyond a limit. Blocks on disk."""
        return excess(self.pod, self._folder)

    def rotate_log(self) -> None:
        """Bounds the log of the running gateway. Blocks on disk."""
        rotate(self._folder.gateway_log)

    async def configure(self) -> None:
        """Writes the gateway's configuration for the next run.

        Raises VolumeNotReady, ReferenceMissing, UnknownField, ApiError, ApiUnreachable, OSError.
        """
        references = References(self._runtime.api, self.pod["metadata"]["namespace"])
        fields = self._fields()
        services = await read_service_variables(self._runtime.api, self.pod)
        self._warn_of_services(services)
        environments: dict[str, Mapping[str, str]] = {}
        mounts: dict[str, VolumeMounts] = {}
        for container in self.pod["spec"]["containers"]:
            name = container["name"]
            environment, skipped = await resolve_variables(container, references, fields, services.environment)
            environments[name] = environment
            made, target = self.volumes.made(), self._folder.sub_paths(name)
            mounts[name] = await in_thread(make_mounts, container, made, environment, target)
            if skipped:
                names = ", ".join(skipped[:20])
                self.warn(
                    "InvalidEnvironmentVariableNames", f"Keys [{names}] of envFrom were skipped: not usable names"
                )
        parts = PodParts(directories=self.volumes.paths, environments=environments, mounts=mounts)
        file = read_parts(self.pod, parts)
        if file.problems:
            raise ReferenceMissing("; ".join(str(problem).removeprefix("Pod: ") for problem in file.problems))
        restarts = self._state.restarts
        logs = {name: self._folder.log(name, restarts) for name in file.containers}
        text = configuration_text(
            self.pod,
            file,
            images=self._state.images,
            logs=logs,
            node=self._runtime.tables,
            host_paths=self.volumes.host_paths,
        )
        write_atomically(self._folder.configuration, text)
        self._folder.prune_logs(restarts)

    def bind(self, host: str, port: int) -> socket.socket:
        """The listening socket of the Pod. Raises PortUnavailable, which names the other Pod of a clash."""
        try:
            listener = bind(host, port)
        except PortUnavailable as error:
            holder = self._runtime.listeners.holder(host, port)
            raise PortUnavailable(f"{error}{f' by Pod {holder}' if holder else ''}") from None
        if self._runtime.addresses.is_of_others(listener.getsockname()[0], self._state.address):
            listener.close()
            raise PortUnavailable(f"{host}: is an address of Pods, and not of this one (pod_cidr)")
        return listener

    def _warn_of_services(self, services: ServiceVariables) -> None:
        """Reports the variables of Services that are not set."""
        if services.reserved:
            names = ", ".join(services.reserved[:20])
            self.warn("InvalidEnvironmentVariableNames", f"Variables [{names}] of Services were skipped: CGI sets them")
        if services.omitted:
            names = ", ".join(services.omitted[:10])
            what = f"Variables of {len(services.omitted)} Services were skipped, they are too many: {names}"
            self.warn("ServiceLinksSkipped", f"{what}; set enableServiceLinks: false where no module reads them")


def _pulled_text(image: str, pulled: PulledImage) -> str:
    if not pulled.was_downloaded:
        return f'Container image "{image}" already present on machine'
    return f'Successfully pulled image "{image}" in {pulled.seconds:.3f}s. Image size: {pulled.size} bytes.'
