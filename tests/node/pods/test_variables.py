"""`env` and `envFrom`."""

from __future__ import annotations

import asyncio
import base64
import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.kubernetes_api import MemoryApi
from tests.support.pods import a_pod
from wagi_gateway.node.api import CONFIG_MAPS, SECRETS
from wagi_gateway.node.pods.downward import DownwardFields, UnknownField
from wagi_gateway.node.pods.references import ReferenceMissing, References
from wagi_gateway.node.pods.variables import MAX_BYTES, ResolvedVariables, resolve_variables


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def resolved(
    *env: dict[str, Any], env_from: Sequence[dict[str, Any]] = (), services: dict[str, str] | None = None
) -> ResolvedVariables:
    api = MemoryApi()
    api.put(CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"A": "1", "PATH_INFO": "x", "b=c": "y"}})
    api.put(SECRETS, {"metadata": {"name": "s"}, "data": {"K": b64(b"$(A)"), "bin": b64(b"\xff"), "nul": b64(b"\0")}})
    container = {"name": "hello", "env": list(env), "envFrom": list(env_from)}
    fields = DownwardFields(a_pod(container), "192.0.2.77", "192.0.2.1")
    return asyncio.run(resolve_variables(container, References(api, "default"), fields, services or {}))


def key_of(kind: str, name: str, key: str, **fields: Any) -> dict[str, Any]:
    return {"name": "X", "valueFrom": {kind: {"name": name, "key": key, **fields}}}


def test_variables_of_all_sources() -> None:
    found = resolved(
        {"name": "A", "value": "2"},
        {"name": "B", "value": "$(A) $$(A) $(P_K)"},
        key_of("secretKeyRef", "s", "K"),
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "EMPTY"},
        env_from=[{"configMapRef": {"name": "c"}}],
    )
    assert found.environment == {
        "A": "2",
        "B": "2 $(A) $(P_K)",
        "X": "$(A)",
        "IP": "192.0.2.77",
        "CPU": "0",
        "EMPTY": "",
    }
    assert found.skipped == ("PATH_INFO", "b=c")


def test_env_wins_over_envfrom_and_that_over_services() -> None:
    services = {"A": "s", "B": "s", "C": "s"}
    found = resolved(
        {"name": "B", "value": "$(A)$(C)"}, env_from=[{"configMapRef": {"name": "c"}}], services=services
    ).environment
    assert found == {"A": "1", "B": "1s", "C": "s"}


def test_a_prefix_is_part_of_the_name() -> None:
    found = resolved(env_from=[{"prefix": "P_", "configMapRef": {"name": "c"}}])
    assert found.environment == {"P_A": "1", "P_PATH_INFO": "x"}


@pytest.mark.parametrize(
    ("kind", "name", "key"),
    [("configMapKeyRef", "ghost", "A"), ("configMapKeyRef", "c", "ghost"), ("secretKeyRef", "ghost", "K")],
)
def test_what_is_optional_may_be_absent(kind: str, name: str, key: str) -> None:
    assert resolved(key_of(kind, name, key, optional=True)).environment == {}
    with pytest.raises(ReferenceMissing, match="ghost"):
        resolved(key_of(kind, name, key))


def test_envfrom_may_be_optional() -> None:
    assert resolved(env_from=[{"secretRef": {"name": "ghost", "optional": True}}]).environment == {}
    with pytest.raises(ReferenceMissing, match='configmap "ghost" not found'):
        resolved(env_from=[{"configMapRef": {"name": "ghost"}}])


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        (key_of("secretKeyRef", "s", "bin"), "not UTF-8"),
        (key_of("secretKeyRef", "s", "nul"), "NUL"),
        ({"name": "X", "valueFrom": {"fileKeyRef": {}}}, "not supported"),
        ({"name": "X", "valueFrom": {"fileKeyRef": {"path": "x"}}}, "fileKeyRef is not supported"),
    ],
)
def test_an_unusable_value(variable: dict[str, Any], message: str) -> None:
    with pytest.raises(ReferenceMissing, match=message):
        resolved(variable)


def test_an_unknown_field() -> None:
    with pytest.raises(UnknownField):
        resolved({"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "status.phase"}}})


def test_the_size_is_bounded() -> None:
    doubling = [{"name": f"V{n}", "value": f"$(V{n - 1})$(V{n - 1})" if n else "x" * 1000} for n in range(30)]
    with pytest.raises(ReferenceMissing, match="bytes of variables"):
        resolved(*doubling)
    with pytest.raises(ReferenceMissing, match=r"V1: grows to more than \d+ characters"):
        resolved(doubling[0], {"name": "V1", "value": "$(V0)" * 100})
    with pytest.raises(ReferenceMissing, match="bytes of variables"):
        resolved(*({"name": f"V{n}", "value": "é" * (MAX_BYTES // 4)} for n in range(3)))
    with pytest.raises(ReferenceMissing, match="bytes of variables"):
        resolved(services={"A_SERVICE_HOST": "x" * MAX_BYTES})


def test_variables_that_refer_to_a_large_one_take_no_memory() -> None:
    wide = [{"name": f"V{n}", "value": "$(A)"} for n in range(2000)]
    tracemalloc.start()
    try:
        with pytest.raises(ReferenceMissing, match="bytes of variables"):
            resolved({"name": "A", "value": "x" * (MAX_BYTES // 4)}, *wide)
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()
