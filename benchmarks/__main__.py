"""The gateway's cost beside its targets. `scripts/bench` installs the requirements and runs this module.

    ./scripts/bench                          # every row
    ./scripts/bench --only node latency      # some rows
    ./scripts/bench --against HEAD~5         # requests here beside another revision, or another checkout
    ./scripts/bench --quick                  # a short form with wide margins, as the tests run it
    ./scripts/bench --write-docs             # every row, beside release 0.1.0 too, and docs/performance.md

Servers run on one core and the load on another. Servers are measured in turns and paused (SIGSTOP) in between, so that
other load of the machine affects all of them alike; the first turn warms up and does not count. A ratio is computed in
each turn, and the median of the ratios is compared with the target. Exit code: 1 if a target is missed or a row fails.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from .harness import cores
from .harness.checkout import RELEASE, checkout, is_checkout, is_revision
from .harness.errors import Failed
from .harness.load import check_wrk
from .harness.machine import machine
from .harness.plan import Plan
from .harness.target import MARGIN
from .report.page import write_page
from .report.table import Row, table, text
from .report.targets import targets
from .rows.all import GROUPS, LABELS, NAMES, PAIRED_NAMES, QUICK_NAMES, Group


def main() -> None:
    """Measures the rows, prints the table and the verdict, and exits."""
    options = _options()
    check_wrk()
    cores.check()
    # SIGTERM has to unwind the context managers that end the servers.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    begin, load_before = time.monotonic(), os.getloadavg()[0]
    wanted = frozenset(options.only or (QUICK_NAMES if options.quick else NAMES))
    rows: list[Row] = []
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wagi-bench-")))
        against = stack.enter_context(checkout(options.against, directory)) if options.against else None
        plan = Plan(options.rounds, options.seconds, options.quick, directory, wanted, against)
        for group in GROUPS:
            if wanted & set(group.names):
                rows += _measure(group, plan)
        method = _method(plan, load_before)
        print(f"{method}\n\n{text(table(rows))}\n", flush=True)
        if (found := targets(rows)) and not options.quick:
            print(f"{text(found)}\n", flush=True)
        failed = sorted(wanted - {row.name for row in rows})
        if options.write_docs and not failed:
            write_page(plan, rows, method, LABELS)
    if options.quick and not options.only:
        print(f"not in the short form: {', '.join(name for name in NAMES if name not in QUICK_NAMES)}")
    missed = [row.name for row in rows if not row.is_met]
    verdict = [f"{word}: {', '.join(names)}" for word, names in (("MISSED", missed), ("FAILED", failed)) if names]
    print(f"{time.monotonic() - begin:.0f} s; {'; '.join(verdict) or 'all targets met'}")
    sys.exit(1 if verdict else 0)


def _measure(group: Group, plan: Plan) -> list[Row]:
    begin = time.monotonic()
    print(f"{', '.join(name for name in group.names if name in plan.wanted)} ...", end=" ", file=sys.stderr, flush=True)
    try:
        rows = list(group.measure(plan))
    except Failed as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        return []
    print(f"{time.monotonic() - begin:.0f} s", file=sys.stderr)
    return rows


def _method(plan: Plan, load_before: float) -> str:
    margin = f"; targets at {MARGIN:.0%}" if plan.is_quick else ""
    return (
        f"{machine('wasmtime', 'uvicorn', 'uvloop', 'httptools')}\n"
        f"load average before: {load_before:.1f}\n"
        f"medians of {plan.rounds} turns after one that warms up, {plan.seconds:g} s of wrk -t1 -c16 each{margin}"
    )


def _against(text: str) -> str:
    if is_checkout(text) or is_revision(text):
        return text
    if Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} has no .venv; run scripts/venv requirements-test.txt there")
    raise argparse.ArgumentTypeError(f"{text} is neither a revision of this repository nor the directory of a checkout")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures the gateway beside its targets.")
    parser.add_argument("--quick", action="store_true", help="a short form with wide margins")
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=f"these rows: {', '.join(NAMES)}")
    parser.add_argument("--rounds", type=int, help="turns that count (5; quick: 3)")
    parser.add_argument("--seconds", type=float, help="how long a load lasts (1)")
    against = f"another revision, or the directory of a checkout; alone: {', '.join(PAIRED_NAMES)}"
    parser.add_argument("--against", type=_against, metavar="REV", help=against)
    parser.add_argument("--write-docs", action="store_true", help="write docs/performance.md and its charts")
    options = parser.parse_args()
    if options.write_docs and (options.quick or options.only or options.against):
        parser.error("--write-docs goes with the whole table, beside release 0.1.0")
    if options.against and not options.only:
        options.only = list(PAIRED_NAMES)
    if options.write_docs:
        options.against = _against(RELEASE)
    options.rounds = max(1, options.rounds or (3 if options.quick else 5))
    options.seconds = options.seconds or 1.0
    return options


if __name__ == "__main__":
    main()
