"""The fields of a Pod: each of core/v1 is treated, and what has no effect says so."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.support.pods import ADDRESSES, a_pod
from wagi_gateway.config.pod import fields as known
from wagi_gateway.config.pod.mapping import FieldPolicy
from wagi_gateway.node.api import Object
from wagi_gateway.node.options import Ceiling
from wagi_gateway.node.pods.ceiling import PodCeiling
from wagi_gateway.node.pods.fields import CONTAINER, SPEC, unsupported
from wagi_gateway.node.pods.validation import validate

LISTS = ("args", "command", "ephemeralContainers", "hostAliases", "initContainers", "volumeDevices")
SAMPLES = {name: [{"name": "x"}] for name in LISTS}


def test_every_known_field_is_treated() -> None:
    assert SPEC.keys() == known.SPEC.keys()
    assert CONTAINER.keys() == known.CONTAINER.keys()


WORDS = {"read": {"honoured"}, "silent": {"no effect", "the cluster's"}, "warning": {"an Event"}, "error": {"refused"}}


@pytest.mark.parametrize(("title", "fields"), [("field of `spec`", SPEC), ("field of a container", CONTAINER)])
def test_the_page_has_every_field_with_its_treatment(title: str, fields: Mapping[str, FieldPolicy]) -> None:
    page = (ROOT / "docs/kubernetes-node.md").read_text()
    table = page.partition(f"| {title} |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines()[2:]]
    shown = {name: words.strip() for names, words in rows for name in re.findall(r"`(\w+)`", names)}
    assert shown.keys() == fields.keys()
    assert [name for name, words in shown.items() if words not in WORDS[fields[name].kind]] == []


def of_kind(kind: str) -> list[Any]:
    """A Pod with each field of a kind, and the field."""
    spec, container = ([name for name, one in fields.items() if one.kind == kind] for fields in (SPEC, CONTAINER))
    pods: list[Any] = [(a_pod({name: SAMPLES.get(name, "x")}), name) for name in container]
    for name in spec:
        pod = a_pod()
        pod["spec"][name] = SAMPLES.get(name, "x")
        pods.append((pod, name))
    return pods


@pytest.mark.parametrize(("pod", "name"), of_kind("error"))
def test_a_refused_field(pod: Object, name: str) -> None:
    assert name in validate(pod, Path("/v"), PodCeiling(Ceiling()), ADDRESSES).message


@pytest.mark.parametrize(("pod", "name"), of_kind("warning"))
def test_a_field_without_effect(pod: Object, name: str) -> None:
    (warning,) = unsupported(pod)
    assert f": {name} has no effect: " in warning


@pytest.mark.parametrize(
    ("pod", "warning"),
    [
        (a_pod(volumes=[{"name": "v", "emptyDir": {"medium": "Memory"}}]), "(v): medium Memory has no effect"),
        (a_pod({"resources": {"claims": [{"name": "gpu"}]}}), "resources.claims has no effect"),
        (a_pod({"livenessProbe": {"exec": {"command": ["x"]}}}), "(hello): livenessProbe: exec has no effect"),
        (a_pod({"startupProbe": {"grpc": {"port": 1}}}), "startupProbe: grpc has no effect"),
        (a_pod({"lifecycle": {"preStop": {"exec": {}}}}), "(hello): preStop: exec has no effect"),
        (a_pod({"lifecycle": {"postStart": {"tcpSocket": {"port": 1}}}}), "postStart: tcpSocket has no effect"),
        (a_pod({"lifecycle": {"stopSignal": "SIGQUIT"}}), "stopSignal has no effect"),
        (
            a_pod({"readinessProbe": {"httpGet": {"port": 1, "host": "a.example"}}}),
            "readinessProbe: host has no effect",
        ),
        (a_pod({"readinessProbe": {"tcpSocket": {"port": 1, "host": "a.example"}}}), "host has no effect"),
        (a_pod(ephemeralContainers=[{"name": "debugger"}]), "ephemeral containers (debugger) are not started"),
    ],
)
def test_a_part_without_effect(pod: Object, warning: str) -> None:
    (found,) = unsupported(pod)
    assert warning in found
