"""Who the node is to the API server: a kubeconfig, a bootstrap token, or the ServiceAccount of its Pod."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec
import yaml
from lightkube.config.kubeconfig import SERVICE_ACCOUNT, KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

from ..errors import Problem, StartupError
from . import bootstrap
from .api import Api, ApiUnreachable
from .client import LightkubeApi
from .credentials import ApiCredentials, certificate
from .options import NodeOptions
from .signing import common_name

_NODE = "system:node:"
"""The beginning of the user name of a node."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The API server, as the node's identity may use it."""

    api: Api
    server: str
    """The URL of the API server."""
    credentials: ApiCredentials
    """What the API is used with."""
    is_bootstrapped: bool
    """Whether the node renews its client certificate itself."""
    is_node: bool
    """Whether it is the identity of a node (`system:node:NAME`), for which the cluster signs serving certificates."""


async def open_identity(options: NodeOptions) -> Identity:
    """The first of: `kubeconfig`, `bootstrap_kubeconfig`, KUBECONFIG, and the ServiceAccount of the node's own Pod.

    Raises StartupError and OSError.
    """
    if options.bootstrap_kubeconfig and not options.kubeconfig:
        if not bootstrap.has_identity(options):
            token = _from_file(options.bootstrap_kubeconfig)
            api = _client(token, options.bootstrap_kubeconfig)
            try:
                await bootstrap.bootstrap(api, token, options)
            finally:
                await api.aclose()
        return _identity(bootstrap.kubeconfig_path(options), options, is_bootstrapped=True)
    if options.kubeconfig:
        return _identity(options.kubeconfig, options)
    if given := os.environ.get("KUBECONFIG"):
        return _identity(Path(given), options)
    return _in_cluster(SERVICE_ACCOUNT)


def _identity(path: Path, options: NodeOptions, *, is_bootstrapped: bool = False) -> Identity:
    def read() -> SingleConfig:
        config = _from_file(path)
        name = _node_of(config)
        if name not in (None, options.name):
            what = f"is the identity of the node {name}, and may be used by that one alone; set the name to it"
            raise StartupError(Problem(str(path), f"{what} (name = {options.name})"))
        return config

    config = read()
    return _opened(read, config, path, is_bootstrapped=is_bootstrapped, is_node=_node_of(config) is not None)


def _opened(
    read: Callable[[], SingleConfig], config: SingleConfig, path: Path, *, is_bootstrapped: bool, is_node: bool
) -> Identity:
    api = _client(config, path)
    return Identity(api, config.cluster.server, ApiCredentials(api, read), is_bootstrapped, is_node)


def _node_of(config: SingleConfig) -> str | None:
    """The name of the node whose client certificate a kubeconfig has; None if it is that of another user."""
    name = common_name(certificate(config) or b"")
    return name.removeprefix(_NODE) if name.startswith(_NODE) else None


def _in_cluster(service_account: str) -> Identity:
    def read() -> SingleConfig:
        try:
            return cast(SingleConfig, KubeConfig.from_service_account(service_account).get())
        except (ConfigError, KeyError):
            what = "no API server is named; give --kubeconfig or --bootstrap-kubeconfig, or set KUBECONFIG"
            raise StartupError(Problem("node", f"{what} (and this is no Pod with a ServiceAccount)")) from None

    return _opened(read, read(), Path(service_account), is_bootstrapped=False, is_node=False)


def _from_file(path: Path) -> SingleConfig:
    try:
        return cast(SingleConfig, KubeConfig.from_file(path.absolute()).get())
    except (ConfigError, OSError) as error:
        raise StartupError(Problem(str(path), str(error))) from None
    except (KeyError, TypeError, AttributeError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise StartupError(Problem(str(path), f"is not a kubeconfig: {type(error).__name__}: {error}")) from None


def _client(config: SingleConfig, path: Path) -> LightkubeApi:
    try:
        return LightkubeApi(config)
    except ApiUnreachable as error:
        raise StartupError(Problem(str(path), str(error))) from None
