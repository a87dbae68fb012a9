"""Row: a script of PHP for one client, beside native php-cgi."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ..harness.errors import Failed
from ..harness.plan import Plan
from ..harness.server import check_hello, gateway
from ..harness.turns import alternate
from ..peers.nginx import nginx
from ..peers.peer import find
from ..report.table import Measured, Row, beside

_BUILD = Path(__file__).parents[2] / "scripts/build-php"
_SCRIPT = '<?php echo "hello world\\n";'
_PATH = "/hello.php"
_MODULE = '[[module]]\nroute = "/..."\nmodule = "{}"\ndocument_root = "{}"\n'


def php(plan: Plan) -> Iterator[Row]:
    """Measures milliseconds a request over one connection. Builds php-cgi for WASI if it is not built yet."""
    built = subprocess.run([_BUILD], stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode:
        raise Failed("scripts/build-php has failed")
    site, native = plan.folder("php-site"), plan.folder("php-native")
    (site / _PATH.removeprefix("/")).write_text(_SCRIPT)
    native.chmod(0o711)
    program = native / "hello.php"
    program.write_text(f"#!{find('php-cgi', 'php-cgi')}\n{_SCRIPT}")
    program.chmod(0o755)
    with ExitStack() as stack:
        settings = _MODULE.format(built.stdout.strip(), site)
        server = stack.enter_context(gateway(plan.folder("php"), {}, settings=settings))
        reference = stack.enter_context(nginx(native, program))
        for one in (server, reference):
            with one.awake():
                check_hello(one.url + _PATH)
        ours, theirs = alternate(
            plan.rounds,
            [lambda: server.load(plan.seconds, 1, path=_PATH), lambda: reference.load(plan.seconds, 1, path=_PATH)],
        )
    measure = "PHP hello over HTTP, 1 worker, 1 connection"
    row = beside("php", measure, "nginx and fcgiwrap running native php-cgi", ours, theirs)
    milliseconds = [1000 / sample.rate for sample in ours]
    time = Measured(milliseconds, plan.target(7, "ms", is_most=True), "ms")
    yield replace(row, quantities=(time, *row.quantities))
