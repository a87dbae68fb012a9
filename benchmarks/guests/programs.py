"""Pre-initialised programs, built from the templates of `new`: a Python hello, Flask, and a fetch handler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from samples.projects import make_project

from .cpython import cpython, toolchains

FLASK_PACKAGE = "flask==3.1.3"
HELLO = """def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello world\\n"]
"""
FETCH = 'export default { fetch: () => new Response("hello world\\n") };\n'
FLASK = """from flask import Flask, jsonify, render_template, session
from jinja2 import DictLoader

app = Flask(__name__)
app.secret_key = "not secret"
app.jinja_loader = DictLoader({"page.html": "<p>{{ visits }}</p>"})


@app.get("/")
def index():
    session["visits"] = session.get("visits", 0) + 1
    return jsonify(page=render_template("page.html", visits=session["visits"]))
"""
_UNMODIFIED = "from wsgiref.handlers import CGIHandler\nfrom application import app\nCGIHandler().run(app)\n"


def python_hello(directory: Path) -> Path:
    """The component of a WSGI application that answers with a constant."""
    return _build(directory / "hello", "python", {"app.py": HELLO})


def flask(directory: Path) -> Path:
    """The component of a Flask application with a session, a template and JSON."""
    return _build(directory / "flask", "python", {"app.py": FLASK, "requirements.txt": FLASK_PACKAGE})


def javascript_hello(directory: Path) -> Path:
    """The component of a fetch handler that answers with a constant."""
    return _build(directory / "fetch", "javascript", {"main.js": FETCH})


def unmodified_flask(directory: Path) -> str:
    """The `[[module]]` of the same Flask application for CPython-WASI, which imports Flask in each request."""
    app = directory / "unmodified"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(app)]
    subprocess.run([*pip, FLASK_PACKAGE], check=True)
    (app / "application.py").write_text(FLASK)
    (app / "main.py").write_text(_UNMODIFIED)
    volumes = f'volumes = {{ "/app" = {{ path = "{app}", read_only = true }} }}'
    return f'[[module]]\nroute = "/unmodified/..."\nmodule = "{cpython()}"\nargv = "python /app/main.py"\n{volumes}\n'


def _build(folder: Path, language: str, files: dict[str, str]) -> Path:
    return make_project(folder, language, files, toolchains()) / "app.wasm"
