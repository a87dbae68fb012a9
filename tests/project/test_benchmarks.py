"""The benchmarks run, their short form meets its targets, and their imports go one way."""

from __future__ import annotations

import ast
import asyncio
import math
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.guests.wat import ENVIRON_WAT
from benchmarks.harness import cores
from benchmarks.harness.checkout import Checkout, checkout
from benchmarks.harness.errors import Absent
from benchmarks.harness.pace import pace
from benchmarks.harness.plan import Plan
from benchmarks.harness.process import started
from benchmarks.harness.sample import Sample
from benchmarks.harness.server import HELLO_WAT
from benchmarks.harness.target import COST_TIMES, Target
from benchmarks.harness.turns import alternate
from benchmarks.loops.asgi import AsgiLoop
from benchmarks.loops.request import load_hello
from benchmarks.measures.curves import Curve
from benchmarks.peers.peer import find_host
from benchmarks.report.chart import Bar, Point, bars, line
from benchmarks.report.page import PAGE, TEXTS, replace
from benchmarks.report.table import alone, beside, costs, not_measured, ratio
from benchmarks.report.targets import targets
from benchmarks.rows.against import against
from tests.conftest import ROOT, wait_until
from wagi_gateway.app import create_app

ATTEMPTS = 10
"""Further runs of the rows that miss their targets."""
SHORT_FORM_TIMEOUT = 150.0
"""Seconds that the short form may take on a slow machine."""
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
pytestmark = [pytest.mark.measures, pytest.mark.timeout(2 * SHORT_FORM_TIMEOUT)]


@pytest.mark.parametrize(
    ("target", "met", "missed", "widened"),
    [
        (Target(3), 3.0, 2.9, Target(1.8)),
        (Target(3, is_most=True), 3.0, 3.1, Target(5, is_most=True)),
    ],
    ids=str,
)
def test_a_target_is_met_at_its_bound_and_widened_for_the_short_form(
    target: Target, met: float, missed: float, widened: Target
) -> None:
    assert target.is_met(met)
    assert not target.is_met(missed)
    assert target.widened().bound == pytest.approx(widened.bound)
    assert target.widened().is_most == widened.is_most


def test_a_row_is_the_median_of_what_each_turn_found() -> None:
    row = ratio("name", "measure", "reference", [10, 20, 90], [10, 10, 10], Target(2.5), "µs")
    cells = ("measure", "reference", "≥ 2.50 ×", "2.00 ×", "1.00 to 9.00", "MISSED", "20.0 / 10.0 µs", "")  # noqa: RUF001
    assert row.cells == cells


def samples(*found: tuple[float, float]) -> list[Sample]:
    return [Sample(rate, cost) for rate, cost in found]


OURS, THEIRS = samples((100, 20), (300, 10), (200, 30)), samples((100, 10), (100, 20), (100, 40))


def test_two_servers_are_compared_by_rate_or_by_processor_time() -> None:
    by_rate = beside("name", "measure", "reference", OURS, THEIRS, Target(1.5))
    assert by_rate.cells[2:] == (
        *("≥ 1.50 ×", "2.00 ×", "1.00 to 3.00", "ok"),  # noqa: RUF001
        *("200 / 100 requests/s", "20.0 / 20.0 µs a request"),
    )
    by_time = beside("name", "measure", "reference", OURS, THEIRS, cost=Target(0.7, COST_TIMES, is_most=True))
    assert by_time.cells[3:6] == ("0.75 × processor time", "0.50 to 2.00", "MISSED")  # noqa: RUF001
    assert costs("MiB", OURS, samples((1, math.nan))) == "20.0 / - µs a MiB"


def test_a_row_without_a_reference_says_why() -> None:
    row = not_measured("spin", "measure", "Spin", "not installed")
    assert row.cells == ("measure", "Spin", "-", "not measured", "-", "-", "not installed", "")
    assert row.is_met


def test_the_targets_are_a_table_computed_from_the_rows() -> None:
    met = beside("workers", "2 workers", "1 worker", OURS, THEIRS, Target(1.7))
    rows = [met, not_measured("wasmtime", "hello", "wasmtime serve", "not installed"), alone("other", "other", OURS)]
    assert targets(rows)[1:] == [
        ("2 workers", "1 worker", "2.00 ×", "≥ 1.70 ×", "yes"),  # noqa: RUF001
        ("hello", "wasmtime serve", "not measured: not installed", "-", "-"),
    ]


