"""What `/metrics` shows of the Pods' gateways, also of hostile ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.node_api import Pods
from wagi_gateway.node.server import gateway_metrics
from wagi_gateway.node.server.gateway_metrics import PodName, Scraped, exposition_lines, scrape
from wagi_gateway.node.unix_socket import listening_at

TEXT = """\
# HELP wagi_requests_total Anything.
# TYPE wagi_requests_total gauge
wagi_requests_total{route="/hello",status="200"} 3.0
wagi_request_duration_seconds_bucket{le="+Inf",route="/a\\"}\\\\"} 2.0
wagi_ready 1.0
process_open_fds{process="main"} 9.0
"""


@asynccontextmanager
async def gateway(path: Path, answer: Callable[[asyncio.StreamWriter], None]) -> AsyncIterator[None]:
    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        answer(writer)
        with suppress(OSError):  # until the node ends the connection
            await reader.read()
        writer.close()

    with closing(listening_at(path)) as listener:
        async with await asyncio.start_unix_server(on_connection, sock=listener):
            yield


def answers(text: str, status: str = "200 OK") -> Callable[[asyncio.StreamWriter], None]:
    def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\n\r\n{text}".encode())
        writer.close()

    return answer


def scraped(tmp_path: Path, **answer: Callable[[asyncio.StreamWriter], None]) -> Scraped:
    """What Pods with these answers are scraped for; another one, `absent`, has no socket."""

    async def story() -> Scraped:
        pods = Pods()
        async with AsyncExitStack() as stack:
            for name in (*answer, "absent"):
                path = tmp_path / f"{name}.sock"
                pods.add(name, "a", tmp_path / "log", pid=1, admin=path)
                pods.add(name, "b", tmp_path / "log", pid=1, admin=path)
                if name in answer:
                    await stack.enter_async_context(gateway(path, answer[name]))
            pods.add("waiting", "a", tmp_path / "log", waiting="ContainerCreating", admin=tmp_path / "none")
            return await scrape(pods)

    return asyncio.run(story())


def silent(_: asyncio.StreamWriter) -> None:
    """Answers nothing."""


def test_a_gateway_that_does_not_answer_harms_no_other(tmp_path: Path) -> None:
    found = scraped(
        tmp_path,
        good=answers(TEXT),
        silent=silent,
        verbose=answers("x" * (gateway_metrics.MAX_POD_BYTES + 1)),
        failing=answers(TEXT, "500 Internal Server Error"),
    )
    expected = dict.fromkeys(("silent", "verbose", "failing", "absent")) | {"good": TEXT}
    assert found == {PodName("default", name): text for name, text in expected.items()}


def test_all_gateways_together_have_a_time_and_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_metrics, "TIME", 2.0)
    monkeypatch.setattr(gateway_metrics, "POD_TIME", 3600.0)
    monkeypatch.setattr(gateway_metrics, "MAX_BYTES", 4000)
    found = scraped(tmp_path, silent=silent, large=answers("x" * 1000), small=answers("x" * 900))
    assert [name.pod for name, text in found.items() if text] == ["small"]


def test_samples_have_the_labels_of_their_pod_and_are_grouped_by_family() -> None:
    pods: Scraped = {PodName("one", "a"): TEXT, PodName("two", "b"): "wagi_ready 0.0\n", PodName("two", "c"): None}
    text = exposition_lines(pods, is_open_metrics=False)
    families = {one.name: one for one in text_string_to_metric_families(text)}
    assert {name: one.type for name, one in families.items()} == {
        "wagi_requests": "counter",
        "wagi_request_duration_seconds": "histogram",
        "wagi_ready": "gauge",
    }
    (requests,) = families["wagi_requests"].samples
    assert requests.labels == {"namespace": "one", "pod": "a", "route": "/hello", "status": "200"}
    ready = {tuple(one.labels.values()): one.value for one in families["wagi_ready"].samples}
    assert ready == {("one", "a"): 1.0, ("two", "b"): 0.0}
    assert families["wagi_request_duration_seconds"].samples[0].labels["route"] == '/a"}\\'
    assert "# TYPE wagi_requests counter\nwagi_requests_total{" in exposition_lines(pods, is_open_metrics=True)


@pytest.mark.parametrize(
    "line",
    [
        'wagi_ready{pod="other"} 1.0',
        'wagi_requests_total{route="/a",namespace="other"} 1.0',
        "wagi_node_pods 7.0",
        'wagi_ready{a="}\nwagi_ready{b="} 1.0',
        "wagi_ready 1.0 1700000000000",
        "wagi_ready 1.0 # {} 1",
        "wagi_ready one",
        "wagi_requests_total_bucket 1.0",
    ],
)
def test_a_gateway_writes_into_no_series_but_its_own(line: str) -> None:
    assert exposition_lines({PodName("one", "a"): line}, is_open_metrics=False) == ""
