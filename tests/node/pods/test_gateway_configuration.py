"""The modules.toml of a Pod's gateway."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from tests.support.pods import a_pod
from wagi_gateway.config.file import config_from_tables
from wagi_gateway.node.api import Object
from wagi_gateway.node.pods.ceiling import HostPath
from wagi_gateway.node.pods.gateway_configuration import NodeTables, PodParts, configuration_text, read_parts
from wagi_gateway.node.pods.mounts import VolumeMounts

IMAGE = f"r.example/hello@sha256:{'0' * 64}"
VOLUMES = [
    {"name": "config", "configMap": {"name": "c"}},
    {"name": "data", "emptyDir": {}},
    {"name": "srv", "hostPath": {"path": "/srv"}},
]
DIRECTORIES = {"config": Path("/state/config"), "data": Path("/state/data"), "srv": Path("/srv")}


def tables(
    pod: Object, environment: dict[str, str] | None = None, *, host_paths: tuple[HostPath, ...] = (), **node: Any
) -> dict[str, Any]:
    """The tables of the configuration, which the gateway's own reader accepts."""
    environments = {} if environment is None else {"hello": environment}
    file = read_parts(pod, PodParts(directories=DIRECTORIES, environments=environments))
    assert file.problems == ()
    text = configuration_text(
        pod,
        file,
        images={"hello": IMAGE},
        logs={"hello": Path("/state/0.log")},
        node=NodeTables(cache=Path("/cache"), **node),
        host_paths=host_paths,
    )
    found = tomllib.loads(text)
    assert config_from_tables(Path("/state/modules.toml"), tomllib.loads(text)).problems == ()
    return found


def test_the_whole_configuration() -> None:
    pod = a_pod({"resources": {"limits": {"memory": "64Mi"}}}, terminationGracePeriodSeconds=5)
    assert tables(pod, {"A": "$(B) $x"}, limits={"time": 10.0}) == {
        "server": {"listen": "127.0.0.1:3001", "shutdown_grace": 5},
        "cache": {"directory": "/cache"},
        "log": {"level": "warning", "access": False, "format": "text"},
        "limits": {"time": 10.0},
        "module": [
            {
                "route": "/hello",
                "module": f"oci:{IMAGE}",
                "pull_policy": "never",
                "limits": {"memory": "64MiB"},
                "environment": {"A": "$(B) $x"},
                "log_file": "/state/0.log",
            }
        ],
    }


def test_files_of_the_cluster_are_read_only() -> None:
    mounts = [
        {"name": "config", "mountPath": "/config"},
        {"name": "data", "mountPath": "/data", "subPath": "me/x"},
        {"name": "srv", "mountPath": "/srv", "readOnly": True, "mountPropagation": "None"},
    ]
    (module,) = tables(a_pod({"volumeMounts": mounts}, volumes=VOLUMES))["module"]
    assert module["volumes"] == {
        "/config": {"path": "/state/config", "read_only": True},
        "/data": "/state/data/me/x",
        "/srv": {"path": "/srv", "read_only": True},
    }


def test_a_directory_of_the_node_is_opened_beneath_the_permitted_one() -> None:
    mounts = [
        {"name": "data", "mountPath": "/data"},
        {"name": "srv", "mountPath": "/all"},
        {"name": "srv", "mountPath": "/part", "subPath": "a/b", "readOnly": True},
    ]
    host = (HostPath(Path("/srv"), Path("/")),)
    (module,) = tables(a_pod({"volumeMounts": mounts}, volumes=VOLUMES), host_paths=host)["module"]
    assert module["volumes"] == {
        "/data": "/state/data",
        "/all": {"path": "/srv", "beneath": "/"},
        "/part": {"path": "/srv/a/b", "read_only": True, "beneath": "/"},
    }


def test_the_made_mounts_stand_for_those_of_the_pod() -> None:
    """Before they are made, a `subPathExpr` has no value."""
    pod = a_pod({"volumeMounts": [{"name": "data", "mountPath": "/x", "subPathExpr": "$(A)"}]}, volumes=VOLUMES)
    assert tables(pod)["module"][0]["volumes"] == {"/x": "/state/data"}
    made = VolumeMounts([{"name": "own", "mountPath": "/etc", "readOnly": True}], {"own": Path("/state/own")})
    file = read_parts(pod, PodParts(directories=DIRECTORIES, mounts={"hello": made}))
    assert file.tables["module"][0]["volumes"] == {"/etc": {"path": "/state/own", "read_only": True}}


def test_outbound_calls_reach_public_addresses_only_unless_the_node_permits_more() -> None:
    pod = a_pod({"allowed_hosts": ["https://a.example"]})
    assert tables(pod)["module"][0]["public_addresses_only"] is True
    assert "public_addresses_only" not in tables(pod, public_addresses_only=False)["module"][0]


def test_a_long_grace_period_is_the_longest_of_the_gateway() -> None:
    assert tables(a_pod(terminationGracePeriodSeconds=7200))["server"]["shutdown_grace"] == 3600
    assert tables(a_pod())["server"]["shutdown_grace"] == 30
