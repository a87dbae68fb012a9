"""ConfigMaps and Secrets of a Pod."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.kubernetes_api import MemoryApi
from wagi_gateway.node.api import CONFIG_MAPS, SECRETS, ApiError
from wagi_gateway.node.pods import references as module
from wagi_gateway.node.pods.references import MAX_OBJECT, ReferenceMissing, References


def test_an_object_is_fetched_once() -> None:
    api = MemoryApi()
    api.put(CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"a": "1"}, "binaryData": {"b": "/w=="}})
    references = References(api, "default")

    async def story() -> None:
        for _ in range(2):
            assert await references.config_map("c") == {"a": b"1", "b": b"\xff"}
            assert await references.config_map("ghost", optional=True) == {}

    asyncio.run(story())
    assert [call[0] for call in api.calls] == ["get", "get"]


@pytest.mark.parametrize(
    ("data", "message"),
    [({"a": "no base64!"}, "not base64"), ({"a": "QUFB" * MAX_OBJECT}, "more than")],
)
def test_an_unusable_secret(data: dict[str, str], message: str) -> None:
    api = MemoryApi()
    api.put(SECRETS, {"metadata": {"name": "s"}, "data": data})
    with pytest.raises(ReferenceMissing, match=message):
        asyncio.run(References(api, "default").secret("s"))


def test_all_objects_of_a_pod_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TOTAL", 3)
    api = MemoryApi()
    for name in ("c", "d"):
        api.put(CONFIG_MAPS, {"metadata": {"name": name}, "data": {"a": "12"}})
    references = References(api, "default")

    async def story() -> None:
        for name in ("c", "c"):
            assert await references.config_map(name) == {"a": b"12"}
        with pytest.raises(ReferenceMissing, match='configmap "d": the ConfigMaps and Secrets of the Pod have more'):
            await references.config_map("d")

    asyncio.run(story())


def test_an_error_of_the_api_is_passed_on() -> None:
    api = MemoryApi()
    api.failures.append(ApiError(403, "Forbidden", "no"))
    with pytest.raises(ApiError):
        asyncio.run(References(api, "default").secret("s", optional=True))
