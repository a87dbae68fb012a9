"""The status document."""

from __future__ import annotations

import json
import os

from wagi_gateway import __version__
from wagi_gateway.errors import Problem, StartupError
from wagi_gateway.observe.process_registry import ProcessRegistry
from wagi_gateway.observe.status import status


def test_a_server_that_starts(registry: ProcessRegistry) -> None:
    document = status(registry)
    assert json.loads(json.dumps(document)) == document
    assert (document["version"], document["ready"]) == (__version__, False)
    assert document["reason"] == "0 of 1 workers are ready"
    assert document["workers"] == {"desired": 1, "ready": 0}
    assert document["last_reload"] is None


def test_a_server_that_serves(registry: ProcessRegistry) -> None:
    registry.metrics.set_ready(True)
    registry.metrics.route("/hello")
    registry.metrics.show(3, {"/hello": (2, 1)})
    document = status(registry)
    assert (document["ready"], "reason" in document, document["requests_in_flight"]) == (True, False, 3)
    process, module = document["processes"][0], document["modules"][0]  # type: ignore[index]
    assert (process["name"], process["pid"], process["ready"], process["requests_in_flight"]) == (
        "server",
        os.getpid(),
        True,
        3,
    )
    assert (module["route"], module["routes"], module["in_flight"], module["queue"]) == (
        "/hello",
        {"/hello": "_start"},
        2,
        1,
    )
    assert "logs" not in module


def test_a_reload_that_failed(registry: ProcessRegistry) -> None:
    registry.on_reload(None, StartupError(Problem("limits.time", "wrong")))
    last = status(registry)["last_reload"]
    assert isinstance(last, dict)
    assert (last["ok"], last["problems"]) == (False, ["limits.time: wrong"])
