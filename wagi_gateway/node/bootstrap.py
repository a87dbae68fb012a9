"""The identity of a node by a bootstrap token: its first certificate, its kubeconfig, and its later certificates."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from lightkube.config.kubeconfig import SingleConfig

from ..errors import Problem, StartupError
from ..observe.log import logger
from .api import MALFORMED, Api, ApiError, ApiUnreachable, described
from .credentials import authority
from .options import NodeOptions
from .signing import CLIENT_SIGNER, Names, NotSigned, Validity, requested, store

RETRY = 10.0
"""Seconds between two attempts."""
_LONGEST_SLEEP = 3600.0


def certificate_path(options: NodeOptions) -> Path:
    """The file of the node's key and client certificate."""
    return options.state_directory / "client.pem"


def kubeconfig_path(options: NodeOptions) -> Path:
    """The file of the kubeconfig that the bootstrap writes."""
    return options.state_directory / "kubeconfig"


def has_identity(options: NodeOptions) -> bool:
    """Whether an earlier bootstrap has left a certificate that is still valid."""
    try:
        return kubeconfig_path(options).is_file() and not Validity.of(certificate_path(options).read_bytes()).is_over
    except (OSError, ValueError):
        return False


async def bootstrap(api: Api, config: SingleConfig, options: NodeOptions) -> None:
    """Gets the node's first certificate with the token of `config`, and writes the kubeconfig that names it.

    An API server that is away is tried again. Raises StartupError and OSError.
    """
    where = str(options.bootstrap_kubeconfig)
    while True:
        try:
            pem = await requested(api, CLIENT_SIGNER, Names(options.name))
            break
        except NotSigned as error:
            raise StartupError(Problem(where, str(error))) from None
        except ApiError as error:
            if error.status in (400, 401, 422):
                what = "the API server refuses its token; it may have expired: kubeadm token create"
                raise StartupError(Problem(where, f"{what} ({error})")) from None
            logger.warning("the bootstrap is tried again: %s", error)
        except ApiUnreachable as error:
            logger.warning("the bootstrap is tried again: %s", error)
        await asyncio.sleep(RETRY)
    store(certificate_path(options), pem)
    store(kubeconfig_path(options), _kubeconfig(config, options))
    logger.info("the node %s has its own certificate", options.name)


async def rotate(
    api: Api,
    options: NodeOptions,
    renewed: Callable[[], Awaitable[None]],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Renews the client certificate of a bootstrapped node in time, again and again; errors are tried again.

    `renewed` is called with each certificate in its file. Raises StartupError once the API server refuses a certificate
    that has expired: it signs no further one for it, but for the bootstrap token of the next start.
    """
    path = certificate_path(options)
    while True:
        try:
            await sleep_until(Validity.of(path.read_bytes()).renewal(), sleep)
            pem = await requested(api, CLIENT_SIGNER, Names(options.name))
            store(path, pem)
            await renewed()
            logger.info("the node's certificate is renewed")
            await pause_if_due(pem, sleep)
        except (ApiError, ApiUnreachable, NotSigned, OSError, *MALFORMED) as error:
            logger.warning("the node's certificate could not be renewed: %s", described(error))
            if isinstance(error, ApiError) and error.status in (401, 403) and not has_identity(options):
                what = "the node's certificate has expired, and the API server refuses it; its Pods serve on, this node"
                then = f"ends, and its next start requests another one with the token of {options.bootstrap_kubeconfig}"
                raise StartupError(Problem(str(path), f"{what} {then}")) from None
            await sleep(RETRY * 6)


async def sleep_until(at: datetime, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Sleeps until a time of the system's clock, an hour at most at once: the clock may be set meanwhile."""
    while (left := (at - datetime.now(UTC)).total_seconds()) > 0:
        await sleep(min(left, _LONGEST_SLEEP))


async def pause_if_due(pem: bytes, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Sleeps for an hour after a renewal whose certificate is due for another one: it would be renewed without end."""
    if Validity.of(pem).is_due:
        logger.warning("a new certificate is due for renewal already: is the clock of this machine ahead?")
        await sleep(_LONGEST_SLEEP)


def _kubeconfig(config: SingleConfig, options: NodeOptions) -> bytes:
    """The kubeconfig of the node, as JSON, which is YAML; the certificate authority is copied into it."""
    cluster: dict[str, object] = {"server": config.cluster.server}
    if data := authority(config):
        cluster["certificate-authority-data"] = base64.b64encode(data).decode()
    elif config.cluster.insecure:
        cluster["insecure-skip-tls-verify"] = True
    path = str(certificate_path(options))
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": "node", "user": {"client-certificate": path, "client-key": path}}],
        "contexts": [{"name": "node", "context": {"cluster": "cluster", "user": "node"}}],
        "current-context": "node",
    }
    return json.dumps(document, indent=2).encode() + b"\n"
