"""The command `node`: what it refuses in words. tests/cluster has nodes that run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import gateway

REFUSALS: dict[str, tuple[list[str], str]] = {
    "a label": (["--label", "x"], 'error: --label: "x" is not KEY=VALUE\n'),
    "a name": (["--name", "N"], 'error: command line: name = "N": not the name of a Node'),
    "a kubeconfig": (["--kubeconfig", "k", "--state-dir", "state"], "/k: Configuration file"),
    "no identity": (["--state-dir", "state"], "error: node: no API server is named; give --kubeconfig"),
    "a file": (["node.toml"], "error: node.toml: "),
}


@pytest.mark.parametrize(("arguments", "what"), REFUSALS.values(), ids=REFUSALS)
def test_a_mistake_is_said_in_words(tmp_path: Path, arguments: list[str], what: str) -> None:
    result = gateway("node", *arguments, cwd=tmp_path, KUBECONFIG="", KUBERNETES_SERVICE_HOST="")
    assert result.returncode == 3
    assert what in result.stderr.decode()


def test_a_label_is_a_pair(tmp_path: Path) -> None:
    result = gateway("node", "--label", "a=b", "--state-dir", "state", cwd=tmp_path, KUBECONFIG="")
    assert b"no API server is named" in result.stderr


def test_the_extra_is_named_where_it_is_missing(tmp_path: Path) -> None:
    (tmp_path / "lightkube.py").write_text("raise ImportError('none')")
    result = gateway("node", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert result.returncode == 3
    assert b'needs the packages of an extra: pip install "wagi-gateway[kubernetes]"' in result.stderr
