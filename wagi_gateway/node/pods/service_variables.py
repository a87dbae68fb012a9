"""The variables of Services: `NAME_SERVICE_HOST`, `NAME_SERVICE_PORT`, `NAME_PORT_…`, and `KUBERNETES_…`.

Source: FromServices and getServiceEnvVarMap of the kubelet (pkg/kubelet/envvars/envvars.go, kubelet_pods.go).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ...cgi.environ import META_VARIABLES
from ..api import SERVICES, Api, Object

MAX_BYTES = 32 * 1024
"""Bytes of all names and values, half of what the environment of a request may have. The oldest Services come first."""
_MASTER_NAMESPACE, _MASTER = "default", "kubernetes"


class ServiceVariables(NamedTuple):
    """The variables of the Services that a Pod sees."""

    environment: dict[str, str]
    omitted: tuple[str, ...] = ()
    """Services beyond MAX_BYTES."""
    reserved: tuple[str, ...] = ()
    """Variables that are not set because CGI has others of these names."""


async def read_service_variables(api: Api, pod: Object) -> ServiceVariables:
    """The variables of a Pod: of all Services of its namespace with `enableServiceLinks`, and always of the API server.

    Raises ApiError, ApiUnreachable.
    """
    namespace = pod["metadata"]["namespace"]
    master = f"metadata.name={_MASTER}"
    found = {one["metadata"]["name"]: one for one in await _listed(api, _MASTER_NAMESPACE, master)}
    if pod["spec"].get("enableServiceLinks") is not False:
        found |= {one["metadata"]["name"]: one for one in await _listed(api, namespace, "")}
    return variables_of(found.values())


async def _listed(api: Api, namespace: str, field_selector: str) -> list[Object]:
    items: list[Object] = (await api.list(SERVICES, namespace=namespace, field_selector=field_selector))["items"]
    return items


def variables_of(services: Iterable[Object]) -> ServiceVariables:
    """The variables of the Services with an address (`clusterIP`), the API server's first, then the oldest ones."""
    environment: dict[str, str] = {}
    omitted: list[str] = []
    size = 0
    for service in sorted(services, key=_order):
        variables = _variables(service)
        size += sum(len(key) + len(value) for key, value in variables.items())
        if size > MAX_BYTES:
            omitted.append(service["metadata"]["name"])
            continue
        environment |= variables
    reserved = tuple(name for name in environment if name in META_VARIABLES)
    return ServiceVariables(
        {name: value for name, value in environment.items() if name not in reserved}, tuple(omitted), reserved
    )


def _order(service: Object) -> tuple[bool, str, str]:
    metadata = service["metadata"]
    return metadata["name"] != _MASTER, str(metadata.get("creationTimestamp") or ""), metadata["name"]


def _variables(service: Object) -> dict[str, str]:
    """The variables of one Service, in the order of a kubelet."""
    spec = service.get("spec") or {}
    address, ports = str(spec.get("clusterIP") or ""), spec.get("ports") or ()
    if address in ("", "None") or spec.get("type") == "ExternalName" or not ports:
        return {}
    prefix = _variable_name(service["metadata"]["name"])
    variables = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    for port in ports:
        if name := port.get("name"):
            variables[f"{prefix}_SERVICE_PORT_{_variable_name(name)}"] = str(port["port"])
    for number, port in enumerate(ports):
        protocol, joined = port.get("protocol") or "TCP", f"[{address}]" if ":" in address else address
        url = f"{protocol.lower()}://{joined}:{port['port']}"
        link = f"{prefix}_PORT_{port['port']}_{protocol.upper()}"
        if number == 0:
            variables[f"{prefix}_PORT"] = url
        variables[link] = url
        variables[f"{link}_PROTO"] = protocol.lower()
        variables[f"{link}_PORT"] = str(port["port"])
        variables[f"{link}_ADDR"] = address
    return variables


def _variable_name(name: str) -> str:
    return name.replace("-", "_").upper()
