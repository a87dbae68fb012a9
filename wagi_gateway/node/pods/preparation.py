"""What a Pod needs before its gateway starts: valid annotations, images, volumes, variables and a configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from ..api import Object
from .folder import PodFolder
from .gateway_configuration import PodParts, configuration_text, read_parts
from .image_pull import ImagePullFailed, PulledImage
from .pull_secrets import PullSecrets, read_pull_secrets
from .references import References
from .runtime import PodRuntime
from .state import PodState, Waiting, write_atomically
from .validation import ValidatedPod, validate
from .variables import resolve_variables
from .volumes import VolumeDirectories


class Preparation:
    """Prepares one Pod. Each method may be called again after it failed."""

    def __init__(
        self, runtime: PodRuntime, pod: Object, folder: PodFolder, state: PodState, changed: Callable[[], None]
    ) -> None:
        """`changed` is called when the state has changed."""
        self.pod = pod
        self.volumes = VolumeDirectories(runtime.api, pod, folder.volumes, runtime.fields(pod), runtime.ceiling)
        self._runtime = runtime
        self._folder = folder
        self._state = state
        self._changed = changed
        self._warned: set[str] = set()

    def update(self, pod: Object) -> None:
        """Takes another version of the Pod."""
        self.pod = pod
        self.volumes.update(pod, self._runtime.fields(pod))

    def warn(self, reason: str, message: str) -> None:
        """Reports an Event once for this Pod."""
        if message not in self._warned:
            self._warned.add(message)
            self._runtime.events.record(self.pod, reason, message, "Warning")

    def validate(self) -> ValidatedPod:
        """The checks of the Pod; their warnings are Events."""
        found = validate(self.pod, self._folder.volumes, self._runtime.ceiling)
        for warning in found.warnings:
            self.warn("Unsupported", warning)
        return found

    async def pull(self, served: tuple[str, ...]) -> bool:
        """Pulls the images that the state does not name yet; False if one failed, whose container says why.

        Raises ApiError, ApiUnreachable.
        """
        containers = {one["name"]: one for one in self.pod["spec"]["containers"]}
        missing = [name for name in served if name not in self._state.images]
        if not missing:
            return True
        secrets = await read_pull_secrets(self._runtime.api, self.pod)
        for warning in secrets.warnings:
            self.warn("FailedToRetrieveImagePullSecret", warning)
        pulls = [self._pull_one(containers[name], secrets) for name in missing]
        results = await asyncio.gather(*pulls)
        return all(results)

    async def _pull_one(self, container: Object, secrets: PullSecrets) -> bool:
        name, image = container["name"], container["image"]
        record = self._runtime.events.record
        if container.get("imagePullPolicy") != "Never":
            record(self.pod, "Pulling", f'Pulling image "{image}"')
        try:
            pulled = await self._runtime.puller.pull(image, container.get("imagePullPolicy"), secrets)
        except ImagePullFailed as error:
            self._state.waiting_images[name] = Waiting(error.reason, str(error)[:1000])
            record(self.pod, "Failed", f'Failed to pull image "{image}": {error}', "Warning")
            record(self.pod, "Failed", f"Error: {error.reason}", "Warning")
            self._changed()
            return False
        self._state.images[name] = pulled.pinned
        self._state.waiting_images.pop(name, None)
        record(self.pod, "Pulled", _pulled_text(image, pulled))
        self._changed()
        return True

    async def write_volumes(self) -> None:
        """Makes the volumes. Raises VolumeNotReady, ApiError, ApiUnreachable."""
        await self.volumes.write(self._runtime.clock())
        for warning in self.volumes.warnings:
            self.warn("TokenForbidden", warning)

    async def configure(self) -> None:
        """Writes the gateway's configuration for the next run.

        Raises VolumeNotReady, ReferenceMissing, UnknownField, ApiError, ApiUnreachable, OSError.
        """
        references = References(self._runtime.api, self.pod["metadata"]["namespace"])
        fields = self._runtime.fields(self.pod)
        environments: dict[str, Mapping[str, str]] = {}
        for container in self.pod["spec"]["containers"]:
            environment, skipped = await resolve_variables(container, references, fields)
            environments[container["name"]] = environment
            self.volumes.make_sub_paths(container, environment)
            if skipped:
                names = ", ".join(skipped[:20])
                self.warn(
                    "InvalidEnvironmentVariableNames", f"Keys [{names}] of envFrom were skipped: not usable names"
                )
        parts = PodParts(directories=self.volumes.paths, environments=environments)
        file = read_parts(self.pod, parts)
        restarts = self._state.restarts
        logs = {name: self._folder.log(name, restarts) for name in file.containers}
        text = configuration_text(self.pod, file, images=self._state.images, logs=logs, node=self._runtime.tables)
        write_atomically(self._folder.configuration, text)
        self._folder.prune_logs(restarts)


def _pulled_text(image: str, pulled: PulledImage) -> str:
    if not pulled.was_downloaded:
        return f'Container image "{image}" already present on machine'
    return f'Successfully pulled image "{image}" in {pulled.seconds:.3f}s. Image size: {pulled.size} bytes.'
