"""Row: a script of PHP for one client, beside native php-cgi."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from ..harness.errors import Failed
from ..harness.plan import Plan
from ..harness.server import Server, check_hello, gateway
from ..harness.turns import alternate
from ..peers.nginx import nginx
from ..peers.peer import find
from ..report.table import Measured, Row, ratio

_BUILD = Path(__file__).parents[2] / "scripts/build-php"
_SCRIPT = '<?php echo "hello world\\n";'
_PATH = "/hello.php"
_MODULE = '[[module]]\nroute = "/..."\nmodule = "{}"\ndocument_root = "site"\n'


def php(plan: Plan) -> Iterator[Row]:
    """Measures milliseconds a request over one connection. Builds php-cgi for WASI if it is not built yet."""
    built = subprocess.run([_BUILD], stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode:
        raise Failed("scripts/build-php has failed")
    directory, native = plan.directory / "php", plan.directory / "php-native"
    (directory / "site").mkdir(parents=True)
    (directory / f"site{_PATH}").write_text(_SCRIPT)
    native.mkdir(mode=0o711)
    program = native / "hello.php"
    program.write_text(f"#!{find('php-cgi', 'php-cgi')}\n{_SCRIPT}")
    program.chmod(0o755)
    with ExitStack() as stack:
        server = stack.enter_context(gateway(directory, {}, settings=_MODULE.format(built.stdout.strip())))
        reference = stack.enter_context(nginx(native, program))
        for one in (server, reference):
            with one.awake():
                check_hello(one.url + _PATH)
        ours, theirs = alternate(
            plan.rounds, [lambda: _milliseconds(server, plan), lambda: _milliseconds(reference, plan)]
        )
    measure, beside = "PHP hello over HTTP, 1 worker, 1 connection", "nginx and fcgiwrap running native php-cgi"
    row = ratio("php", measure, beside, ours, theirs, unit="ms")
    time = Measured(ours, plan.target(7, "ms", is_most=True), "ms")
    yield Row(row.name, row.measure, row.reference, (time, *row.quantities), row.detail, ours, theirs)


def _milliseconds(server: Server, plan: Plan) -> float:
    return 1000 / server.rate(plan.seconds, 1, path=_PATH)