def test_a_request_has_another_target_beside_the_release_than_beside_other_revisions(tmp_path: Path) -> None:
    def bounds(name: str, other: Checkout | None) -> list[str]:
        plan = Plan(1, 1, is_quick=False, directory=tmp_path, wanted=frozenset(), against=other)
        return [row.cells[2] for row in against(plan, name, "measure", OURS, [THEIRS])]

    release, revision = Checkout(tmp_path, "release", is_release=True), Checkout(tmp_path, "other", is_release=False)
    assert bounds("hello", release) == ["≤ 0.65 × processor time"]  # noqa: RUF001
    assert bounds("hello", revision) == bounds("c", release) == ["≤ 1.05 × processor time"]  # noqa: RUF001
    assert bounds("hello", None) == []


def test_a_line_through_points_has_the_slope_of_each_turn() -> None:
    curve = Curve("name", "title", "axis", ((1, [11, 8]), (50, [60, 57]), (100, [110, 107])))
    assert curve.slopes == [pytest.approx(1), pytest.approx(1)]


def test_the_growth_of_a_curve_is_from_its_lowest_to_its_highest_point() -> None:
    curve = Curve("name", "title", "axis", ((1, [30, 31, 90]), (16, [20, 19, 20]), (512, [25, 26, 24])))
    assert curve.growth == [31 / 20]


def test_processor_time_is_that_of_all_processes_of_a_server() -> None:
    """Here of a child that its parent waits for, and of one that is still alive."""
    spin = "import time\nwhile time.process_time() < 0.2: pass\n"
    child = f"subprocess.Popen([sys.executable, '-c', {spin + 'input()'!r}], stdin=subprocess.PIPE)"
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {spin!r}])\n{child}.wait()\n"
    with started([sys.executable, "-c", parent], cores.ALL) as process:
        wait_until(lambda: process.processor_seconds() > 0.35)


def test_another_host_is_on_the_path_or_named_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_WASMTIME", sys.executable)
    assert find_host("wasmtime") == sys.executable
    monkeypatch.setenv("BENCH_WASMTIME", "/no/such/program")
    with pytest.raises(Absent, match="no `wasmtime` on the PATH, and BENCH_WASMTIME names none"):
        find_host("wasmtime")


def test_turns_go_forth_and_back_and_the_first_does_not_count() -> None:
    order: list[str] = []

    def measure(name: str) -> float:
        order.append(name)
        return len(order)

    assert alternate(2, [lambda: measure("a"), lambda: measure("b")]) == [[4, 5], [3, 6]]
    assert order == list("abbaab")


