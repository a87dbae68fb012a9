"""The options of the command `node` as a frozen model: each option's name, default, unit and meaning."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, ByteSize, Field, StrictBool, StrictInt, ValidationError

from ..config.file import read_toml
from ..config.settings import Registries, SettingsTable
from ..config.validation import explain
from ..config.values import Duration, HostEntry, Size
from ..errors import Problem, StartupError
from .address_range import AddressRange

ARCHITECTURE = "wasm32-wagi"
"""The value of the labels `kubernetes.io/arch` and `kubernetes.io/os`, and of the two taints."""

_SUBDOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_TAINT = re.compile(r"(?P<key>[^=:]+)(?:=(?P<value>[^=:]*))?:(?P<effect>NoSchedule|PreferNoSchedule|NoExecute)")


class Taint(NamedTuple):
    """A taint of the Node."""

    key: str
    value: str
    effect: str

    @classmethod
    def parse(cls, text: str) -> Taint:
        """`KEY=VALUE:EFFECT` or `KEY:EFFECT`. Raises ValueError."""
        match = _TAINT.fullmatch(text)
        if not match:
            raise ValueError('not a taint; write KEY=VALUE:NoSchedule, or "NoExecute" or "PreferNoSchedule" for it')
        _check_label_key(match["key"])
        return cls(match["key"], _check_label_value(match["value"] or ""), match["effect"])


def _check_name(name: str) -> str:
    if not _SUBDOMAIN.fullmatch(name):
        raise ValueError("not the name of a Node: lower-case letters, digits, '-' and '.', such as \"wagi-1\"")
    return name


def _check_label_key(key: str) -> str:
    prefix, slash, name = key.rpartition("/")
    if (slash and not _SUBDOMAIN.fullmatch(prefix)) or not _LABEL_NAME.fullmatch(name):
        raise ValueError('not a key of a label; write for example "example.com/zone"')
    return key


def _check_label_value(value: str) -> str:
    if value and not _LABEL_NAME.fullmatch(value):
        raise ValueError("not a value of a label: at most 63 letters, digits, '-', '_' and '.'")
    return value


def _check_taint(text: str) -> str:
    Taint.parse(text)
    return text


def _check_address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError('not an IP address; write for example "10.0.0.4"') from None


def _check_cidr(text: str) -> str:
    try:
        network = ip_network(text if "/" in text else "", strict=False)
    except ValueError:
        raise ValueError('not a range of IP addresses; write for example "10.1.2.0/28"') from None
    if network.network_address != ip_interface(text).ip:
        raise ValueError(f'not the first address of a range; write "{network}"')
    if network.is_multicast or network.is_link_local or network.network_address.is_unspecified:
        raise ValueError('not addresses that EndpointSlices take; write a private range such as "10.1.2.0/28"')
    return str(network)


def _check_prefix(path: str) -> str:
    if not path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise ValueError('not an absolute path; write for example "/srv/wagi"')
    return path


def _host_name() -> str:
    return socket.gethostname().lower()


def _state_directory() -> Path:
    """The directory that systemd gives the unit, or else one for root."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(given or "/var/lib/wagi-gateway-node")


NodeName = Annotated[str, AfterValidator(_check_name)]
Labels = dict[Annotated[str, AfterValidator(_check_label_key)], Annotated[str, AfterValidator(_check_label_value)]]
TaintText = Annotated[str, AfterValidator(_check_taint)]
Address = Annotated[str, AfterValidator(_check_address)]
Cidr = Annotated[str, AfterValidator(_check_cidr)]
PathPrefix = Annotated[str, AfterValidator(_check_prefix)]


class Ceiling(SettingsTable):
    """`[ceiling]`: what a Pod may have at most, because every author of a Pod writes its annotations."""

    allowed_hosts: tuple[HostEntry, ...] | None = None
    """Hosts that modules may call, as in `allowed_hosts` of a `[[module]]`; without it every host that a Pod names, but
    no private network."""
    allow_private_networks: StrictBool = False
    """Whether modules may call hosts in private networks, and so the cluster's own Services."""
    memory: Size = Field(ByteSize(2**30), ge=64 * 2**10, le=4 * 2**30)
    """`limits.memory` of a module; a Pod that wants more is refused."""
    time: Duration = Field(300.0, gt=0, le=86400)
    """`limits.time` of a module."""
    concurrency: StrictInt = Field(256, ge=1, le=4096)
    """`limits.concurrency` of a module."""
    host_paths: tuple[PathPrefix, ...] = ()
    """Directories at or below which `hostPath` volumes may be; without one there are no such volumes."""
    privileged_ports: StrictBool = False
    """Whether Pods may listen on ports below 1024."""


