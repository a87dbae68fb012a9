"""The templates for Python and JavaScript, which end in pre-initialised components: WSGI, Flask, Bottle, fetch."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from samples.projects import build_with, make_project
from tests.conftest import Server, running
from tests.support.config import module
from tests.system.foreign.toolchains import Toolchains

pytestmark = pytest.mark.timeout(900)
MIB = 2**20
CLIENTS = 100

WSGI = """
import bottle_app, flask_app, hello

APPS = {"hello": hello.app, "flask": flask_app.app, "bottle": bottle_app.app}
WARM_UP = "/flask/", "/bottle/", "/hello/"


def app(environ, start_response):
    name, _, path = environ["PATH_INFO"].lstrip("/").partition("/")
    environ["SCRIPT_NAME"] += f"/{name}"
    environ["PATH_INFO"] = f"/{path}"
    return APPS[name](environ, start_response)
"""
FLASK = """
import os, random, sys
from flask import Flask, jsonify, render_template, render_template_string, request, session

app = Flask(__name__)
app.secret_key = "not secret"
STATE = list(os.environ)


@app.get("/")
def index():
    session["visits"] = session.get("visits", 0) + 1
    return render_template_string("<p>{{ visits }} {{ text }}</p>", visits=session["visits"], text="<b>")


@app.get("/file")
def file():
    return render_template("file.html", name=request.args["name"])


@app.route("/form", methods=["GET", "POST"])
def form():
    files = {name: [file.filename, len(file.read())] for name, file in request.files.items()}
    return jsonify(form=request.form, files=files, json=request.get_json(silent=True))


@app.get("/state")
def state():
    import tempfile
    names = [next(tempfile._get_candidate_names())]
    return jsonify(names=names, random=random.random(), argv=sys.argv, environ=dict(os.environ), built=STATE)


@app.get("/late")
def late():
    import xml.dom.minidom
    return xml.dom.minidom.parseString("<a/>").documentElement.toxml()


@app.get("/fail")
def fail():
    raise RuntimeError("nobody handles this")
"""
BOTTLE = """
from bottle import Bottle, request, response, template

app = Bottle()


@app.get("/")
def index():
    return template("<p>{{name}}</p>", name=request.query.name or "World")


@app.post("/form")
def form():
    response.set_cookie("seen", "1")
    file = request.files.get("file")
    return {"name": request.forms.name, "size": len(file.file.read()) if file else None}


@app.get("/stream")
def stream():
    yield b"a" * 100_000
    raise RuntimeError("in the middle")
"""
FETCH = """
import hello from "./hello.js";

const routes = {
  form: async (request) => Response.json(Object.fromEntries(await request.formData())),
  json: async (request) => Response.json([await request.json(), request.headers.get("x-shown")]),
  random: () => Response.json([Math.random(), crypto.randomUUID()]),
  cookies: () => new Response(null, { status: 204, headers: [["set-cookie", "a=1"], ["set-cookie", "b=2"]] }),
  echo: (request) => new Response(request.body),
  stream: () => {
    let count = 0;
    const pull = async (controller) => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      if (count++ < 3) controller.enqueue(new TextEncoder().encode(`${count}\\n`));
      else controller.close();
    };
    return new Response(new ReadableStream({ pull }), { headers: { "content-type": "text/plain" } });
  },
  redirect: () => Response.redirect("http://example.com/", 303),
  fail: () => { throw new Error("nobody handles this"); },
  none: () => undefined,
  fetch: () => fetch("http://127.0.0.1:1/"),
};

export default {
  fetch(request) {
    console.log("seen", { method: request.method });
    return (routes[new URL(request.url).pathname.split("/")[2]] ?? hello.fetch)(request);
  },
};
"""
CGI = """
import { environ, log, readAll, write } from "./wasi/cgi.js";