def test_a_request_that_had_to_wait_for_its_turn_counts_from_when_it_was_due() -> None:
    """The server stalls at the first request, so that all other requests are late although each is answered at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_late, args=(listener, 0.3))
        thread.start()
        latency = pace(f"http://127.0.0.1:{listener.getsockname()[1]}/", rate=1000, seconds=0.2, connections=1)
        thread.join()
    assert 0.1 < latency.median < latency.p99


def answer_late(listener: socket.socket, stall: float) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        threading.Event().wait(stall)
        connection.sendall(ANSWER)
        while connection.recv(65536):
            connection.sendall(ANSWER)


def test_the_page_has_one_place_for_each_text() -> None:
    page = PAGE.read_text()
    for name in TEXTS:
        assert "\nnew text\n" in replace(page, name, "new text")
    with pytest.raises(SystemExit, match="0 places for other"):
        replace(page, "other", "")


def test_charts_are_well_formed() -> None:
    texts = [
        bars("<title>", "µs", [Bar("a & b", 3, 2, 4), Bar("nothing", 0, -1, 0)]),
        line("title", "axis", "µs", [Point(0, 1, 1, 1), Point(10, 2, 1, 3), Point(1000, 5, 4, 9)]),
    ]
    assert [ET.fromstring(text).tag.rpartition("}")[2] for text in texts] == ["svg", "svg"]


def test_what_is_neither_a_revision_nor_a_checkout_is_refused(tmp_path: Path) -> None:
    for text, reason in [("no-such-revision", "neither a revision"), (str(tmp_path), "has no .venv")]:
        command = [sys.executable, "-m", "benchmarks", "--against", text]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert ended.returncode == 2
        assert reason in ended.stderr


def test_a_checkout_is_used_where_it_is(tmp_path: Path) -> None:
    python = tmp_path / "there/.venv/bin/python"
    python.parent.mkdir(parents=True)
    python.touch()
    with checkout(str(tmp_path / "there"), tmp_path) as found:
        assert found.directory == tmp_path / "there"
    assert python.exists()


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc, which compiles the counter of objects, is not installed")
def test_the_counts_of_a_request_are_the_same_each_time() -> None:
    found = []
    for _ in range(2):
        command = [sys.executable, "-m", "benchmarks.measures.objects"]
        found.append(subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout)
    assert found[0] == found[1]
    assert "\nsandbox/capi.py: " in found[0]


@pytest.mark.parametrize("guest", [HELLO_WAT, ENVIRON_WAT], ids=lambda path: path.stem)
def test_a_loop_over_the_application_gets_answers(guest: Path) -> None:
    async def run() -> None:
        loop = AsgiLoop(create_app(load_hello(guest)))
        async with loop.serving():
            await loop.run(3)

    asyncio.run(run())


ROOMS = "guests harness loops servers peers measures report rows __main__".split()
BENCHMARKS = ROOT / "benchmarks"


def test_every_file_is_in_a_room() -> None:
    assert sorted(path.stem for path in BENCHMARKS.glob("[!_]*")) == sorted(ROOMS[:-1])
    assert sorted(path.name for path in BENCHMARKS.glob("*.*")) == ["__init__.py", "__main__.py"]


@pytest.mark.parametrize("path", sorted(BENCHMARKS.rglob("*.py")), ids=lambda path: str(path.relative_to(BENCHMARKS)))
def test_imports_go_one_way(path: Path) -> None:
    """A module imports no test, and of the benchmarks only rooms to the left of its own in ROOMS."""
    room = path.relative_to(BENCHMARKS).parts[0].removesuffix(".py")
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        assert not (node.module or "").startswith(("tests", "benchmarks"))
        above = path.relative_to(BENCHMARKS).parts[: -node.level] if node.level else None
        if above is not None:
            imported = (*above, *(node.module or "").split("."))[0]
            assert ROOMS.index(imported) <= ROOMS.index(room), f"line {node.lineno}"


@pytest.mark.timeout(SHORT_FORM_TIMEOUT + ATTEMPTS * 60)
def test_the_short_form_meets_its_targets() -> None:
    """Rows that miss their targets are measured again: on a shared machine a row may be slow in most of its runs, as
    it was for release 0.1.0 on one such day. A regression of another order misses a target at 60 % each time."""
    result = run_quick()
    runs = [result]
    while (missed := missed_rows(result)) and len(runs) <= ATTEMPTS:
        result = run_quick("--only", *missed)
        runs.append(result)
    assert result.returncode == 0, "\n".join(f"{run.stdout}\n{run.stderr}" for run in runs)


def missed_rows(result: subprocess.CompletedProcess[str]) -> list[str]:
    """The names of the rows that missed their targets."""
    found = re.search(r"; MISSED: ([^;\n]+)", result.stdout, re.MULTILINE)
    return found[1].split(", ") if found else []


def run_quick(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `scripts/bench --quick` without its installation. SIGTERM on a timeout, so that its servers end as well."""
    command = [sys.executable, "-m", "benchmarks", "--quick", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            stdout, stderr = process.communicate(timeout=SHORT_FORM_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.terminate()
            raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def test_outbound() -> None:
    arguments = ["--turns", "1", "--requests", "50", "--seconds", "1", "--target", "10"]
    command = [sys.executable, "-m", "benchmarks.measures.outbound", *arguments]
    result = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(re.findall(r"^.*, (?:µs|requests/s)(?:\s+[\d.,]+){3}$", result.stdout, re.MULTILINE)) == 8
    assert len(re.findall(r"^.* / httpx(?:\s+[\d.,]+){3}$", result.stdout, re.MULTILINE)) == 2