class NodeOptions(SettingsTable):
    """The options of `wagi-gateway node`: those of the command line over those of its file."""

    name: NodeName = Field(default_factory=_host_name)
    """Name of the Node; without it the host's name in lower case."""
    labels: Labels = Field(default_factory=dict)
    """Labels of the Node besides its own."""
    taints: tuple[TaintText, ...] = ()
    """Taints of the Node besides its own, as `KEY=VALUE:EFFECT`."""
    addresses: tuple[Address, ...] = ()
    """Addresses of the Node (InternalIP); without one that of the interface which leads to the API server."""
    pod_ip: Address | None = None
    """Address of the Pods, which EndpointSlices name; without it the first of `addresses`. EndpointSlices refuse
    loopback addresses."""
    pod_cidr: Cidr | None = None
    """Range of addresses, such as `10.1.2.0/28`, of which each Pod without `hostNetwork` gets one of its own. All of
    them have to be local on the machine: `ip route add local 10.1.2.0/28 dev lo`. Without a range all Pods have the
    address of the node, and no two of them one port."""
    provider_id: str | None = Field(None, min_length=1)
    """The instance in the cloud (`spec.providerID`), where a controller of the cloud looks for one."""
    max_pods: StrictInt = Field(110, ge=1, le=1000)
    """Pods that the scheduler may bind to the Node, if `pod_cidr` has as many addresses."""
    reserved_memory: Size = Field(ByteSize(256 * 2**20), ge=0)
    """Memory of the machine that is not for Pods: the difference of `capacity` and `allocatable`."""

    kubeconfig: Path | None = None
    """Address and credentials of the API server. Without it and without `bootstrap_kubeconfig`, those that KUBECONFIG
    names, or else those of the Pod that the node runs in."""
    bootstrap_kubeconfig: Path | None = None
    """The same with a bootstrap token, by which the node gets a certificate of its own."""
    state_directory: Path = Field(default_factory=_state_directory)
    """Where the node keeps its Pods, logs and certificates; without it STATE_DIRECTORY, or
    `/var/lib/wagi-gateway-node`. One node uses it."""
    cache_directory: Path | None = None
    """Where modules are kept, compiled and pulled; without it `cache` in `state_directory`."""

    listen: Address = "0.0.0.0"  # noqa: S104  # the API server connects to the Node's address
    """Address on which the node's API is served."""
    port: StrictInt = Field(10350, ge=1, le=65535)
    """Port of the node's API, by which the API server gets logs; 10250 belongs to a kubelet on the same host."""
    tls_cert: Path | None = None
    """Certificate of the node's API (PEM), with its chain; read again when it changes."""
    tls_key: Path | None = None
    """Its private key; without it `tls_cert` holds the key, too."""
    serving_certificate: Literal["auto", "requested", "self-signed"] = "auto"
    """Where the certificate comes from without `tls_cert`: `requested` asks the cluster for one, which somebody has to
    approve (`kubectl certificate approve`); `auto` does so if the node has an identity of a node, since the cluster
    signs none for others."""
    client_ca_file: Path | None = None
    """Certificate authorities of the clients of the node's API (PEM); without it those that the cluster publishes in
    `kube-system/extension-apiserver-authentication`, or else those of the kubeconfig."""

    registries: Registries = Field(default_factory=dict)
    """How OCI registries are spoken to, as in a `modules.toml`: mirrors, plain HTTP, authorities."""
    auth_file: Path | None = None
    """File of credentials for registries, besides those of Pods."""
    ceiling: Ceiling = Field(default_factory=Ceiling)
    """What a Pod may have at most."""

    lease_duration: Duration = Field(40.0, ge=1, le=3600)
    """Time after which the cluster takes a silent node for dead; the Lease is renewed four times as often."""
    status_interval: Duration = Field(300.0, ge=1, le=3600)
    """Time after which the status of the Node is written, although nothing in it has changed."""
    at_stop: Literal["drain", "leave"] = "drain"
    """What becomes of the Pods when the node is stopped (SIGTERM): they end within their grace period, or they are left
    to serve until the node runs again, which systemd allows with `KillMode=process`."""
    shutdown_grace: Duration = Field(30.0, ge=0, le=3600)
    """Time that Pods have to end when the node is stopped; a shorter grace period of a Pod holds."""

    @property
    def heartbeat(self) -> float:
        """Seconds between two renewals of the Lease."""
        return self.lease_duration / 4

    @property
    def pods(self) -> int:
        """Pods that the node has room for."""
        return min(self.max_pods, AddressRange(self.pod_cidr).size) if self.pod_cidr else self.max_pods

    @property
    def all_taints(self) -> tuple[Taint, ...]:
        """The taints of the Node: its own, and `taints`."""
        own = (Taint("kubernetes.io/arch", ARCHITECTURE, effect) for effect in ("NoSchedule", "NoExecute"))
        return tuple(dict.fromkeys((*own, *map(Taint.parse, self.taints))))

    @property
    def cache(self) -> Path:
        """The directory of modules."""
        return self.cache_directory or self.state_directory / "cache"


_PATHS = ("kubeconfig", "bootstrap_kubeconfig", "state_directory", "cache_directory", "tls_cert", "tls_key")
_MORE_PATHS = ("client_ca_file", "auth_file")


def read_options(path: Path | None, given: Mapping[str, object]) -> NodeOptions:
    """The options of a TOML file, and over them those `given` on the command line.

    Relative paths of the file start beside it. Raises StartupError with every mistake.
    """
    tables = read_toml(path) if path else {}
    if path:
        for name in (*_PATHS, *_MORE_PATHS):
            if isinstance(tables.get(name), str):
                tables[name] = path.absolute().parent / tables[name]
    problems = _problems(tables, str(path)) + _problems(given, "command line")
    if problems:
        raise StartupError(*problems)
    options = NodeOptions.model_validate({**tables, **given})
    if options.tls_key and not options.tls_cert:
        raise StartupError(Problem(str(path or "command line"), "tls_key: there is no tls_cert beside it"))
    return options


def _problems(tables: Mapping[str, Any], where: str) -> list[Problem]:
    try:
        NodeOptions.model_validate(dict(tables))
    except ValidationError as error:
        return [Problem(where, explain(detail, NodeOptions, "", dict(tables))) for detail in error.errors()]
    return []