export function cgi() {
  const { REQUEST_METHOD, QUERY_STRING } = environ();
  if (QUERY_STRING === "fail") throw new Error("nobody handles this");
  log("seen\\n");
  write(`content-type: text/plain\\n\\n${REQUEST_METHOD} ${QUERY_STRING} ${readAll().length}\\n`);
}
"""


@pytest.fixture(scope="module")
def environ(toolchains: Toolchains) -> Mapping[str, str]:
    return {**toolchains(), "NODE_USE_SYSTEM_CA": "1"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, cache: Path, environ: Mapping[str, str]) -> Path:
    """A folder with the components, built and compiled."""
    site = tmp_path_factory.mktemp("preinitialised")
    python = site / "python"
    files = {"flask_app.py": FLASK, "bottle_app.py": BOTTLE, "app.py": WSGI}
    files["requirements.txt"] = "flask==3.1.3\nbottle==0.13.4\n"
    make_project(python, "python", files | {"hello.py": template("python", "app.py")}, environ)
    (python / "templates").mkdir()
    (python / "templates/file.html").write_text("<p>{{ name }}</p>")
    files = {"hello.js": template("javascript", "main.js"), "main.js": FETCH}
    javascript = make_project(site / "javascript", "javascript", files, environ)
    (javascript / "app.wasm").rename(site / "fetch.wasm")
    build_with(javascript, {"main.js": CGI}, environ).rename(site / "cgi.wasm")
    volumes = {"/0/templates": {"path": "python/templates", "read_only": True}}
    limits = {"queue": CLIENTS, "queue_time": "60s", "time": "60s"}
    config = module("/py/...", "python/app.wasm", volumes=volumes, limits=limits)
    config += module("/js/...", "fetch.wasm") + module("/cgi/...", "cgi.wasm")
    (site / "modules.toml").write_text(config)
    command = [sys.executable, "-m", "wagi_gateway", "check", "--cache-dir", str(cache)]
    checked = subprocess.run(command, cwd=site, capture_output=True, text=True, timeout=800, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    return site


@pytest.fixture(scope="module")
def server(site: Path, cache: Path) -> Iterator[Server]:
    with running(site, site / "modules.toml", cache=cache) as server:
        yield server


def template(language: str, path: str) -> str:
    """A program of a template, with its name put in."""
    from wagi_gateway.router import RoutePattern
    from wagi_gateway.scaffold.language import LANGUAGES
    from wagi_gateway.scaffold.template import Template

    return dict(Template(LANGUAGES[language], language, RoutePattern("/..."), ".").module_files())[path].decode()


@pytest.mark.parametrize(("path", "language"), [("/py/hello", "python"), ("/js/hello", "javascript")])
@pytest.mark.parametrize(
    ("method", "query", "body"),
    [("GET", "name=World", b""), ("POST", "", b"some text"), ("PUT", "a=%C3%A9&b", bytes(200_000))],
    ids=["GET", "POST", "PUT"],
)
def test_a_template_answers(server: Server, path: str, language: str, method: str, query: str, body: bytes) -> None:
    response = server.client.request(method, f"{server.url}{path}?{query}", content=body)
    assert (response.status_code, response.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    lines = [f"¡Hola! This is {language}.", f"method: {method}", f"query: {query}", f"body: {len(body)} bytes"]
    assert response.text.splitlines() == lines
    server.wait_for_log(rf"guest: {language} has answered .*id={response.headers['x-request-id']}")


def test_flask_keeps_a_session_in_a_cookie(server: Server) -> None:
    server.client.cookies.clear()
    pages = [server.get("/py/flask/").text for _ in range(3)]
    server.client.cookies.clear()
    assert pages == [f"<p>{visits} &lt;b&gt;</p>" for visits in (1, 2, 3)]


def test_flask_reads_templates_of_a_volume(server: Server) -> None:
    assert server.get("/py/flask/file?name=é").text == "<p>é</p>"


@pytest.mark.parametrize(
    ("request_of", "answer"),
    [
        ({"data": {"a": "é", "b": "2"}}, {"form": {"a": "é", "b": "2"}, "files": {}, "json": None}),
        ({"json": {"a": [1]}}, {"form": {}, "files": {}, "json": {"a": [1]}}),
        (
            {"files": {"f": ("name.bin", io.BytesIO(bytes(3 * MIB)))}, "data": {"a": "1"}},
            {"form": {"a": "1"}, "files": {"f": ["name.bin", 3 * MIB]}, "json": None},
        ),
    ],
    ids=["form", "JSON", "upload"],
)
def test_flask_reads_a_body(server: Server, request_of: dict[str, object], answer: object) -> None:
    assert server.client.post(f"{server.url}/py/flask/form", **request_of).json() == answer  # type: ignore[arg-type]


def test_what_is_renewed_for_each_request(server: Server) -> None:
    first, second = (server.get(f"/py/flask/state?n={number}").json() for number in (1, 2))
    assert first["random"] != second["random"]
    assert first["names"] != second["names"]
    assert [state["argv"] for state in (first, second)] == [["/py/flask/state", f"n={number}"] for number in (1, 2)]
    assert [state["environ"]["QUERY_STRING"] for state in (first, second)] == ["n=1", "n=2"]
    assert {name for name in (*first["built"], *first["environ"]) if name.startswith(("PATH=", "HOME", "API"))} == set()
    assert set(first["built"]) <= {"PYTHONHOME", "PYTHONPATH", "PYTHONUNBUFFERED"}


def test_a_module_is_imported_during_a_request(server: Server) -> None:
    assert server.get("/py/flask/late").text == "<a/>"


def test_bottle_answers(server: Server) -> None:
    assert server.get("/py/bottle/?name=%3Cb%3E").text == "<p>&lt;b&gt;</p>"
    upload = {"file": ("a.txt", io.BytesIO(bytes(MIB)))}
    response = server.client.post(f"{server.url}/py/bottle/form", files=upload, data={"name": "é"})
    server.client.cookies.clear()
    assert (response.json(), response.headers["set-cookie"]) == ({"name": "é", "size": MIB}, "seen=1")


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/py/flask/fail", 500, "RuntimeError: nobody handles this"),
        ("/py/nothing/x", 500, "KeyError: 'nothing'"),
        ("/js/fail", 500, "Error: nobody handles this"),
        ("/js/none", 500, "TypeError: main.js returned no Response"),
        ("/cgi/x?fail", 500, "Error: nobody handles this"),
    ],
    ids=["Flask", "WSGI", "fetch", "no-response", "CGI"],
)
def test_an_exception_is_a_500_and_in_the_log_alone(server: Server, path: str, status: int, message: str) -> None:
    response = server.get(path)
    assert response.status_code == status
    assert message not in response.text
    server.wait_for_log(rf"guest: {message} .*id={response.headers['x-request-id']}")


def test_a_hundred_clients_of_flask_are_answered(server: Server) -> None:
    with ThreadPoolExecutor(CLIENTS) as pool:
        responses = list(pool.map(lambda _: server.get("/py/flask/"), range(CLIENTS)))
    assert [response.status_code for response in responses] == [200] * CLIENTS
    assert {response.text for response in responses} == {"<p>1 &lt;b&gt;</p>"}
    # 16 guests run at the same time, and one changes some MiB of its 40.
    assert server.memory() < 1024 * MIB


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "answer"),
    [
        ("POST", "form", {"data": {"a": "é"}}, 200, {"a": "é"}),
        (
            "POST",
            "form",
            {"files": {"f": (None, "é"), "a": (None, "1")}},
            200,
            {"a": "1", "f": "é"},
        ),
        ("POST", "json", {"json": {"a": [1]}, "headers": {"x-shown": "yes"}}, 200, [{"a": [1]}, "yes"]),
        ("POST", "echo", {"content": b"ab" * MIB}, 200, b"ab" * MIB),
        ("POST", "echo", {"content": b""}, 200, b""),
        ("GET", "stream", {}, 200, b"1\n2\n3\n"),
        ("GET", "redirect", {}, 303, b""),
        ("GET", "cookies", {}, 204, b""),
    ],
    ids="form multipart JSON body no-body stream redirect cookies".split(),
)
def test_a_fetch_handler_answers(
    server: Server, method: str, path: str, options: dict[str, object], status: int, answer: object
) -> None:
    response = server.client.request(method, f"{server.url}/js/{path}", **options)  # type: ignore[arg-type]
    server.client.cookies.clear()
    assert response.status_code == status
    assert (response.content if isinstance(answer, bytes) else response.json()) == answer
    assert response.headers.get("location") == ("http://example.com/" if status == 303 else None)
    assert response.headers.get_list("set-cookie") == (["a=1", "b=2"] if status == 204 else [])


def test_a_fetch_handler_has_random_numbers_and_a_console_of_its_own(server: Server) -> None:
    first, second = (server.get("/js/random") for _ in range(2))
    assert not set(first.json()) & set(second.json())
    server.wait_for_log(rf'guest: seen {{"method":"GET"}} .*id={second.headers["x-request-id"]}')


def test_fetch_of_another_server_fails(server: Server) -> None:
    assert server.get("/js/fetch").status_code == 500
    assert server.get("/js/hello").status_code == 200


def test_a_cgi_program_in_javascript_answers(server: Server) -> None:
    assert server.post("/cgi/x?a=1", b"12345").text == "POST a=1 5\n"


def test_listeners_answer_in_the_place_of_a_default_export(environ: Mapping[str, str], tmp_path: Path) -> None:
    (tmp_path / "listener.mjs").write_text(template("javascript", "wasi/listener.js"))
    (tmp_path / "test.mjs").write_text("""
        globalThis.addEventListener ??= () => {};
        const { dispatch } = await import("./listener.mjs");
        const before = dispatch("a");
        addEventListener("fetch", (event) => event.respondWith(Promise.resolve([event.type, event.request])));
        addEventListener("other", () => {});
        console.log(JSON.stringify([before ?? null, await dispatch("b")]));""")
    command = ["node", "test.mjs"]
    finished = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, timeout=60, check=True)
    assert json.loads(finished.stdout) == [None, ["fetch", "b"]]
