"""The checks of a Pod before anything is pulled: its annotations, fields, volumes, and the node's ceiling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...config.pod.manifest import DEFAULT_HOST, MODULES
from ...config.pod.quantity import parse_bytes
from ...config.values import is_local
from ...errors import redact
from ..api import Object
from .addresses import PodAddresses
from .ceiling import PodCeiling
from .fields import unsupported
from .gateway_configuration import PodParts, read_parts
from .volume_files import BadVolume
from .volume_kinds import kind_of

MAX_MESSAGE = 1000
"""Characters of the message of a status or an Event (1,024 is the API server's bound for an Event)."""


MAX_CONTAINERS = 250
"""Each has probes, Events and a status of its own, for which the node has one thread."""


@dataclass(frozen=True, slots=True)
class ValidatedPod:
    """What the checks found."""

    host: str
    """The address to listen on."""
    port: int
    served: tuple[str, ...]
    """The containers with a route."""
    problems: tuple[str, ...]
    """Why the Pod is not served; empty for a valid one."""
    warnings: tuple[str, ...]

    @property
    def message(self) -> str:
        """All problems in one text, cut off where an Event would be too long."""
        text = "; ".join(self.problems)
        return text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE - 1]}…"


def validate(pod: Object, volumes: Path, ceiling: PodCeiling, addresses: PodAddresses) -> ValidatedPod:
    """Checks a Pod; `volumes` is the directory that its volumes will have."""
    spec = pod["spec"]
    if (count := len(spec["containers"])) > MAX_CONTAINERS:
        what = f"spec.containers: {count}, and a Pod of this node has {MAX_CONTAINERS} at most; divide it"
        return ValidatedPod("", 0, (), (what,), ())
    directories = {
        volume["name"]: Path((volume.get("hostPath") or {}).get("path") or volumes / volume["name"])
        for volume in spec.get("volumes") or ()
    }
    file = read_parts(pod, PodParts(directories=directories))
    problems = [str(problem).removeprefix("Pod: ") for problem in file.problems]
    warnings = [str(warning).removeprefix("Pod: ") for warning in file.warnings]
    host, port = addresses.listen(pod, file.tables.get("server", {}).get("listen"))
    problems += addresses.problems(pod, host)
    problems += [f"{DEFAULT_HOST}: {problem}" for problem in ceiling.problems_of_port(port)]
    for name, module in zip(file.containers, file.tables.get("module", ()), strict=True):
        for problem in ceiling.problems_of_hosts(tuple(module.get("allowed_hosts") or ())):
            problems.append(f"{MODULES}: {name}: allowed_hosts: {problem}")
    for container in spec["containers"]:
        memory = ((container.get("resources") or {}).get("limits") or {}).get("memory")
        for problem in _problems_of_memory(memory, ceiling):
            problems.append(f"spec.containers ({container['name']}): resources.limits.memory: {problem}")
    for volume in spec.get("volumes") or ():
        if kind_of(volume) == "hostPath":
            try:
                ceiling.check_host_path(str(volume["hostPath"].get("path", "")))
            except BadVolume as error:
                problems.append(f"spec.volumes ({volume['name']}): {error}")
    if is_local(host):
        what = "is a loopback address, which no Service reaches; write 0.0.0.0 and the port"
        warnings.append(f"{DEFAULT_HOST}: {host} {what}")
    warnings += [*unsupported(pod), *addresses.warnings(pod)]
    return ValidatedPod(host, port, file.containers, tuple(map(redact, problems)), tuple(map(redact, warnings)))


def _problems_of_memory(memory: object, ceiling: PodCeiling) -> Iterator[str]:
    try:
        size = None if memory is None else parse_bytes(str(memory))
    except ValueError as error:
        yield str(error)
    else:
        yield from () if size is None else ceiling.problems_of_memory(size)
