"""Canary: every internal name of uvicorn and httptools that the package uses still exists.

The names are read from the package's source, so that the test covers each of them. Where a test fails: adapt the
module it names, and the upper bound of uvicorn or httptools in pyproject.toml.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import logging
import re
from importlib.metadata import version
from typing import Any

import httptools
import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from tests.conftest import ROOT
from wagi_gateway.config.settings import ServerConfig
from wagi_gateway.observe import log
from wagi_gateway.server.response_writer import ResponseWriter
from wagi_gateway.server.uvicorn_config import worker_config

OWN = {"app", "close_if_idle", "is_stopping", "on_hangup", "reload", "reload_soon", "serve_config"}
"""Public names that Worker and BoundedProtocol add to uvicorn's classes."""
EXPRESSIONS = {
    "server/protocol.py": {"self", "self.cycle", "cycle", "self.flow", "self.parser", "httptools"},
    "server/worker.py": {"self", "self.lifespan", "self.server_state", "self.config"},
    "server/worker_process.py": {"config"},
    "server/supervisor.py": {"self._config"},
    "server/serve.py": {"server"},
    "server/admin.py": {"self._server"},
}
"""The expressions through which each module uses uvicorn and httptools."""
Objects = dict[tuple[str, str], object]


async def _app(_scope: object, _receive: object, _send: object) -> None:
    pass


class _Transport(asyncio.Transport):
    def is_closing(self) -> bool:
        return False

    def write(self, data: Any) -> None:
        pass

    def close(self) -> None:
        pass


async def _create() -> Objects:
    """uvicorn's own objects, after a request, by module and by the expression that the module uses."""
    config = worker_config(ServerConfig())
    config.app, config.factory, config.lifespan = _app, False, "on"
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    server.servers = []  # as uvicorn's `startup` does, which Worker replaces
    protocol = HttpToolsProtocol(config, ServerState(), {})
    protocol.connection_made(_Transport())
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await asyncio.gather(*protocol.tasks)
    return {
        ("server/protocol.py", "self"): protocol,
        ("server/protocol.py", "self.cycle"): protocol.cycle,
        ("server/protocol.py", "cycle"): protocol.cycle,
        ("server/protocol.py", "self.flow"): protocol.flow,
        ("server/protocol.py", "self.parser"): protocol.parser,
        ("server/protocol.py", "httptools"): httptools,
        ("server/worker.py", "self"): server,
        ("server/worker.py", "self.lifespan"): server.lifespan,
        ("server/worker.py", "self.server_state"): server.server_state,
        ("server/worker.py", "self.config"): config,
        ("server/worker_process.py", "config"): config,
        ("server/supervisor.py", "self._config"): config,
        ("server/serve.py", "server"): server,
        ("server/admin.py", "self._server"): server,
    }


@pytest.fixture(scope="module")
def objects() -> Objects:
    return asyncio.run(_create())


def uses() -> list[tuple[str, str, str]]:
    """Module, expression and attribute of each name that the package reads, calls or overrides."""
    found = set()
    for module, expressions in EXPRESSIONS.items():
        nodes = list(ast.walk(ast.parse((ROOT / "wagi_gateway" / module).read_text())))
        attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
        functions = [node for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
        found |= {
            (module, expression, node.attr)
            for node in attributes
            if (expression := ast.unparse(node.value)) in expressions
        }
        found |= {
            (module, "self", method.name)
            for node in nodes
            if isinstance(node, ast.ClassDef) and node.name in ("BoundedProtocol", "Worker")
            for method in node.body
            if method in functions and isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef))
        }
        private = {node.name for node in functions} | {
            node.attr for node in attributes if isinstance(node.ctx, ast.Store)
        }
        own = OWN | {name for name in private if name.startswith("_")}
        found -= {(module, expression, name) for expression in ("self", "server") for name in own}
    return sorted(found)


@pytest.mark.parametrize(("module", "expression", "name"), uses())
def test_a_name_that_is_used_exists(objects: Objects, module: str, expression: str, name: str) -> None:
    owner = objects[module, expression]
    what = f"uvicorn {version('uvicorn')}: {type(owner).__name__} has no attribute {name}, used by {module}"
    assert hasattr(owner, name), what


def test_the_names_are_found() -> None:
    assert {
        ("server/protocol.py", "self", "_unset_keepalive_if_required"),
        ("server/protocol.py", "self", "on_response_complete"),
        ("server/protocol.py", "cycle", "expected_content_length"),
        ("server/protocol.py", "self.flow", "write_paused"),
        ("server/worker.py", "self.server_state", "connections"),
        ("server/worker.py", "self", "force_exit"),
    } <= set(uses())


def test_a_response_calls_no_other_methods_of_its_transport_than_the_writer_has() -> None:
    called = set(re.findall(r"self\.transport\.(\w+)", inspect.getsource(RequestResponseCycle)))
    assert "write" in called
    assert called <= set(dir(ResponseWriter)), f"uvicorn {version('uvicorn')}: server/response_writer.py"


def test_the_shutdown_reads_the_list_of_servers() -> None:
    assert "self.servers" in inspect.getsource(uvicorn.Server.shutdown), f"uvicorn {version('uvicorn')}: worker.py"


def test_the_message_that_the_log_leaves_out_is_uvicorns() -> None:
    record = logging.makeLogRecord({"msg": "ASGI callable returned without completing response."})
    assert not log._is_not_redundant(record)
    assert record.msg in inspect.getsource(RequestResponseCycle), f"uvicorn {version('uvicorn')}: observe/log.py"


@pytest.mark.parametrize(("error", "is_logged"), [(asyncio.CancelledError(), False), (ValueError(), True)])
def test_the_traceback_of_a_cancelled_request_is_left_out(error: BaseException, is_logged: bool) -> None:
    """uvicorn cancels requests that outlast the grace period of a shutdown; the access log has their lines."""
    record = logging.makeLogRecord({"msg": "Exception in ASGI application\n", "exc_info": (type(error), error, None)})
    assert log._is_not_redundant(record) == is_logged
    assert "self.logger.error(msg, exc_info=exc)" in inspect.getsource(RequestResponseCycle.run_asgi)
