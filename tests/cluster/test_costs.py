"""The measurement of a node's costs works: benchmarks/measures/node.py."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.conftest import ROOT
from tests.support.cluster.article import POD
from tests.support.cluster.cluster import Cluster
from tests.support.registry import Registry

NAME = "wagi-costs"
ROWS = ("node with 0 Pods", "node with 1 Pods", "gateways with 3 Pods")


def test_the_costs_of_a_node(cluster: Cluster, registry: Registry) -> None:
    identity = cluster.control_plane.client("costs", f"system:node:{NAME}", "system:nodes")
    command = [sys.executable, "-m", "benchmarks.measures.node", "--name", NAME, "--pods", "3", "--idle", "1"]
    command += ["--kubeconfig", str(cluster.kubeconfig), "--node-kubeconfig", str(identity)]
    command += ["--kubectl", str(cluster.programs / "kubectl"), "--image", f"{registry.address}/{POD}-hello:v1.0.0"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, env=cluster.environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert [row for row in ROWS if not re.search(rf"^{row} +[\d.]+ MiB +[\d.]+ s/min$", result.stdout, re.M)] == []
    assert len(re.findall(r"^first answer, \w+ +[\d.]+ s$", result.stdout, re.M)) == 2
