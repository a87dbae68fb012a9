"""The command `node`: a node of a Kubernetes cluster for WAGI Pods."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..errors import Problem, StartupError
from .terminal import exit_on_problems, without_none

Pairs = list[str] | None


def node(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="TOML file with options.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the Node; the host's name.")] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Kubeconfig; else KUBECONFIG, or the ServiceAccount."),
    ] = None,
    bootstrap_kubeconfig: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Kubeconfig with a bootstrap token, for a certificate.")
    ] = None,
    state_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where Pods, logs and certificates are kept (state_directory).")
    ] = None,
    label: Annotated[Pairs, typer.Option(metavar="KEY=VALUE", help="Label of the Node; repeatable (labels).")] = None,
    taint: Annotated[
        Pairs, typer.Option(metavar="KEY=VALUE:EFFECT", help="Further taint of the Node; repeatable (taints).")
    ] = None,
    address: Annotated[Pairs, typer.Option(metavar="IP", help="Address of the Node; repeatable (addresses).")] = None,
    pod_ip: Annotated[str | None, typer.Option("--pod-ip", metavar="IP", help="Address of the Pods (pod_ip).")] = None,
    pod_cidr: Annotated[
        str | None, typer.Option("--pod-cidr", metavar="CIDR", help="Range of own addresses of Pods (pod_cidr).")
    ] = None,
    listen: Annotated[str | None, typer.Option(metavar="IP", help="Address to serve the node's API on.")] = None,
    port: Annotated[int | None, typer.Option(metavar="PORT", help="Port of the node's API.")] = None,
    auth_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Credentials for registries, as docker login writes them.")
    ] = None,
    log_format: Annotated[
        Literal["auto", "text", "json", "terminal"], typer.Option(help="Format of the log.")
    ] = "auto",
) -> None:
    """Run a Kubernetes node for Pods of WAGI modules.

    CONFIG has further options: docs/kubernetes-node.md. Options of the command line win.
    """
    from ..config.settings import LogConfig
    from ..observe import log

    log.configure(LogConfig(format=log_format))
    with exit_on_problems(exit_code=3):
        try:
            from ..node.node import run_node
            from ..node.options import read_options
            from ..node.served import served
        except ImportError as error:
            what = f'needs the packages of an extra: pip install "wagi-gateway[kubernetes]" ({error})'
            raise StartupError(Problem("node", what)) from None
        given = without_none(
            name=name,
            kubeconfig=_absolute(kubeconfig),
            bootstrap_kubeconfig=_absolute(bootstrap_kubeconfig),
            state_directory=_absolute(state_dir),
            labels=dict(_pair(one) for one in label) if label else None,
            taints=taint or None,
            addresses=address or None,
            pod_ip=pod_ip,
            pod_cidr=pod_cidr,
            listen=listen,
            port=port,
            auth_file=_absolute(auth_file),
        )
        run_node(read_options(config, given), served)


def _absolute(path: Path | None) -> Path | None:
    return path.absolute() if path else None


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise StartupError(Problem("--label", f'"{text}" is not KEY=VALUE'))
    return key, value
